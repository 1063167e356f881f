package events

import (
	"fmt"
	"strings"

	"github.com/kvferry/kvferry/index"
)

// maxScopes is in how many scopes besides its own an engine may hold blocks.
const maxScopes = 1 << 15

// scopes are the numbers of scopes, without adapters, other than the engine's own,
// which is 0: batches in JSON may name them.
type scopes struct {
	numbers map[index.Scope]uint16
	free    []uint16 // that were used and are not any more
}

// scopeNumber returns the number of a scope without an adapter.
func (w *worker) scopeNumber(s, own index.Scope) (uint16, error) {
	if s == own {
		return 0, nil
	}
	sc := &w.scopes
	if n, ok := sc.numbers[s]; ok {
		return n, nil
	}
	if sc.numbers == nil {
		sc.numbers = map[index.Scope]uint16{}
	}
	n := uint16(len(sc.numbers) + 1)
	if len(sc.free) == 0 && len(sc.numbers) >= maxScopes {
		w.forgetScopes()
	}
	if k := len(sc.free); k > 0 {
		n, sc.free = sc.free[k-1], sc.free[:k-1]
	} else if len(sc.numbers) >= maxScopes {
		return 0, fmt.Errorf("events: %s has blocks in more than %d scopes: %w", w.name, maxScopes, errBatch)
	}
	sc.numbers[index.Scope{Model: strings.Clone(s.Model), Tokenizer: strings.Clone(s.Tokenizer), Tenant: strings.Clone(s.Tenant)}] = n
	return n, nil
}

// forgetScopes frees the numbers of scopes without blocks.
func (w *worker) forgetScopes() {
	var used [maxScopes + 1]bool
	for id := uint32(firstID); id < w.ledger.next; id++ {
		if e := w.ledger.at(id); e.kind != 0 {
			used[e.scope] = true
		}
	}
	for s, n := range w.scopes.numbers {
		if !used[n] {
			delete(w.scopes.numbers, s)
			w.scopes.free = append(w.scopes.free, n)
		}
	}
}

package redis

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/redis/rueidis"

	"github.com/kvferry/kvferry/index"
)

// matchAtOnce is how many blocks of a prompt one run of the script reads: its
// answer has a field for every worker and tier of each.
const matchAtOnce = 512

// matching is a Match under way.
type matching struct {
	*Index
	q       *index.Query
	id      *scopeID
	only    map[string]struct{} // nil: all workers
	holders map[string]*index.Match
}

// Match implements index.Reader. Up to 512 blocks are looked up at once, further
// ones in steps behind, as long as a worker has all before.
func (x *Index) Match(ctx context.Context, q *index.Query, dst []index.Match) ([]index.Match, error) {
	if err := x.enter(ctx); err != nil {
		return dst, err
	}
	defer x.leave()
	x.count.matches.Add(1)
	if checkScope(&q.Scope) != nil {
		return dst, nil
	}
	m := &matching{Index: x, q: q, id: x.scope(&q.Scope), holders: map[string]*index.Match{}}
	if q.Workers != nil {
		m.only = make(map[string]struct{}, len(q.Workers))
		for _, w := range q.Workers {
			m.only[w] = struct{}{}
		}
	}
	for at, more := 0, true; more && at < len(q.Hashes); {
		end := at + portion(len(q.Hashes)-at, matchAtOnce, sizeOf(q.Hashes[at:]))
		var err error
		if more, err = m.read(ctx, at, end); err != nil {
			return dst, err
		}
		at = end
	}
	from := len(dst)
	for _, h := range m.holders {
		dst = append(dst, *h)
	}
	slices.SortFunc(dst[from:], func(a, b index.Match) int {
		return cmp.Or(cmp.Compare(b.Blocks, a.Blocks), strings.Compare(a.Worker, b.Worker))
	})
	return dst, nil
}

// read looks at the positions from at to end, and reports whether a worker has
// all of them.
func (m *matching) read(ctx context.Context, at, end int) (bool, error) {
	hashes := m.q.Hashes[at:end]
	for i, hash := range hashes {
		if len(hash) > index.MaxFieldBytes { // no record has it
			hashes = hashes[:i]
			break
		}
	}
	a, err := m.ask(ctx, "match", &request{matchScript, m.id.digest, append(m.args(1+len(hashes), m.id.digest), escapedAll(hashes)...)})
	if err != nil {
		return false, err
	}
	if len(a.parts) > len(hashes) {
		return false, corrupt("match", "reply of a script")
	}
	for i := range a.parts {
		if held, err := m.position(at+i, &a, &a.parts[i]); err != nil || !held {
			return false, err
		}
	}
	return at+len(a.parts) == end, nil
}

// position looks at one position, and reports whether a worker still has all.
func (m *matching) position(i int, a *asked, block *rueidis.RedisMessage) (bool, error) {
	parent := index.Root
	if i > 0 {
		parent = m.q.Hashes[i-1]
	}
	parent = escaped(parent)
	b, err := text(block)
	if err != nil {
		return false, err
	}
	held := false
	es := entriesOf(b)
	for es.next() {
		if es.parent != parent && es.parent != "" {
			continue
		}
		h, worker, err := parseKey(es.key)
		if err != nil {
			return false, err
		}
		if h.group == m.q.Group {
			held = m.found(i, h.tier, worker, a) || held
		}
	}
	return held, es.err
}

// found notes that a worker has position i in a tier, and reports whether it has
// all before.
func (m *matching) found(i int, tier index.Tier, worker string, a *asked) bool {
	h := m.holders[worker]
	if h == nil {
		if _, ok := m.only[worker]; i > 0 || m.only != nil && !ok || !a.lives(worker) {
			return false
		}
		h = &index.Match{Worker: strings.Clone(worker)}
		m.holders[h.Worker] = h
	}
	if h.Blocks < i {
		return false
	}
	h.Blocks = i + 1
	if h.InTier[tier] == i {
		h.InTier[tier] = i + 1
	}
	return true
}

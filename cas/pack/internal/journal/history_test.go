package journal_test

import (
	"context"
	"fmt"

	"github.com/kvferry/kvferry/cas/pack/internal/journal"
)

// history is what a scenario did, as its processes know it.
type history struct {
	tried []string
	sure  []string        // acknowledged as durable, or committed before such
	weak  []string        // acknowledged, not yet durable
	maybe map[string]bool // failed
}

// commit has s commit, and keeps in mind what that promises.
func (h *history) commit(ctx context.Context, s *store, sync bool, payloads ...string) error {
	h.tried = append(h.tried, payloads...)
	err := s.commit(ctx, sync, payloads...)
	switch {
	case err != nil:
		for _, p := range payloads {
			h.maybe[p] = true
		}
	case sync:
		h.sure = append(append(h.sure, h.weak...), payloads...)
		h.weak = nil
	default:
		h.weak = append(h.weak, payloads...)
	}
	return err
}

// check compares a state with the history. Of what was not sure anything may be
// gone after a power failure, but nothing else is there, and all is in order.
func (h *history) check(s *store, power bool) error {
	at := 0
	for _, p := range s.list {
		for at < len(h.tried) && h.tried[at] != p {
			at++
		}
		if at == len(h.tried) {
			return fmt.Errorf("%s is there, in %v, but was not tried in that order: %v", p, s.list, h.tried)
		}
	}
	for _, p := range h.sure {
		if !s.have[p] {
			return fmt.Errorf("%s was acknowledged and is lost: %v", p, s.list)
		}
	}
	if !power {
		for _, p := range h.weak {
			if !s.have[p] {
				return fmt.Errorf("%s was acknowledged and is lost without a power failure: %v", p, s.list)
			}
		}
	}
	for _, p := range s.list {
		if p[0] != 'u' {
			continue
		}
		ok, err := s.verify(context.Background(), journal.Tx{Payload: []byte(p)})
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		if !ok {
			return fmt.Errorf("%s is there without its data", p)
		}
	}
	return nil
}

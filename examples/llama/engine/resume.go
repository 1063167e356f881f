package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
)

// Resume binds states to parked sequences of the same ids, which run from the
// next step on; all or none. A state without a parked sequence is ErrNotFound,
// one that does not fit the sequence's tokens ErrInvalid, and one that would
// write into a page which others refer to ErrUnsupported; a sequence that may
// need more pages than can be promised is ErrOutOfMemory.
func (e *Engine) Resume(ctx context.Context, states []State) error {
	if err := e.enter(ctx); err != nil {
		return fmt.Errorf("engine: resume sequences: %w", err)
	}
	defer e.leave()
	e.mu.Lock()
	defer e.mu.Unlock()
	targets := make([]*sequence, len(states))
	need := 0
	for i, st := range states {
		s, err := e.parkedLocked(st)
		if err != nil {
			return err
		}
		if slices.Contains(targets, s) {
			return fmt.Errorf("engine: two states of sequence %q: %w", st.ID, kvferry.ErrInvalid)
		}
		if !st.Done && st.Written > 0 {
			need += e.pagesFor(st.limit(e.model.Config())-1) - len(s.pages)
		}
		targets[i] = s
	}
	if spare := e.spareLocked(); need > spare {
		return fmt.Errorf("engine: resumed sequences may need %d pages, %d can be had: %w", need, spare, kvferry.ErrOutOfMemory)
	}
	e.blocks.settle()
	for i, s := range targets {
		s.State, s.parked = states[i].clone(), false
		// One that has written nothing waits for its turn like a new one.
		s.admitted = !s.Done && s.Written > 0
	}
	return nil
}

// parkedLocked returns the parked sequence that st belongs to.
func (e *Engine) parkedLocked(st State) (*sequence, error) {
	s := e.findLocked(st.ID)
	if s == nil || !s.parked {
		return nil, fmt.Errorf("engine: no parked sequence %q: %w", st.ID, kvferry.ErrNotFound)
	}
	if err := st.check(e.model.Config()); err != nil {
		return nil, err
	}
	if st.Written != s.Written {
		return nil, fmt.Errorf("engine: sequence %q: state of %d written tokens for a cache of %d: %w", st.ID, st.Written, s.Written, kvferry.ErrInvalid)
	}
	if st.Written%e.cfg.PageTokens != 0 && !st.Done && e.blocks.refs[s.pages[len(s.pages)-1]] > 1 {
		return nil, fmt.Errorf("engine: sequence %q goes on in a page that another holds too: %w", st.ID, kvferry.ErrUnsupported)
	}
	return s, nil
}

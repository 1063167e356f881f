package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
)

// Submit queues a request; the next step considers it. It never blocks. A
// request that can never run is ErrInvalid, or ErrOutOfMemory if only the cache
// is too small; an id that is taken is ErrExists.
func (e *Engine) Submit(r Request) error {
	s := &sequence{State: State{
		ID: r.ID, Tokens: slices.Clone(r.Prompt), Prompt: len(r.Prompt), MaxTokens: r.MaxTokens,
		Temperature: r.Temperature, TopP: r.TopP, Stop: slices.Clone(r.Stop), Random: r.Seed,
	}}
	if err := s.check(e.model.Config()); err != nil {
		return err
	}
	if n := e.pagesFor(s.limit(e.model.Config()) - 1); n > e.cfg.Pages {
		return fmt.Errorf("engine: sequence %q may need %d pages of %d: %w", r.ID, n, e.cfg.Pages, kvferry.ErrOutOfMemory)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.findLocked(r.ID) != nil {
		return fmt.Errorf("engine: sequence %q: %w", r.ID, kvferry.ErrExists)
	}
	e.inbox = append(e.inbox, s)
	return nil
}

// Remove ends a sequence and gives its pages back. It waits for a step in
// flight and for the end of a pause. An unknown id is ErrNotFound.
func (e *Engine) Remove(ctx context.Context, id string) error {
	if err := e.enter(ctx); err != nil {
		return err
	}
	defer e.leave()
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.findLocked(id)
	if s == nil {
		return fmt.Errorf("engine: remove sequence %q: %w", id, kvferry.ErrNotFound)
	}
	same := func(x *sequence) bool { return x == s }
	e.seqs, e.inbox = slices.DeleteFunc(e.seqs, same), slices.DeleteFunc(e.inbox, same)
	e.blocks.unref(s.pages)
	return nil
}

// Sequences returns the live sequences in order of arrival, as of the last
// step.
func (e *Engine) Sequences() []Sequence {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []Sequence
	for _, s := range slices.Concat(e.seqs, e.inbox) {
		l := s.logical(e.cfg.PageTokens)
		out = append(out, Sequence{State: s.clone(), Phase: s.phase(), Pages: l.Pages})
	}
	return out
}

// States returns the states of all sequences but parked ones, as of the last
// step.
func (e *Engine) States() []State {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.statesLocked()
}

func (e *Engine) statesLocked() []State {
	var out []State
	for _, s := range e.seqs {
		if !s.parked {
			out = append(out, s.clone())
		}
	}
	return out
}

// PausedStates returns the states as they were in the last pause: those that
// belong to a snapshot taken in it.
func (e *Engine) PausedStates() []State {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]State, len(e.saved))
	for i, s := range e.saved {
		out[i] = s.clone()
	}
	return out
}

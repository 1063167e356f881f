package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

// AllocatePages takes free pages that are not promised to a sequence.
func (a adapter) AllocatePages(ctx context.Context, n int) ([]pager.PageID, error) {
	unlock, err := a.lock(ctx, "allocate pages")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if n < 0 {
		return nil, fmt.Errorf("engine: allocate %d pages: %w", n, kvferry.ErrInvalid)
	}
	if spare := a.e.spareLocked(); n > spare {
		return nil, fmt.Errorf("engine: allocate %d pages, %d can be had: %w", n, spare, kvferry.ErrOutOfMemory)
	}
	return ids(a.e.blocks.lend(n)), nil
}

// ReservePages takes the given free pages for a restore.
func (a adapter) ReservePages(ctx context.Context, want []pager.PageID) error {
	unlock, err := a.lock(ctx, "reserve pages")
	if err != nil {
		return err
	}
	defer unlock()
	if spare := a.e.spareLocked(); len(want) > spare {
		return fmt.Errorf("engine: reserve %d pages, %d can be had: %w", len(want), spare, kvferry.ErrOutOfMemory)
	}
	return a.e.blocks.lendThese(indices(want))
}

// ReleasePages gives pages back that were allocated or reserved.
func (a adapter) ReleasePages(ctx context.Context, ids []pager.PageID) error {
	unlock, err := a.lock(ctx, "release pages")
	if err != nil {
		return err
	}
	defer unlock()
	return a.e.blocks.release(indices(ids))
}

// InstallLogicalSeqs replaces the live sequences; see Engine.Pager. Outside of
// a pause it waits for the step in flight.
func (a adapter) InstallLogicalSeqs(ctx context.Context, seqs []pager.LogicalSeq) error {
	a.e.mu.Lock()
	paused := a.e.paused
	a.e.mu.Unlock()
	if !paused {
		if err := a.e.enter(ctx); err != nil {
			return fmt.Errorf("engine: install sequences: %w", err)
		}
		defer a.e.leave()
	}
	unlock, err := a.lock(ctx, "install sequences")
	if err != nil {
		return err
	}
	defer unlock()
	return a.e.installLocked(seqs)
}

func (e *Engine) installLocked(seqs []pager.LogicalSeq) error {
	exists := func(p pager.PageID) bool { return e.blocks.exists(uint32(p)) }
	if err := pager.CheckSeqs(seqs, uint32(e.cfg.PageTokens), exists); err != nil {
		return fmt.Errorf("engine: install sequences: %w", err)
	}
	list := make([]*sequence, len(seqs))
	for i, l := range seqs {
		if slices.ContainsFunc(e.inbox, func(s *sequence) bool { return s.ID == l.ID }) {
			return fmt.Errorf("engine: install sequence %q, which was submitted meanwhile: %w", l.ID, kvferry.ErrExists)
		}
		if list[i] = e.unchangedLocked(l); list[i] == nil {
			list[i] = &sequence{State: State{ID: l.ID, Written: int(l.Tokens(uint32(e.cfg.PageTokens)))}, pages: indices(l.Pages), parked: true}
		}
	}
	// New references first: a page that goes from one sequence to another
	// must not become free in between.
	for _, s := range list {
		if !slices.Contains(e.seqs, s) {
			e.blocks.ref(s.pages)
		}
	}
	for _, s := range e.seqs {
		if !slices.Contains(list, s) {
			e.blocks.unref(s.pages)
		}
	}
	e.seqs = list
	return nil
}

// unchangedLocked returns the live sequence that l describes, or nil.
func (e *Engine) unchangedLocked(l pager.LogicalSeq) *sequence {
	for _, s := range e.seqs {
		if s.ID == l.ID && s.logical(e.cfg.PageTokens).Equal(l) {
			return s
		}
	}
	return nil
}

func ids(pages []uint32) []pager.PageID {
	out := make([]pager.PageID, len(pages))
	for i, p := range pages {
		out[i] = pager.PageID(p)
	}
	return out
}

func indices(ids []pager.PageID) []uint32 {
	out := make([]uint32, len(ids))
	for i, p := range ids {
		out[i] = uint32(p)
	}
	return out
}

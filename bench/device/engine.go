package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/gpu"
)

// engine is what a serving process would provide: every page is in use by one
// sequence from the start, until emptied.
type engine struct {
	pages int
	seqs  []pager.LogicalSeq
	free  []pager.PageID
}

var _ gpu.Engine = (*engine)(nil)

// newEngine returns an engine whose pages are all in use.
func newEngine(pages int) *engine {
	return &engine{pages: pages, seqs: []pager.LogicalSeq{{ID: "all", Pages: ascending(pages)}}}
}

func ascending(n int) []pager.PageID {
	ids := make([]pager.PageID, n)
	for i := range ids {
		ids[i] = pager.PageID(i)
	}
	return ids
}

// empty makes every page free.
func (e *engine) empty() { e.seqs, e.free = nil, ascending(e.pages) }

// Pause has nothing to stop.
func (e *engine) Pause(ctx context.Context) error { return ctx.Err() }

// Resume has nothing to start.
func (e *engine) Resume(context.Context) error { return nil }

// OccupiedPages returns what is not free.
func (e *engine) OccupiedPages(context.Context) ([]pager.PageID, error) {
	free := make([]bool, e.pages)
	for _, id := range e.free {
		free[id] = true
	}
	return slices.DeleteFunc(ascending(e.pages), func(id pager.PageID) bool { return free[id] }), nil
}

// LogicalSeqs returns the sequences.
func (e *engine) LogicalSeqs(context.Context) ([]pager.LogicalSeq, error) {
	return slices.Clone(e.seqs), nil
}

// AllocatePages takes free pages.
func (e *engine) AllocatePages(_ context.Context, n int) ([]pager.PageID, error) {
	if n > len(e.free) {
		return nil, fmt.Errorf("%d pages of %d free ones: %w", n, len(e.free), kvferry.ErrOutOfMemory)
	}
	ids := slices.Clone(e.free[:n])
	e.free = e.free[n:]
	return ids, nil
}

// InstallLogicalSeqs replaces the sequences.
func (e *engine) InstallLogicalSeqs(_ context.Context, seqs []pager.LogicalSeq) error {
	e.seqs = slices.Clone(seqs)
	return nil
}

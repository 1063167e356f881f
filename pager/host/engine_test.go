package host_test

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/host"
)

// engine is a serving process as far as a Pager sees it: a free list, the
// sequences and whether it runs.
type engine struct {
	tokens uint32
	pages  int

	mu   sync.Mutex
	used map[pager.PageID]bool
	gens []uint64
	seqs []pager.LogicalSeq
	down bool
}

var (
	_ host.Engine    = (*engine)(nil)
	_ host.Guard     = guarded{}
	_ pager.Releaser = able{}
	_ pager.Reserver = able{}
)

func newEngine(tokens uint32, pages int) *engine {
	return &engine{tokens: tokens, pages: pages, used: make(map[pager.PageID]bool), gens: make([]uint64, pages)}
}

func (e *engine) Pause(ctx context.Context) error  { return ctx.Err() }
func (e *engine) Resume(ctx context.Context) error { return ctx.Err() }

func (e *engine) OccupiedPages(context.Context) ([]pager.PageID, error) {
	var ids []pager.PageID
	for id := range e.used {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

func (e *engine) LogicalSeqs(context.Context) ([]pager.LogicalSeq, error) {
	var out []pager.LogicalSeq
	for _, s := range e.seqs {
		out = append(out, s.Clone())
	}
	return out, nil
}

func (e *engine) AllocatePages(_ context.Context, n int) ([]pager.PageID, error) {
	if n < 0 {
		return nil, kvferry.ErrInvalid
	}
	if n > e.pages-len(e.used) {
		return nil, kvferry.ErrOutOfMemory
	}
	var ids []pager.PageID
	for id := pager.PageID(0); len(ids) < n; id++ {
		if !e.used[id] {
			e.used[id] = true
			ids = append(ids, id)
		}
	}
	slices.Reverse(ids) // an order of its own
	return ids, nil
}

func (e *engine) InstallLogicalSeqs(_ context.Context, seqs []pager.LogicalSeq) error {
	if err := pager.CheckSeqs(seqs, e.tokens, func(id pager.PageID) bool { return e.used[id] }); err != nil {
		return err
	}
	e.seqs = nil
	for _, s := range seqs {
		e.seqs = append(e.seqs, s.Clone())
	}
	return nil
}

// able is an engine that can release and reserve pages.
type able struct{ *engine }

func (e able) ReleasePages(_ context.Context, ids []pager.PageID) error {
	for _, id := range ids {
		if !e.used[id] {
			return kvferry.ErrNotFound
		}
	}
	for _, id := range ids {
		delete(e.used, id)
	}
	return nil
}

func (e able) ReservePages(_ context.Context, ids []pager.PageID) error {
	for _, id := range ids {
		if int(id) >= e.pages {
			return kvferry.ErrNotFound
		}
		if e.used[id] {
			return kvferry.ErrExists
		}
	}
	for _, id := range ids {
		e.used[id] = true
	}
	return nil
}

// guarded is an engine that checks each copy.
type guarded struct{ *engine }

func (e guarded) CheckRead(id pager.PageID) error { return e.check(id) }

func (e guarded) CheckWrite(id pager.PageID) error { return e.check(id) }

func (e *engine) check(id pager.PageID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.down:
		return kvferry.ErrClosed
	case !e.used[id]:
		return fmt.Errorf("page %d is free: %w", id, kvferry.ErrNotFound)
	}
	return nil
}

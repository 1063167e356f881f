//go:build cuda

package gpu

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

// engine is a serving process as far as a Pager sees it, less its memory: a free
// list, the sequences, and generations that know of owners, not of writes.
type engine struct {
	tokens uint32
	pages  int

	mu     sync.Mutex
	used   map[pager.PageID]bool
	ages   []uint64
	seqs   []pager.LogicalSeq
	paused int
}

var (
	_ Engine            = (*engine)(nil)
	_ Guard             = guarded{}
	_ pager.Releaser    = (*engine)(nil)
	_ pager.Reserver    = (*engine)(nil)
	_ pager.Generations = (*engine)(nil)
)

func newEngine(tokens uint32, pages int) *engine {
	return &engine{tokens: tokens, pages: pages, used: make(map[pager.PageID]bool), ages: make([]uint64, pages)}
}

func (e *engine) Pause(ctx context.Context) error {
	e.paused++
	return ctx.Err()
}

func (e *engine) Resume(ctx context.Context) error {
	e.paused--
	return ctx.Err()
}

func (e *engine) OccupiedPages(context.Context) ([]pager.PageID, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
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
	e.mu.Lock()
	defer e.mu.Unlock()
	if n < 0 {
		return nil, kvferry.ErrInvalid
	}
	if n > e.pages-len(e.used) {
		return nil, kvferry.ErrOutOfMemory
	}
	var ids []pager.PageID
	for id := pager.PageID(0); len(ids) < n; id++ {
		if !e.used[id] {
			e.takeLocked(id)
			ids = append(ids, id)
		}
	}
	slices.Reverse(ids) // an order of its own
	return ids, nil
}

func (e *engine) takeLocked(id pager.PageID) {
	e.used[id] = true
	e.ages[id]++
}

func (e *engine) InstallLogicalSeqs(_ context.Context, seqs []pager.LogicalSeq) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := pager.CheckSeqs(seqs, e.tokens, func(id pager.PageID) bool { return e.used[id] }); err != nil {
		return err
	}
	e.seqs = nil
	for _, s := range seqs {
		e.seqs = append(e.seqs, s.Clone())
	}
	return nil
}

// ReleasePages implements pager.Releaser.
func (e *engine) ReleasePages(_ context.Context, ids []pager.PageID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		if !e.used[id] {
			return kvferry.ErrNotFound
		}
	}
	for _, id := range ids {
		delete(e.used, id)
		e.ages[id]++
	}
	return nil
}

// ReservePages implements pager.Reserver.
func (e *engine) ReservePages(_ context.Context, ids []pager.PageID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		if int(id) >= e.pages {
			return kvferry.ErrNotFound
		}
		if e.used[id] {
			return kvferry.ErrExists
		}
	}
	for _, id := range ids {
		e.takeLocked(id)
	}
	return nil
}

// Generations implements pager.Generations.
func (e *engine) Generations(_ context.Context, ids []pager.PageID, dst []uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, id := range ids {
		dst[i] = e.ages[id]
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
	if !e.used[id] {
		return fmt.Errorf("page %d is free: %w", id, kvferry.ErrNotFound)
	}
	return nil
}

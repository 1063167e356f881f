package synthetic

import (
	"context"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

// OccupiedPages implements pager.Pager: the pages that were written or
// populated and not released.
func (e *Engine) OccupiedPages(ctx context.Context) ([]pager.PageID, error) {
	e.mu.Lock() // for writing: a copy under way may be changing states
	defer e.mu.Unlock()
	if err := e.ready(ctx, "list pages"); err != nil {
		return nil, err
	}
	ids := make([]pager.PageID, 0, e.used)
	for ci, c := range e.slab.chunks {
		if c == nil {
			continue
		}
		for i, st := range c.states {
			if st == full {
				ids = append(ids, pager.PageID(ci<<e.slab.shift|i))
			}
		}
	}
	return ids, nil
}

// ReadPage implements pager.Pager. A page that was allocated and not written
// yet is ErrNotFound like one that is free.
func (e *Engine) ReadPage(ctx context.Context, id pager.PageID, dst []byte) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if err := e.ready(ctx, "read page"); err != nil {
		return err
	}
	c, i := e.slab.find(id)
	if c == nil || c.states[i] != full {
		return fmt.Errorf("synthetic: read page %d: %w", id, kvferry.ErrNotFound)
	}
	if len(dst) != e.pageBytes {
		return fmt.Errorf("synthetic: read page %d: buffer of %d bytes, want %d: %w", id, len(dst), e.pageBytes, kvferry.ErrInvalid)
	}
	copy(dst, e.slab.page(c, i))
	return nil
}

// WritePage implements pager.Pager. Populated pages may be written like
// allocated ones; a free page is ErrNotFound.
func (e *Engine) WritePage(ctx context.Context, id pager.PageID, src []byte) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if err := e.ready(ctx, "write page"); err != nil {
		return err
	}
	c, i := e.slab.find(id)
	if c == nil || c.states[i] == free {
		return fmt.Errorf("synthetic: write page %d, which nobody allocated: %w", id, kvferry.ErrNotFound)
	}
	if len(src) != e.pageBytes {
		return fmt.Errorf("synthetic: write page %d: %d bytes, want %d: %w", id, len(src), e.pageBytes, kvferry.ErrInvalid)
	}
	copy(e.slab.page(c, i), src)
	c.states[i] = full
	c.gens[i]++
	return nil
}

// AllocatePages implements pager.Pager: in a new engine 0, 1, 2 and so on;
// released pages come again when the others are used up.
func (e *Engine) AllocatePages(ctx context.Context, n int) ([]pager.PageID, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.ready(ctx, "allocate pages"); err != nil {
		return nil, err
	}
	if n < 0 {
		return nil, fmt.Errorf("synthetic: allocate %d pages: %w", n, kvferry.ErrInvalid)
	}
	if n > e.slab.capacity-e.used {
		return nil, fmt.Errorf("synthetic: allocate %d pages, %d of %d are free: %w",
			n, e.slab.capacity-e.used, e.slab.capacity, kvferry.ErrOutOfMemory)
	}
	ids := make([]pager.PageID, 0, n)
	for at := e.next; len(ids) < n; at++ {
		if at >= e.slab.capacity {
			at = 0 // a free page is left, so the search ends
		}
		id := pager.PageID(at)
		if e.slab.state(id) != free {
			continue
		}
		if err := e.takeLocked(id); err != nil {
			e.giveLocked(ids)
			return nil, err
		}
		ids = append(ids, id)
		e.next = at + 1
	}
	return ids, nil
}

// takeLocked makes a free page held.
func (e *Engine) takeLocked(id pager.PageID) error {
	if err := e.slab.grow(id); err != nil {
		return err
	}
	c, i := e.slab.find(id)
	c.states[i] = held
	c.gens[i]++
	e.used++
	return nil
}

// giveLocked makes pages free that are not.
func (e *Engine) giveLocked(ids []pager.PageID) {
	for _, id := range ids {
		c, i := e.slab.find(id)
		c.states[i] = free
		c.gens[i]++
		e.used--
	}
}

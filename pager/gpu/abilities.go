package gpu

import (
	"context"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

// releasing passes the engine's Releaser on, but keeps fenced pages.
type releasing struct {
	c      *cache
	engine pager.Releaser
}

// ReleasePages implements pager.Releaser. A fenced page is ErrUnknownOutcome:
// bytes may still arrive in it, so nobody else may have it.
func (r releasing) ReleasePages(ctx context.Context, ids []pager.PageID) error {
	if err := r.c.unclosed("release pages"); err != nil {
		return err
	}
	if err := r.c.unfenced(ids); err != nil {
		return err
	}
	return r.engine.ReleasePages(ctx, ids)
}

// reserving passes the engine's Reserver on.
type reserving struct {
	c      *cache
	engine pager.Reserver
}

// ReservePages implements pager.Reserver. A fenced page is ErrUnknownOutcome.
func (r reserving) ReservePages(ctx context.Context, ids []pager.PageID) error {
	if err := r.c.open(ctx, "reserve pages"); err != nil {
		return err
	}
	if err := r.c.unfenced(ids); err != nil {
		return err
	}
	return r.engine.ReservePages(ctx, ids)
}

// ageing adds the writes through the Pager to the engine's generations.
type ageing struct {
	c      *cache
	engine pager.Generations
}

// Generations implements pager.Generations. Both numbers only grow, so the sum
// changes whenever one does. A fenced page is ErrUnknownOutcome: it may change
// at any time.
func (g ageing) Generations(ctx context.Context, ids []pager.PageID, dst []uint64) error {
	if len(ids) != len(dst) {
		return fmt.Errorf("gpu: generations of %d pages for %d places: %w", len(ids), len(dst), kvferry.ErrInvalid)
	}
	for _, id := range ids {
		if int64(id) >= int64(g.c.pages) {
			return fmt.Errorf("gpu: generation of page %d of %d: %w", id, g.c.pages, kvferry.ErrNotFound)
		}
	}
	if err := g.c.unclosed("generations"); err != nil {
		return err
	}
	if err := g.engine.Generations(ctx, ids, dst); err != nil {
		return err
	}
	g.c.mu.Lock()
	defer g.c.mu.Unlock()
	if err := g.c.fencedLocked(ids); err != nil {
		return err
	}
	for i, id := range ids {
		dst[i] += g.c.written[id]
	}
	return nil
}

// unfenced refuses pages into which bytes may still move.
func (c *cache) unfenced(ids []pager.PageID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fencedLocked(ids)
}

// countWritesLocked counts a work's writes: when it is submitted and when it has
// ended, since its bytes arrive in between.
func (c *cache) countWritesLocked(k *work) {
	if c.written == nil || k.job.Direction != pager.In {
		return
	}
	for _, id := range k.job.Pages {
		c.written[id]++
	}
}

package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry/examples/llama/model"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/host"
)

// Memory is where an engine keeps its pages if not in host memory: on a GPU.
// The arithmetic stays on the host: each step brings the pages that it reads
// into a working copy, and takes those that it wrote back. Between steps the
// working copy holds nothing.
//
// An error of a Memory is final: the engine takes no step any more.
type Memory interface {
	// Host returns the working copy.
	Host() []byte

	// Load copies ranges of the memory to the same places of the working copy,
	// after all that was stored, and returns when they are there.
	Load(ctx context.Context, ranges []Range) error

	// Store queues copies of ranges of the working copy to the same places of
	// the memory and need not wait for them. The engine leaves these ranges
	// alone until Settle.
	Store(ranges []Range) error

	// Settle returns when everything that was stored is there.
	Settle(ctx context.Context) error

	// Pager offers the memory to kvferry. The layout's regions lie in it one
	// after the other. It is called with the same arguments each time.
	Pager(l *pager.Layout, e host.Engine) (pager.Pager, error)

	// Close waits for what is under way and gives the memory back. A second
	// Close does nothing.
	Close() error
}

// Range is a part of a Memory, in bytes.
type Range struct{ Offset, Bytes int64 }

// newCache makes the cache, in host memory or over the working copy of the
// configured Memory.
func (c Config) newCache(m model.Config) (*model.Cache, Memory, error) {
	if c.Memory == nil {
		cache, err := model.NewCache(m, c.Pages, c.PageTokens)
		return cache, nil, err
	}
	bytes, err := model.CacheBytes(m, c.Pages, c.PageTokens)
	if err != nil {
		return nil, nil, err
	}
	memory, err := c.Memory(bytes)
	if err != nil {
		return nil, nil, err
	}
	cache, err := model.NewCacheIn(m, c.Pages, c.PageTokens, memory.Host())
	if err != nil {
		return nil, nil, fmt.Errorf("%w (%w)", err, memory.Close())
	}
	return cache, memory, nil
}

// remote moves pages between a Memory and its working copy.
type remote struct {
	memory Memory
	cache  *model.Cache
	// fresh are pages that the step in progress took and cleared: there is
	// nothing to load for them.
	fresh   []uint32
	used    []uint32 // pages that the working copy holds
	written []uint32
	ranges  []Range
	failed  error
}

// load brings the pages of the rows into the working copy.
func (r *remote) load(ctx context.Context, rows []model.Row) error {
	if r.failed != nil {
		return r.failed
	}
	r.used, r.written = r.used[:0], r.written[:0]
	for _, row := range rows {
		n := row.Pos / r.cache.PageTokens
		r.used = append(r.used, row.Pages[:n+1]...)
		r.written = append(r.written, row.Pages[n])
	}
	r.used, r.written = distinct(r.used), distinct(r.written)
	old := slices.DeleteFunc(slices.Clone(r.used), func(p uint32) bool { return slices.Contains(r.fresh, p) })
	r.fresh = r.fresh[:0]
	return r.fail(r.memory.Load(ctx, r.rangesOf(old)))
}

// store sends what the step wrote on its way.
func (r *remote) store() error { return r.fail(r.memory.Store(r.rangesOf(r.written))) }

// settle waits for what was stored and wipes the working copy, so that no step
// can live on what an earlier one left behind.
func (r *remote) settle(ctx context.Context) error {
	if r.failed != nil {
		return r.failed
	}
	err := r.memory.Settle(ctx)
	if err != nil && ctx.Err() != nil {
		return err // the waiting ended, not the copies
	}
	if err := r.fail(err); err != nil {
		return err
	}
	for _, p := range r.used {
		r.cache.Clear(p)
	}
	r.used = r.used[:0]
	return nil
}

// fail makes an error of the memory the last one.
func (r *remote) fail(err error) error {
	if err != nil {
		r.failed = fmt.Errorf("engine: memory of the pages: %w", err)
	}
	return r.failed
}

// rangesOf returns where pages lie.
func (r *remote) rangesOf(pages []uint32) []Range {
	r.ranges = r.ranges[:0]
	for slab := range r.cache.Slabs() {
		for _, p := range pages {
			at, n := r.cache.Slab(slab, p)
			r.ranges = append(r.ranges, Range{at, n})
		}
	}
	return r.ranges
}

func distinct(pages []uint32) []uint32 {
	slices.Sort(pages)
	return slices.Compact(pages)
}

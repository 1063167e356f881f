package traces

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kvferry/kvferry/pagecache"
)

// blockBytes is what a cached block has here: the policy is measured, and the
// bookkeeping, not the copy.
const blockBytes = 64

// Cache is what a trace is played on.
type Cache interface {
	// Get tells whether a block is there, as a use of it.
	Get(block uint64) bool
	// Put adds a block that was not there.
	Put(block uint64) error
}

// Played is what came of a trace.
type Played struct {
	Refs, Hits int
	// Leading are the hits before a request's first miss.
	Leading int
	Took    time.Duration
}

// HitShare is the share of the references that the cache served.
func (p Played) HitShare() float64 { return float64(p.Hits) / float64(p.Refs) }

// LeadingShare is the share that an engine can use.
func (p Played) LeadingShare() float64 { return float64(p.Leading) / float64(p.Refs) }

// Play plays a trace on a cache.
func Play(t *Trace, c Cache) (Played, error) {
	p := Played{Refs: len(t.Refs)}
	start := time.Now()
	for request := range t.Requests {
		leading := true
		for _, b := range request {
			if c.Get(b) {
				p.Hits++
				if leading {
					p.Leading++
				}
				continue
			}
			leading = false
			if err := c.Put(b); err != nil {
				return p, err
			}
		}
	}
	p.Took = time.Since(start)
	return p, nil
}

// pool is the page pool as a cache of blocks.
type pool struct {
	ctx   context.Context //nolint:containedctx // a cache has no context in its calls
	pool  *pagecache.Pool[uint64]
	block [blockBytes]byte
}

// newPool makes a pool of so many blocks; the caller closes it.
func newPool(ctx context.Context, capacity int) (*pool, error) {
	p, err := pagecache.New(pagecache.Options[uint64]{LimitBytes: int64(capacity) * blockBytes})
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	return &pool{ctx: ctx, pool: p}, nil
}

// Get implements Cache.
func (p *pool) Get(block uint64) bool {
	f, ok := p.pool.Get(block)
	if ok {
		f.Release()
	}
	return ok
}

// Put implements Cache.
func (p *pool) Put(block uint64) error {
	f, err := p.pool.Insert(p.ctx, block, p.block[:], pagecache.Refuse)
	if err != nil {
		return fmt.Errorf("traces: put: %w", err)
	}
	f.Release()
	return nil
}

// lru is a textbook cache, the one that goals are counted from.
type lru struct {
	capacity int
	order    *list.List
	blocks   map[uint64]*list.Element
}

func newLRU(capacity int) *lru {
	return &lru{capacity, list.New(), make(map[uint64]*list.Element, capacity)}
}

// Get implements Cache.
func (l *lru) Get(block uint64) bool {
	e, ok := l.blocks[block]
	if ok {
		l.order.MoveToFront(e)
	}
	return ok
}

// Put implements Cache.
func (l *lru) Put(block uint64) error {
	if _, ok := l.blocks[block]; ok {
		return errors.New("traces: the block is there")
	}
	if len(l.blocks) < l.capacity {
		l.blocks[block] = l.order.PushFront(block)
		return nil
	}
	oldest := l.order.Back()
	if b, ok := oldest.Value.(uint64); ok {
		delete(l.blocks, b)
	}
	oldest.Value = block
	l.order.MoveToFront(oldest)
	l.blocks[block] = oldest
	return nil
}

// middle is the median, 0 of none.
func middle(v []int) int {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[len(v)/2]
}

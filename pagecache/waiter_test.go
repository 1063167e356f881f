package pagecache

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

// stopping is an allocator that refuses long slabs, once it is told to go on.
type stopping struct {
	Allocator
	from   int
	asked  chan struct{}
	answer chan struct{}
	armed  atomic.Bool
}

func (r *stopping) Allocate(n int) ([]byte, error) {
	if r.armed.Load() && n >= r.from {
		r.asked <- struct{}{}
		<-r.answer
		return nil, fmt.Errorf("no %d bytes: %w", n, kvferry.ErrOutOfMemory)
	}
	return r.Allocator.Allocate(n)
}

// TestWaiterSeesRoomOfAFailure lets one take most of the limit and find no
// memory; one who waited meanwhile gets the room, though a frame stays in use.
func TestWaiterSeesRoomOfAFailure(t *testing.T) {
	t.Parallel()
	r := &stopping{Allocator: Anonymous(), from: 512 << 10, asked: make(chan struct{}), answer: make(chan struct{})}
	a, err := NewArena(ArenaOptions{LimitBytes: 8 << 20, Allocator: r})
	require.NoError(t, err)
	p, err := New(Options[uint64]{LimitBytes: 1 << 20, Arena: a, Shards: 1})
	require.NoError(t, err)
	held, err := p.Insert(t.Context(), 1, make([]byte, 64<<10), Refuse)
	require.NoError(t, err)
	r.armed.Store(true)
	failed := make(chan error, 1)
	go func() {
		_, err := p.Reserve(t.Context(), 2, 960<<10, Refuse)
		failed <- err
	}()
	<-r.asked
	waited := make(chan error, 1)
	go func() {
		x, err := p.Reserve(t.Context(), 3, 64<<10, Wait)
		if err == nil {
			x.Abandon()
		}
		waited <- err
	}()
	for p.waits.Load() == 0 {
		runtime.Gosched()
	}
	r.armed.Store(false)
	close(r.answer)
	require.ErrorIs(t, <-failed, kvferry.ErrOutOfMemory)
	require.NoError(t, <-waited)
	held.Release()
	require.NoError(t, p.Close())
	require.NoError(t, a.Close())
}

// TestEvictionFindsPagesThatMove rekeys the only page from shard to shard while
// somebody needs its room.
func TestEvictionFindsPagesThatMove(t *testing.T) {
	t.Parallel()
	p, err := New(Options[uint64]{LimitBytes: 64, Shards: 256, Hash: func(k uint64) uint64 { return k * 0x9e3779b97f4a7c15 }})
	require.NoError(t, err)
	for i := range uint64(2000) {
		one, two := 3*i, 3*i+1
		f, err := p.Insert(t.Context(), one, make([]byte, 64), Refuse)
		require.NoError(t, err)
		f.Release()
		var stop atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			for !stop.Load() {
				_ = p.Rekey(one, two) // it may be evicted by now
				_ = p.Rekey(two, one)
			}
		})
		r, err := p.Reserve(t.Context(), 3*i+2, 64, Refuse)
		stop.Store(true)
		wg.Wait()
		require.NoError(t, err, "the page is idle")
		r.Abandon()
	}
	require.NoError(t, p.Close())
}

// metered is an allocator that knows how much is out.
type metered struct {
	Allocator
	out, most atomic.Int64
}

func (c *metered) Allocate(n int) ([]byte, error) {
	for now := c.out.Add(int64(n)); ; {
		most := c.most.Load()
		if now <= most || c.most.CompareAndSwap(most, now) {
			return c.Allocator.Allocate(n)
		}
	}
}

func (c *metered) Free(mem []byte) error {
	n := int64(len(mem))
	runtime.Gosched() // as a slow one
	err := c.Allocator.Free(mem)
	c.out.Add(-n)
	return err
}

// TestArenaCountsUntilFreed holds an arena whose slabs come and go to its limit.
func TestArenaCountsUntilFreed(t *testing.T) {
	t.Parallel()
	c := &metered{Allocator: Anonymous()}
	const limit = 1 << 20
	a, err := NewArena(ArenaOptions{LimitBytes: limit, SlabBytes: 1, Allocator: c})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 2000 {
				if b, err := a.Alloc(256 << 10); err == nil {
					if err := a.Free(b); err != nil {
						t.Error(err)
					}
				}
				if err := a.Trim(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, c.most.Load(), int64(limit+16*128), "each slab takes 128 bytes more")
	require.NoError(t, a.Close())
}

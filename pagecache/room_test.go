package pagecache

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

// insert puts a page of its pattern in and lets go of it.
func insert(t testing.TB, p *Pool[uint64], k uint64, n int) {
	t.Helper()
	insertHeld(t, p, k, n).Release()
}

func insertHeld(t testing.TB, p *Pool[uint64], k uint64, n int) *Frame {
	t.Helper()
	r, err := p.Reserve(t.Context(), k, n, Refuse)
	require.NoError(t, err)
	pattern(r.Bytes(), k)
	f, err := r.Publish()
	require.NoError(t, err)
	return f
}

// until calls f, letting others run in between, until it is true.
func until(t testing.TB, f func() bool) {
	t.Helper()
	for !f() {
		runtime.Gosched()
	}
}

// TestEviction: what makes room is what nobody references, and the callback
// sees its bytes.
func TestEviction(t *testing.T) {
	t.Parallel()
	var evicted []uint64
	p := newPool(t, Options[uint64]{LimitBytes: 8 * 512, Shards: 2, OnEvict: func(k uint64, mem []byte) {
		require.True(t, patterned(mem, k))
		evicted = append(evicted, k)
	}})
	var held []*Frame
	for k := range uint64(4) {
		held = append(held, insertHeld(t, p, k, 512))
	}
	for k := uint64(4); k < 40; k++ {
		insert(t, p, k, 512)
		require.LessOrEqual(t, p.Metrics().Bytes, int64(8*512))
	}
	require.Len(t, evicted, 32)
	for k, f := range held {
		require.True(t, p.Contains(uint64(k)))
		require.True(t, patterned(f.Bytes(), uint64(k)))
		f.Release()
	}
	audit(t, p)
	m := p.Metrics()
	require.EqualValues(t, 32, m.Evictions)
	require.EqualValues(t, 32*512, m.EvictedBytes)
	require.EqualValues(t, 8, m.Frames)
	require.Zero(t, m.Pinned)
	require.NoError(t, p.Close())
	require.Len(t, evicted, 32, "closing evicts nothing")
}

// TestScan: pages that were used more than once survive a scan of ten times
// the pool.
func TestScan(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[uint64]{LimitBytes: 1000 * 64, Shards: 1})
	use := func(k uint64) {
		if f, ok := p.Get(k); ok {
			f.Release()
			return
		}
		insert(t, p, k, 64)
	}
	for range 4 {
		for k := range uint64(500) {
			use(k)
		}
	}
	for k := uint64(1000); k < 11000; k++ {
		use(k)
	}
	kept := 0
	for k := range uint64(500) {
		if p.Contains(k) {
			kept++
		}
	}
	require.Equal(t, 500, kept)
	audit(t, p)
	require.NoError(t, p.Close())
}

// TestGhost: what comes back soon after its eviction is kept for longer.
func TestGhost(t *testing.T) {
	t.Parallel()
	var g ghost
	require.False(t, g.take(1))
	for h := range uint64(1000) {
		g.add(h<<8, 1000)
	}
	found := 0
	for h := range uint64(1000) {
		if g.take(h << 8) {
			found++
		}
		require.False(t, g.take(h<<8), "taken once")
	}
	require.Greater(t, found, 850) // a set that is full forgets
	g.add(7<<8, 1)
	g.add(8<<8, 1)
	require.False(t, g.take(7<<8), "one is remembered, and that is not the oldest")
	require.True(t, g.take(8<<8))
}

// TestReturn: a page that comes back soon after its eviction is past probation.
func TestReturn(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[uint64]{LimitBytes: 8 * 64, Shards: 1})
	for k := range uint64(9) {
		insert(t, p, k, 64)
	}
	require.False(t, p.Contains(0))
	insert(t, p, 0, 64)
	s, h := p.locate(0)
	require.EqualValues(t, inMain, s.find(h, 0).where)
	require.False(t, p.Contains(1))
	insert(t, p, 100, 64)
	s, h = p.locate(100)
	require.EqualValues(t, inSmall, s.find(h, 100).where)
	require.NoError(t, p.Close())
}

// TestWaitForRoom: who waits gets room from a release, an abandonment, an
// event, a deletion or a higher limit, and lets go with its context.
func TestWaitForRoom(t *testing.T) {
	t.Parallel()
	event := &flag{}
	for name, free := range map[string]func(p *Pool[uint64], f *Frame, r *Reservation[uint64]){
		"release":  func(_ *Pool[uint64], f *Frame, _ *Reservation[uint64]) { f.Release() },
		"abandon":  func(_ *Pool[uint64], _ *Frame, r *Reservation[uint64]) { r.Abandon() },
		"resize":   func(p *Pool[uint64], _ *Frame, _ *Reservation[uint64]) { _ = p.Resize(3 * 512) },
		"event":    func(_ *Pool[uint64], f *Frame, _ *Reservation[uint64]) { f.ReleaseAfter(event) },
		"deletion": func(p *Pool[uint64], f *Frame, _ *Reservation[uint64]) { p.Delete(1); f.Release() },
		"publish": func(_ *Pool[uint64], _ *Frame, r *Reservation[uint64]) {
			if f, err := r.Publish(); err == nil {
				f.Release()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, Options[uint64]{LimitBytes: 2 * 512})
			f := insertHeld(t, p, 1, 512)
			r, err := p.Reserve(t.Context(), 2, 512, Refuse)
			require.NoError(t, err)
			_, err = p.Reserve(t.Context(), 3, 512, Refuse)
			require.ErrorIs(t, err, kvferry.ErrOutOfMemory)

			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := p.Reserve(ctx, 4, 512, Wait)
				if !errors.Is(err, context.Canceled) {
					t.Errorf("%v", err)
				}
			})
			until(t, func() bool { return p.room.waiting.Load() == 1 })
			cancel()
			wg.Wait()
			wg.Go(func() {
				got, err := p.Reserve(t.Context(), 3, 512, Wait)
				if err != nil {
					t.Error(err)
					return
				}
				got.Abandon()
			})
			until(t, func() bool { return p.room.waiting.Load() == 1 })
			free(p, f, r)
			if name == "event" { // asked again and again, by nobody but who waits
				asked := event.asked.Load()
				until(t, func() bool { return event.asked.Load() > asked+5 })
				event.done.Store(true)
			}
			wg.Wait()
			require.EqualValues(t, 2, p.Metrics().Waits)
			if name != "release" && name != "event" && name != "deletion" {
				f.Release()
			}
			r.Abandon()
			audit(t, p)
			require.NoError(t, p.Close())
		})
	}
}

// TestCloseWakes: nobody waits for a pool that was closed.
func TestCloseWakes(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[uint64]{LimitBytes: 512})
	r, err := p.Reserve(t.Context(), 1, 512, Refuse)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for k := range uint64(3) { // one waits for the page, the others for room
		wg.Go(func() {
			_, err := p.GetOrFill(t.Context(), k, 512, Wait, func(context.Context, []byte) error { return nil })
			if !errors.Is(err, kvferry.ErrClosed) {
				t.Errorf("%v", err)
			}
		})
	}
	until(t, func() bool { return p.room.waiting.Load() == 2 && p.joined.Load() == 1 })
	require.ErrorIs(t, p.Close(), kvferry.ErrUnknownOutcome)
	wg.Wait()
	r.Abandon()
	require.NoError(t, p.Close())
}

// TestResize: a lower limit evicts at once what it can, and the rest when it is
// released.
func TestResize(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[uint64]{LimitBytes: 64 * 512, Shards: 4})
	var held []*Frame
	for k := range uint64(64) {
		f := insertHeld(t, p, k, 512)
		if k%4 == 0 {
			held = append(held, f)
			continue
		}
		f.Release()
	}
	require.ErrorIs(t, p.Resize(0), kvferry.ErrInvalid)
	require.NoError(t, p.Resize(4*512))
	require.EqualValues(t, 16*512, p.Metrics().Bytes)
	_, err := p.Insert(t.Context(), 100, nil, Refuse)
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	for i, f := range held {
		require.True(t, patterned(f.Bytes(), uint64(4*i)))
		f.Release()
		require.EqualValues(t, max(4, 15-i)*512, p.Metrics().Bytes)
	}
	audit(t, p)
	left, err := p.Shrink(512)
	require.NoError(t, err)
	require.EqualValues(t, 512, left)
	left, err = p.Shrink(0)
	require.NoError(t, err)
	require.Zero(t, left)
	require.Zero(t, p.arena.Stats().MappedBytes)
	require.NoError(t, p.Resize(1<<20))
	insert(t, p, 1, 1<<19)
	require.NoError(t, p.Close())
}

// TestCallback: the callback may use the pool, evictions in evictions included;
// a fill of the key that is being evicted waits for it, and an Get misses.
func TestCallback(t *testing.T) {
	t.Parallel()
	var p *Pool[uint64]
	lower := sync.Map{}
	var depth, deepest atomic.Int64
	entered, proceed := make(chan struct{}, 100), make(chan struct{})
	p = newPool(t, Options[uint64]{LimitBytes: 4 * 512, OnEvict: func(k uint64, mem []byte) {
		deepest.Store(max(deepest.Load(), depth.Add(1)))
		defer depth.Add(-1)
		entered <- struct{}{}
		<-proceed
		if p.Contains(k) || p.Delete(k) || p.Metrics().Bytes == 0 || !patterned(mem, k) {
			t.Errorf("page %d while it is evicted", k)
		}
		if k < 4 { // evicts another one
			if r, err := p.Reserve(context.Background(), k+100, 512, Refuse); err == nil {
				pattern(r.Bytes(), k+100)
				if f, err := r.Publish(); err == nil {
					f.Release()
				}
			}
		}
		lower.Store(k, append([]byte(nil), mem...))
	}})
	for k := range uint64(4) {
		insert(t, p, k, 512)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		r, err := p.Reserve(context.Background(), 50, 512, Refuse)
		if err != nil {
			t.Error(err)
			return
		}
		pattern(r.Bytes(), 50)
		if f, err := r.Publish(); err == nil {
			f.Release()
		}
	})
	<-entered
	gone := uint64(0)
	for p.Contains(gone) {
		gone++
	}
	wg.Go(func() {
		f, err := p.GetOrFill(context.Background(), gone, 512, Wait, func(_ context.Context, mem []byte) error {
			below, ok := lower.Load(gone)
			if !ok {
				return kvferry.ErrNotFound
			}
			copy(mem, below.([]byte))
			return nil
		})
		if err != nil {
			t.Error(err)
			return
		}
		if !patterned(f.Bytes(), gone) {
			t.Error("not what was written back")
		}
		f.Release()
	})
	until(t, func() bool { return p.joined.Load() == 1 })
	_, err := p.Reserve(t.Context(), gone, 512, Refuse)
	require.ErrorIs(t, err, kvferry.ErrExists)
	close(proceed)
	wg.Wait()
	require.Greater(t, deepest.Load(), int64(1))
	audit(t, p)
	require.NoError(t, p.Close())
}

// TestCallbackPanic: a panic of the callback goes to the one who needed the
// room, and costs no memory.
func TestCallbackPanic(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[uint64]{LimitBytes: 512, OnEvict: func(uint64, []byte) { panic("callback") }})
	insert(t, p, 1, 512)
	require.PanicsWithValue(t, "callback", func() { _, _ = p.Insert(t.Context(), 2, make([]byte, 512), Refuse) })
	insert(t, p, 1, 512)
	require.True(t, p.Delete(1))
	insert(t, p, 2, 512)
	require.NoError(t, p.Close())
}

// TestSizesChange: pages of a new size do not cost the whole cache, although
// its memory is cut into other sizes; whatever is referenced stays.
func TestSizesChange(t *testing.T) {
	t.Parallel()
	const limit = 32 << 20
	p := newPool(t, Options[uint64]{LimitBytes: limit, Allocator: Anonymous()})
	pages := uint64(limit / 8192)
	insert := func(k uint64, n int) { // without bytes of its own, for speed
		r, err := p.Reserve(t.Context(), k, n, Refuse)
		require.NoError(t, err)
		f, err := r.Publish()
		require.NoError(t, err)
		f.Release()
	}
	for k := range pages {
		insert(k, 8192)
	}
	require.Zero(t, p.Metrics().Evictions)
	var held []*Frame
	for k := range uint64(100) { // more than a slab of them
		f, ok := p.Get(k)
		require.True(t, ok)
		pattern(f.Bytes(), k)
		held = append(held, f)
	}
	insert(pages, 64<<10)
	require.Less(t, p.Metrics().Evictions, pages/16)
	for k := range uint64(2 * limit / (64 << 10)) {
		insert(pages+1+k, 64<<10)
		require.LessOrEqual(t, p.arena.Stats().HeldBytes, int64(limit))
	}
	audit(t, p)
	m := p.Metrics()
	require.Greater(t, m.Bytes, int64(limit*3/4))
	for k, f := range held {
		require.True(t, p.Contains(uint64(k)))
		require.True(t, patterned(f.Bytes(), uint64(k)))
		f.Release()
	}
	for k := range pages { // and back
		if !p.Contains(k) {
			insert(k, 8192)
		}
	}
	audit(t, p)
	require.NoError(t, p.Close())
}

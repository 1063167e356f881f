package pagecache

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// What follows are moments that two goroutines meet in once in a million
// times, put together step by step.

// TestLateReader: a reader that found a page just before it died gets nothing,
// and if the last reference goes while it looks, it frees the memory.
func TestLateReader(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[uint64]{LimitBytes: 1 << 20})
	f := insertHeld(t, p, 1, 512)
	s, h := p.locate(1)
	g := s.find(h, 1)
	require.True(t, p.Delete(1))
	require.False(t, g.acquire())
	require.False(t, g.borrow())
	require.EqualValues(t, 1, f.state.Load()&refMask)
	require.True(t, patterned(f.Bytes(), 1))

	g.state.Add(hitOne | 1) // the reader has added, and not looked yet
	f.Release()
	require.EqualValues(t, 512, p.Metrics().Bytes)
	require.False(t, g.acquired(g.state.Load()))
	require.Zero(t, p.Metrics().Bytes)
	require.False(t, g.acquire()) // later still: nothing is freed twice
	require.Zero(t, p.Metrics().Bytes)
	require.Zero(t, p.Metrics().Hits)
	require.NoError(t, p.Close())
}

// TestOldTable: a reader with a table that was replaced finds what lives, and
// does not get what died since.
func TestOldTable(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[uint64]{LimitBytes: 1 << 20, Shards: 1})
	insert(t, p, 1, 64)
	insert(t, p, 2, 64)
	old := p.shards[0].index.table.Load()
	for k := range uint64(100) {
		insert(t, p, 10+k, 64)
	}
	require.NotSame(t, old, p.shards[0].index.table.Load())
	require.True(t, p.Delete(1))
	_, h1 := p.locate(1)
	_, h2 := p.locate(2)
	require.False(t, old.find(h1, 1).acquire())
	g := old.find(h2, 2)
	require.True(t, g.acquire())
	g.Release()
	require.NoError(t, p.Close())
}

// TestLateCancellation: who gives up waiting just as the page comes has a
// reference already, and gives it back.
func TestLateCancellation(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[uint64]{LimitBytes: 1 << 20})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	given, cancelled := 0, 0
	for k := range uint64(100) {
		r, err := p.Reserve(t.Context(), k, 64, Wait)
		require.NoError(t, err)
		r.shard.mu.Lock()
		r.joinLocked()
		r.shard.mu.Unlock()
		f, err := r.Publish()
		require.NoError(t, err)
		f.Release()
		if f, err := r.wait(ctx); err == nil { // of two reasons to end, either is taken
			f.Release()
			given++
		} else {
			require.ErrorIs(t, err, context.Canceled)
			cancelled++
		}
		require.Zero(t, p.Metrics().Pinned)
	}
	require.Positive(t, given)
	require.Positive(t, cancelled)
	require.NoError(t, p.Close())
}

// TestAside: a page that was put aside while it was referenced comes back into
// its own queue.
func TestAside(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[uint64]{LimitBytes: 4 * 64, Shards: 1})
	for k := range uint64(4) {
		insert(t, p, k, 64)
	}
	o := &p.shards[0].policy
	promoted, ok := p.Get(0)
	require.True(t, ok)
	promoted.Release()
	left, err := p.Shrink(64) // 0 was used and stays, in the main queue
	require.NoError(t, err)
	require.EqualValues(t, 64, left)
	require.Equal(t, 1, o.main.len)
	held, ok := p.Get(0)
	require.True(t, ok)
	fresh := insertHeld(t, p, 10, 64)
	_, err = p.Shrink(0)
	require.NoError(t, err)
	require.Zero(t, o.main.len+o.small.len)
	audit(t, p)
	fresh.Release()
	require.Equal(t, 1, o.small.len)
	require.Zero(t, o.main.len)
	held.Release()
	require.Equal(t, 1, o.main.len)
	audit(t, p)
	require.NoError(t, p.Close())
}

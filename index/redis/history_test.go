package redis_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/redis"
)

// next is what a watcher heard.
type next struct {
	change index.Change
	err    error
}

// watching hands on what a watcher hears, from a number on.
func watching(t testing.TB, x *redis.Index, after uint64) <-chan next {
	t.Helper()
	out := make(chan next)
	ended := make(chan struct{})
	ctx := t.Context()
	go func() {
		defer close(ended)
		for c, err := range x.Watch(ctx, after) {
			n := next{err: err}
			if err == nil {
				n.change = *c
			}
			select {
			case out <- n:
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() { <-ended })
	return out
}

// TestForkedHistory: a server that was killed gives numbers of changes that it lost
// out again. Who has seen those has to take a snapshot.
func TestForkedHistory(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	x := s.open(t, s.options(index.Options{}))
	heard := watching(t, x, 0)
	require.Eventually(t, func() bool { n, err := s.do("EXISTS", "kvferry:{*}x").AsInt64(); return err == nil && n == 1 }, patience, tick)
	put := func(i int) {
		require.Eventually(t, func() bool { return x.Put(t.Context(), []index.Record{record(i)}) == nil }, patience, tick)
	}
	put(1)
	require.Equal(t, uint64(1), (<-heard).change.Seq)
	s.must("SAVE")
	put(2)
	require.Equal(t, uint64(2), (<-heard).change.Seq)
	s.kill()
	s.start()
	put(3) // as number 2
	put(4)
	require.ErrorIs(t, (<-heard).err, kvferry.ErrExpired)

	for _, after := range []uint64{1, 2, 3} { // whoever comes later, too
		require.ErrorIs(t, (<-watching(t, x, after)).err, kvferry.ErrExpired)
	}
	m, err := x.Metrics(t.Context())
	require.NoError(t, err)
	heard = watching(t, x, m.Seq)
	put(5)
	require.Equal(t, m.Seq+1, (<-heard).change.Seq)
}

// TestForkedBeforeAnybodyWatched: the number may be that of a snapshot, too.
func TestForkedBeforeAnybodyWatched(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	x := s.open(t, s.options(index.Options{}))
	require.NoError(t, x.Put(t.Context(), []index.Record{record(1)}))
	s.must("SAVE")
	require.NoError(t, x.Put(t.Context(), []index.Record{record(2)}))
	seq, err := x.Snapshot(t.Context(), func(*index.Record) error { return nil })
	require.NoError(t, err)
	s.kill()
	s.start()
	require.Eventually(t, func() bool { return x.Put(t.Context(), []index.Record{record(3)}) == nil }, patience, tick)
	require.ErrorIs(t, (<-watching(t, x, seq)).err, kvferry.ErrExpired)
}

// TestWatchAhead: changes that there are not, or not any more.
func TestWatchAhead(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	require.ErrorIs(t, (<-watching(t, s.open(t, s.options(index.Options{})), 100)).err, kvferry.ErrExpired)
}

// TestWatchUnderWrites: changes are kept from the call on, so the first watcher of a
// server misses nothing, however much is written.
func TestWatchUnderWrites(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	x := s.open(t, s.options(index.Options{}))
	changes := x.Watch(t.Context(), 0)
	for i := range 10 {
		require.NoError(t, x.Put(t.Context(), []index.Record{record(i)}))
	}
	seq := uint64(0)
	for c, err := range changes {
		require.NoError(t, err)
		seq++
		require.Equal(t, seq, c.Seq)
		if seq == 10 {
			break
		}
	}
	require.Equal(t, uint64(10), seq)
}

// TestWatchLease: who only watches hears that a worker is gone.
func TestWatchLease(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	o := s.options(index.Options{})
	o.Lease = time.Second
	x := s.open(t, o)
	heard := watching(t, x, 0)
	require.Eventually(t, func() bool { n, err := s.do("EXISTS", "kvferry:{*}x").AsInt64(); return err == nil && n == 1 }, patience, tick)
	require.NoError(t, x.Announce(t.Context(), "w", 1))
	require.NoError(t, x.Put(t.Context(), []index.Record{record(0)}))
	for _, kind := range []index.ChangeKind{index.DidAnnounce, index.DidPut, index.DidClearWorker} {
		got := <-heard
		require.NoError(t, got.err)
		require.Equal(t, kind, got.change.Kind)
	}
}

// TestHistoryBytes: what is kept for watchers is bounded by its bytes, too.
func TestHistoryBytes(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	x := s.open(t, s.options(index.Options{}))
	rs := make([]index.Record, 64)
	for i := range rs {
		rs[i] = record(i)
		rs[i].Hash += strings.Repeat("h", 60_000)
	}
	watching(t, x, 0)
	require.Eventually(t, func() bool { n, err := s.do("EXISTS", "kvferry:{*}x").AsInt64(); return err == nil && n == 1 }, patience, tick)
	for range 40 { // 150 MiB
		require.NoError(t, x.Put(t.Context(), rs))
	}
	used, err := s.do("MEMORY", "USAGE", "kvferry:{*}x", "SAMPLES", "0").AsInt64()
	require.NoError(t, err)
	require.Less(t, used, int64(160<<20))
	kept, err := s.do("XLEN", "kvferry:{*}x").AsInt64()
	require.NoError(t, err)
	require.Greater(t, kept, int64(20))
	require.Less(t, kept, int64(40))
	require.ErrorIs(t, (<-watching(t, x, 1)).err, kvferry.ErrExpired)
	require.NoError(t, (<-watching(t, x, 39)).err)
}

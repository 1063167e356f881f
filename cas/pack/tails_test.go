package pack

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

const (
	tailBlobs = 24
	tailBytes = 16 << 10
)

func tailStore(t testing.TB, fs vfs.FS) *Store {
	t.Helper()
	o := ruinOptions(fs)
	o.MustExist, o.QuotaBytes = false, 2*tailBlobs*tailBytes
	s, err := Open("tails", o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() }) // the test may have closed it
	return s
}

// putMany puts blobs that differ by seed and returns the first error.
func putMany(ctx context.Context, t testing.TB, s *Store, seed uint64) (cas.Session, error) {
	t.Helper()
	x, err := s.Begin(ctx, cas.SessionOptions{})
	require.NoError(t, err)
	for i := range uint64(tailBlobs) {
		plain := noise(seed<<32 | i)
		if _, err := x.Put(ctx, modelSum(plain), plain); err != nil {
			return x, err
		}
	}
	return x, nil
}

func noReferences(context.Context, cas.Entry, func(digest.Digest) error) error { return nil }

func TestAbortedSessionsCount(t *testing.T) {
	t.Parallel()
	for _, elsewhere := range []bool{false, true} {
		ctx := t.Context()
		d := vfs.NewDisk()
		s := tailStore(t, d.Process())
		collector := s
		if elsewhere {
			collector = tailStore(t, d.Process())
		}
		for round := range uint64(3) {
			x, err := putMany(ctx, t, s, 3*round)
			require.NoError(t, err, "what was collected takes nothing")
			require.NoError(t, x.Abort(ctx))
			x, err = putMany(ctx, t, s, 3*round+1) // the quota has room for both, and no more
			require.ErrorIs(t, err, kvferry.ErrQuota)
			require.ErrorContains(t, err, "a collection would free")
			require.NoError(t, x.Abort(ctx))
			require.NoError(t, s.commits.submit(ctx, &request{flush: true}))
			st, err := s.Stats(ctx)
			require.NoError(t, err)
			require.Greater(t, st.DeadBytes, int64(2*tailBlobs*tailBytes*9/10))
			x, err = putMany(ctx, t, s, 3*round+2)
			require.ErrorIs(t, err, kvferry.ErrQuota, "what was never committed counts")
			require.NoError(t, x.Abort(ctx))

			dry, err := collector.Collect(ctx, cas.CollectOptions{References: noReferences, DryRun: true})
			require.NoError(t, err)
			if elsewhere {
				require.NoError(t, s.endTails(ctx)) // nobody takes a pack that is written to
			}
			done, err := collector.Collect(ctx, cas.CollectOptions{References: noReferences})
			require.NoError(t, err)
			if !elsewhere {
				require.Equal(t, done.Stale, dry.Stale)
			}
			st, err = s.Stats(ctx)
			require.NoError(t, err)
			require.Zero(t, st.DeadBytes)
			require.Less(t, st.DiskBytes, int64(128<<10))
		}
		require.NoError(t, s.Close())
	}
}

func TestTailsOfFlushedPacks(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := tailStore(t, vfs.NewDisk().Process())
	// What is aborted lies between what is not: then it is dead like any other.
	kept, err := s.Begin(ctx, cas.SessionOptions{})
	require.NoError(t, err)
	put := func(x cas.Session, seed uint64) {
		plain := noise(seed)
		_, err := x.Put(ctx, modelSum(plain), plain)
		require.NoError(t, err)
	}
	put(kept, 1)
	gone, err := s.Begin(ctx, cas.SessionOptions{})
	require.NoError(t, err)
	put(gone, 2)
	require.NoError(t, gone.Abort(ctx))
	put(kept, 3)
	require.NoError(t, kept.Flush(ctx))
	st, err := s.Stats(ctx)
	require.NoError(t, err)
	require.Empty(t, s.tails.ids())
	require.InDelta(t, tailBytes, st.DeadBytes, 4096)
	require.InDelta(t, 2*tailBytes, st.StoredBytes, 4096)
}

func TestPoisonedStoreTakesNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var mu sync.Mutex
	broken := false
	s := tailStore(t, vfs.WithFaults(vfs.NewDisk().Process(), func(op, path string) error {
		mu.Lock()
		defer mu.Unlock()
		if broken && len(path) > 3 && path[:3] == "log" && (op == "write" || op == "fsync" || op == "truncate") {
			return syscall.EIO
		}
		return nil
	}))
	x, err := putMany(ctx, t, s, 1)
	require.NoError(t, err)
	mu.Lock()
	broken = true
	mu.Unlock()
	require.ErrorIs(t, x.Flush(ctx), kvferry.ErrPoisoned)
	mu.Lock()
	broken = false // what failed once is not tried again
	mu.Unlock()
	plain := noise(99)
	_, err = x.Put(ctx, modelSum(plain), plain)
	require.ErrorIs(t, err, kvferry.ErrPoisoned)
	_, err = s.Begin(ctx, cas.SessionOptions{})
	require.ErrorIs(t, err, kvferry.ErrPoisoned)
	require.Less(t, s.pending[cas.Snapshot].count.Load(), int64(tailBlobs+1), "nothing is remembered")
}

func TestAbortBesideClose(t *testing.T) {
	t.Parallel()
	for range 50 {
		d := vfs.NewDisk()
		s := tailStore(t, d.Process())
		var sessions []cas.Session
		for range 4 {
			x, err := s.Begin(t.Context(), cas.SessionOptions{})
			require.NoError(t, err)
			sessions = append(sessions, x)
		}
		var wg sync.WaitGroup
		for _, x := range sessions {
			wg.Go(func() {
				if err := x.Abort(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		require.NoError(t, s.Close())
		wg.Wait()
		require.Empty(t, files(d, streamsDir+"/*"))
	}
}

// noise is bytes that no codec makes smaller.
func noise(seed uint64) []byte {
	out := make([]byte, tailBytes)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 32), 1}).Read(out) // it cannot fail
	return out
}

// A pack whose synchronisation failed is let go by a collection, though nobody
// puts anything any more.
func TestTailOfAPoisonedPack(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var broken atomic.Bool
	s := tailStore(t, vfs.WithFaults(vfs.NewDisk().Process(), func(op, path string) error {
		if broken.Load() && op == "fsync" && strings.HasPrefix(path, packsDir) {
			return syscall.EIO
		}
		return nil
	}))
	s.o.PackBytes = 4 << 20 // one pack for all
	x, err := putMany(ctx, t, s, 1)
	require.NoError(t, err)
	broken.Store(true)
	require.ErrorIs(t, x.Flush(ctx), kvferry.ErrPoisoned)
	broken.Store(false)
	require.NoError(t, x.Abort(ctx))
	_, err = s.Collect(ctx, cas.CollectOptions{References: noReferences})
	require.NoError(t, err)
	require.Zero(t, s.taken(cas.Snapshot))
	for seed := range uint64(2) {
		_, err = putMany(ctx, t, s, 2+seed)
		require.Equal(t, seed > 0, err != nil, "the quota has room for one")
	}
}

// Close leaves no tails behind, also those of what was never flushed.
func TestClosedStoresLeaveNoTails(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d := vfs.NewDisk()
	for seed := range uint64(4) {
		s := tailStore(t, d.Process())
		x, err := putMany(ctx, t, s, seed)
		require.NoError(t, err)
		if seed%2 == 0 {
			require.NoError(t, x.Abort(ctx))
		}
		require.NoError(t, s.Close())
		require.Empty(t, files(d, packsDir+"/*"))
	}
}

// On a disk with room for one copy a collection makes the next one after it
// removed what the last one came from.
func TestRepackOnAFullDisk(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d := vfs.NewDisk()
	o := ruinOptions(d.Process())
	o.MustExist, o.PackBytes, o.BufferBytes = false, 1<<20, 64<<10
	s, err := Open("full", o)
	require.NoError(t, err)
	x, err := s.Begin(ctx, cas.SessionOptions{})
	require.NoError(t, err)
	var kept []digest.Digest
	fill := func(seed uint64, n, keep int) {
		for i := range uint64(n) {
			plain := noise(seed + i<<32)
			_, err := x.Put(ctx, modelSum(plain), plain)
			require.NoError(t, err)
			if int(i) < keep {
				kept = append(kept, modelSum(plain))
			}
		}
		require.NoError(t, x.Flush(ctx))
		lane, err := s.lane(cas.Snapshot)
		require.NoError(t, err)
		require.NoError(t, lane.Seal(ctx))
	}
	fill(1, 10, 1)
	fill(100, 60, 52)
	require.NoError(t, x.Commit(ctx, cas.Entry{Root: kept[0], Format: cas.FormatNative, Created: ruinTime}))
	require.NoError(t, s.checkpoint(ctx)) // room in the log
	const plenty = 1 << 40
	d.SetCapacity(plenty)
	free, err := s.fs.(interface{ FreeBytes() (int64, error) }).FreeBytes()
	require.NoError(t, err)
	d.SetCapacity(plenty - free + 860<<10)
	r, err := s.Collect(ctx, cas.CollectOptions{References: func(_ context.Context, _ cas.Entry, visit func(digest.Digest) error) error {
		for _, d := range kept {
			if err := visit(d); err != nil {
				return err
			}
		}
		return nil
	}})
	require.NoError(t, err)
	require.Greater(t, r.MovedBytes, int64(53*tailBytes))
	require.NoError(t, s.Close())
}

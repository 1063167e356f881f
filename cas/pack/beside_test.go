package pack

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/internal/vfs"
)

// putSmall puts small blobs of a session, each made durable on its own, and
// tells each that is.
func putSmall(t *testing.T, s *Store, count int, durable func(i int)) {
	x, err := s.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	for i := range count {
		plain := faultBytes("beside", i)
		_, err := x.Put(t.Context(), faultSum(plain), plain)
		require.NoError(t, err)
		require.NoError(t, x.Flush(t.Context()))
		durable(i)
	}
	require.NoError(t, x.Abort(t.Context()))
}

// seen lists which of the first blobs the store has, all of which it can read.
func seen(t *testing.T, s *Store, count int) map[int]bool {
	out := map[int]bool{}
	for i := range count {
		plain := faultBytes("beside", i)
		dst := make([]byte, len(plain))
		_, err := s.Get(t.Context(), faultSum(plain), dst)
		if err == nil {
			require.Equal(t, plain, dst)
			out[i] = true
		} else {
			require.ErrorIs(t, err, kvferry.ErrNotFound)
		}
	}
	return out
}

// TestBesideCrashes stops the machine, or the process and then the machine,
// before each operation of a writer whose blobs become durable beside the log:
// what a store showed once is there for good, and it shows what was
// acknowledged.
func TestBesideCrashes(t *testing.T) {
	t.Parallel()
	const count = 6
	disk := vfs.NewDisk()
	options := func(f vfs.FS) Options { return Options{PackBytes: minPackBytes, BufferBytes: 16 << 10, fs: f} }
	s, err := Open("beside", options(disk.Process()))
	require.NoError(t, err)
	held := func(d *vfs.Disk, least int) map[int]bool {
		p := d.Process()
		s, err := Open("beside", options(p))
		require.NoError(t, err)
		there := seen(t, s, count)
		for i := range least {
			require.True(t, there[i], "blob %d was acknowledged", i)
		}
		p.Kill() // so that it writes nothing more
		_ = s.Close()
		return there
	}
	type stop struct {
		name  string
		disk  *vfs.Disk
		acked int
	}
	var mu sync.Mutex
	var stops []stop
	acked, step := 0, uint64(0)
	disk.Before(func(op, path string) {
		mu.Lock()
		defer mu.Unlock()
		if step++; step%3 != 0 && !faultSoak() {
			return
		}
		name := fmt.Sprintf("operation %d, %s of %s", step, op, path)
		for _, mode := range []vfs.CrashMode{vfs.LoseAll, vfs.KeepAll, vfs.Random, vfs.Garbage} {
			crashed := disk.Crash(vfs.CrashOptions{Seed: step, Mode: mode})
			stops = append(stops, stop{fmt.Sprintf("%s, crash %v", name, mode), crashed, acked})
		}
		// What a killed process had not synchronised is in the system's cache.
		stops = append(stops, stop{name + ", kill", disk.Snapshot(), acked})
	})
	putSmall(t, s, count, func(i int) {
		mu.Lock()
		defer mu.Unlock()
		acked = i + 1
	})
	disk.Before(nil)
	require.NoError(t, s.Close())
	for _, x := range stops {
		first := held(x.disk, x.acked)
		again := held(x.disk.Crash(vfs.CrashOptions{Mode: vfs.LoseAll}), x.acked)
		require.Equal(t, first, again, x.name)
	}
	t.Logf("%d crashes", 2*len(stops))
}

// TestBesideFailedSync fails the synchronisation of a pack while the log's goes
// well: the blob is not there, now or after a crash, and others can be put.
func TestBesideFailedSync(t *testing.T) {
	t.Parallel()
	disk := vfs.NewDisk()
	var mu sync.Mutex
	failing := false
	hook := func(op, path string) error {
		mu.Lock()
		defer mu.Unlock()
		if failing && op == "fsync" && len(path) > len(packsDir) && path[:len(packsDir)] == packsDir {
			failing = false
			return syscall.EIO
		}
		return nil
	}
	s, err := Open("beside", Options{fs: vfs.WithFaults(disk.Process(), hook)})
	require.NoError(t, err)
	putSmall(t, s, 1, func(int) {})
	x, err := s.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	lost := faultBytes("beside", 1)
	_, err = x.Put(t.Context(), faultSum(lost), lost)
	require.NoError(t, err)
	mu.Lock()
	failing = true
	mu.Unlock()
	require.ErrorIs(t, x.Flush(t.Context()), kvferry.ErrPoisoned)
	require.Equal(t, map[int]bool{0: true}, seen(t, s, 3))
	require.NoError(t, x.Abort(t.Context()))
	again, err := Open("beside", Options{fs: disk.Crash(vfs.CrashOptions{Mode: vfs.KeepAll}).Process()})
	require.NoError(t, err)
	require.Equal(t, map[int]bool{0: true}, seen(t, again, 3))
	require.NoError(t, again.Close())
	putSmall(t, s, 3, func(int) {})
	require.Equal(t, map[int]bool{0: true, 1: true, 2: true}, seen(t, s, 3))
	require.NoError(t, s.Close())
}

// TestFlushAfterNudge: what was written to the log before anybody asked for it
// to be durable is durable after a Flush that finds nothing to write.
func TestFlushAfterNudge(t *testing.T) {
	t.Parallel()
	disk := vfs.NewDisk()
	s, err := Open("beside", Options{fs: disk.Process()})
	require.NoError(t, err)
	x, err := s.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	plain := faultBytes("beside", 0)
	_, err = x.Put(t.Context(), faultSum(plain), plain)
	require.NoError(t, err)
	s.commits.nudge(cas.Snapshot)
	// A request that asks for nothing ends in the nudge's step or after it.
	require.NoError(t, s.commits.submit(t.Context(), &request{lazy: true}))
	require.Zero(t, s.pending[cas.Snapshot].count.Load())
	require.NoError(t, x.Flush(t.Context()))
	again, err := Open("beside", Options{fs: disk.Crash(vfs.CrashOptions{Mode: vfs.LoseAll}).Process()})
	require.NoError(t, err)
	require.Equal(t, map[int]bool{0: true}, seen(t, again, 1), "what was flushed")
	require.NoError(t, again.Close())
	require.NoError(t, errors.Join(x.Abort(t.Context()), s.Close()))
}

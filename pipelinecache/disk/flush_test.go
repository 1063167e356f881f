package disk_test

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/disk"
)

// hooked opens a store on a disk in memory, with a hook before each operation.
func hooked(t testing.TB, hook func(op, path string) error) *disk.Store {
	t.Helper()
	p := vfs.NewDisk().Process()
	s, err := disk.OpenFS(vfs.WithFaults(p, hook), disk.Options{})
	require.NoError(t, err)
	return s
}

func requirePending(t testing.TB, s *disk.Store, n int) {
	t.Helper()
	require.Equal(t, disk.DurabilityReport{PendingFlushes: n, Durable: n == 0}, s.DurabilityReport())
}

func TestPersistsAcrossReopen(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	put(t, open(t, root, disk.Options{}), key(1), []byte("compiled-artifact"))
	requireHas(t, open(t, root, disk.Options{}), key(1), []byte("compiled-artifact"))
}

// TestDurabilityReport: 0 and durable, 1 and not, 0 and durable; a second put of
// the same fingerprint is no further file.
func TestDurabilityReport(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), disk.Options{})
	requirePending(t, s, 0)
	put(t, s, key(1), []byte("a"))
	requirePending(t, s, 1)
	put(t, s, key(1), []byte("b"))
	requirePending(t, s, 1)
	put(t, s, key(2), []byte("b"))
	requirePending(t, s, 2)
	require.NoError(t, s.Flush(t.Context()))
	requirePending(t, s, 0)
	requireHas(t, s, key(1), []byte("b"))
	require.Equal(t, pipelinecache.Metrics{Lookups: 1, Hits: 1, Puts: 3, Flushes: 1}, s.Metrics())
}

// TestFlushWithoutFile: what somebody removed, or replaced by something that is
// no file, does not keep a flush from its end.
func TestFlushWithoutFile(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, disk.Options{})
	for i := range 4 {
		put(t, s, key(i), noise(uint64(i), 10))
	}
	require.NoError(t, os.Remove(file(root, key(0))))
	require.NoError(t, os.Remove(file(root, key(1))))
	require.NoError(t, os.Symlink("nowhere", file(root, key(1))))
	require.NoError(t, os.Remove(file(root, key(2))))
	require.NoError(t, os.Mkdir(file(root, key(2)), 0o700))
	require.NoError(t, s.Flush(t.Context()))
	requirePending(t, s, 0)
}

// TestPutDuringFlush: what is put while a flush runs is not part of it, and not
// forgotten.
func TestPutDuringFlush(t *testing.T) {
	t.Parallel()
	var s *disk.Store
	var once sync.Once
	s = hooked(t, func(op, _ string) error {
		if op == "fsync" {
			once.Do(func() {
				requirePending(t, s, 1)
				put(t, s, key(1), []byte("again"))
				requirePending(t, s, 1)
				put(t, s, key(2), []byte("another"))
				requirePending(t, s, 2)
			})
		}
		return nil
	})
	put(t, s, key(1), []byte("first"))
	require.NoError(t, s.Flush(t.Context()))
	requirePending(t, s, 2)
	require.NoError(t, s.Flush(t.Context()))
	requirePending(t, s, 0)
}

// TestFlushErrors: all errors are returned, and what they concern stays pending.
func TestFlushErrors(t *testing.T) {
	t.Parallel()
	var failing atomic.Value
	failing.Store("")
	bad := map[string]error{key(1).String() + ".bin": syscall.EIO, key(3).String() + ".bin": syscall.ENOSPC}
	s := hooked(t, func(op, path string) error {
		switch failing.Load() {
		case op:
			return bad[path]
		case "directory":
			if op == "fsyncdir" {
				return syscall.EROFS
			}
		}
		return nil
	})
	for i := range 5 {
		put(t, s, key(i), noise(uint64(i), 10))
	}
	for _, op := range []string{"open", "fsync", "close"} {
		failing.Store(op)
		err := s.Flush(t.Context())
		require.ErrorIs(t, err, syscall.EIO)
		require.ErrorIs(t, err, kvferry.ErrNoSpace)
		require.ErrorContains(t, err, key(1).String())
		require.ErrorContains(t, err, key(3).String())
		requirePending(t, s, 2)
	}
	put(t, s, key(7), nil)
	failing.Store("directory")
	require.ErrorIs(t, s.Flush(t.Context()), kvferry.ErrReadOnly)
	requirePending(t, s, 3)
	failing.Store("")
	require.NoError(t, s.Flush(t.Context()))
	requirePending(t, s, 0)
	require.Equal(t, pipelinecache.Metrics{Puts: 6, Flushes: 5, FlushErrors: 4}, s.Metrics())
}

// TestFlushAtATime counts how many files are synchronised at a time.
func TestFlushAtATime(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int64
	s := hooked(t, func(op, _ string) error {
		if op == "fsync" {
			for n := now.Add(1); ; {
				if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
					break
				}
			}
			runtime.Gosched()
			now.Add(-1)
		}
		return nil
	})
	for i := range 200 {
		put(t, s, key(i), nil)
	}
	require.NoError(t, s.Flush(t.Context()))
	require.Positive(t, most.Load())
	require.LessOrEqual(t, most.Load(), int64(min(runtime.GOMAXPROCS(0), 16)))
}

// TestFlushesTogether: a flush that comes while another one runs returns when
// everything put before is durable, not before.
func TestFlushesTogether(t *testing.T) {
	t.Parallel()
	reached, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s := hooked(t, func(op, _ string) error {
		if op == "fsync" {
			once.Do(func() { close(reached); <-release })
		}
		return nil
	})
	put(t, s, key(1), nil)
	var flushes sync.WaitGroup
	flushes.Go(func() { require.NoError(t, s.Flush(t.Context())) })
	<-reached
	flushes.Go(func() {
		require.NoError(t, s.Flush(t.Context()))
		requirePending(t, s, 0)
	})
	requirePending(t, s, 1)
	close(release)
	flushes.Wait()
}

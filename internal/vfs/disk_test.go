package vfs_test

import (
	"io/fs"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/fault"
	"github.com/kvferry/kvferry/internal/vfs"
)

func TestKill(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	p, other := d.Process(), d.Process()
	file := put(t, p, "file", "content!")
	w, err := file.Watch(0)
	require.NoError(t, err)
	require.NoError(t, file.Lock(t.Context()))
	theirs, err := other.Open("file", vfs.ReadWrite)
	require.NoError(t, err)
	got := make(chan error)
	go func() { got <- theirs.Lock(t.Context()) }()

	p.Kill()
	require.NoError(t, <-got, "the lock is free")
	require.Equal(t, "content!", get(t, other, "file"), "what was written is there")
	refused(t, file.Sync(), syscall.EBADF)
	refused(t, p.Mkdir("a"), syscall.EBADF)
	refused(t, p.Close(), syscall.EBADF)
	require.Equal(t, vfs.Unreadable, w.Load())
	require.Empty(t, d.Crash(vfs.CrashOptions{}).Files(), "killing makes nothing durable")
	p.Kill()
}

func TestKillWaiter(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	p, other := d.Process(), d.Process()
	file := put(t, p, "file", "")
	require.NoError(t, file.Lock(t.Context()))
	theirs, err := other.Open("file", vfs.ReadWrite)
	require.NoError(t, err)
	got := make(chan error)
	go func() { got <- theirs.Lock(t.Context()) }()
	other.Kill()
	refused(t, <-got, syscall.EBADF)
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	d.SetCapacity(10 * vfs.BlockBytes)
	p := d.Process()
	free := func() int64 {
		n, err := p.FreeBytes()
		require.NoError(t, err)
		return n / vfs.BlockBytes
	}
	a := put(t, p, "a", "x")
	require.EqualValues(t, 9, free())
	require.NoError(t, a.Allocate(4*vfs.BlockBytes))
	require.EqualValues(t, 6, free())
	n, err := a.WriteAt(make([]byte, 4*vfs.BlockBytes), 0)
	require.NoError(t, err, "there is room where it was reserved")
	require.Equal(t, 4*vfs.BlockBytes, n)
	require.EqualValues(t, 6, free())
	refused(t, a.Allocate(11*vfs.BlockBytes), syscall.ENOSPC)
	require.EqualValues(t, 6, free())

	b := put(t, p, "b", "")
	n, err = b.WriteAt(make([]byte, 8*vfs.BlockBytes), 100)
	refused(t, err, syscall.ENOSPC)
	require.Equal(t, 6*vfs.BlockBytes-100, n, "what fits was written")
	require.EqualValues(t, 0, free())
	require.NoError(t, a.Truncate(100))
	require.EqualValues(t, 3, free())
	require.NoError(t, p.Remove("b"))
	require.EqualValues(t, 3, free(), "it is still open")
	require.NoError(t, b.Close())
	require.EqualValues(t, 9, free())
	put(t, p, "c", "x")
	require.EqualValues(t, 8, free())
	require.NoError(t, p.Rename("c", "a"))
	require.EqualValues(t, 8, free(), "what was replaced is still open")
	require.NoError(t, a.Close())
	require.EqualValues(t, 9, free())
	s, err := d.Snapshot().Process().FreeBytes()
	require.NoError(t, err)
	require.EqualValues(t, 9, s/vfs.BlockBytes)
}

// TestBefore: a test may look at the disk, crash it and kill before any
// operation.
func TestBefore(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	p := d.Process()
	var ops []string
	d.Before(func(op, path string) {
		ops = append(ops, op+" "+path)
		d.Crash(vfs.CrashOptions{Mode: vfs.KeepAll})
		if op == "fsync" {
			p.Kill()
		}
	})
	require.NoError(t, p.Mkdir("a"))
	file, err := p.Open("a/b", vfs.Create)
	require.NoError(t, err)
	_, err = file.WriteAt(make([]byte, 8), 0)
	require.NoError(t, err)
	_, err = file.Watch(0)
	require.NoError(t, err)
	require.NoError(t, p.SyncDir("a"))
	refused(t, file.Sync(), syscall.EBADF)
	require.Equal(t, []string{"mkdir a", "create a/b", "write a/b", "watch a/b", "fsyncdir a", "fsync a/b"}, ops)
	d.Before(nil)
	require.Equal(t, map[string]int64{"a/b": 8}, d.Files())
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	p := d.Process()
	file := put(t, p, "file", "before")
	require.NoError(t, file.Sync())
	require.NoError(t, p.SyncDir("."))
	_, err := file.WriteAt([]byte("after!"), 0)
	require.NoError(t, err)
	s := d.Snapshot()
	_, err = file.WriteAt([]byte("later!"), 0)
	require.NoError(t, err)
	require.NoError(t, file.Sync())
	require.NoError(t, p.Rename("file", "moved"))
	require.NoError(t, p.SyncDir("."))

	require.Equal(t, "after!", get(t, s.Process(), "file"))
	require.Equal(t, "before", get(t, s.Crash(vfs.CrashOptions{}).Process(), "file"))
	require.Equal(t, "later!", get(t, d.Crash(vfs.CrashOptions{}).Process(), "moved"))
	again := s.Process()
	put(t, again, "file", "other.")
	require.Equal(t, "later!", get(t, p, "moved"))
}

func TestFaults(t *testing.T) {
	t.Parallel()
	var in fault.Injector
	d := vfs.NewDisk()
	f := vfs.WithFaults(d.Process(), in.Hook)
	file, err := f.Open("file", vfs.Create)
	require.NoError(t, err)
	direct, err := f.Open("direct", vfs.Create|vfs.Direct)
	require.NoError(t, err)
	all := map[string]func() error{
		"open a":        func() error { _, err := f.Open("a", vfs.ReadOnly); return err },
		"create a":      func() error { _, err := f.Open("a", vfs.Create); return err },
		"mkdir a":       func() error { return f.Mkdir("a") },
		"unlink file":   func() error { return f.Remove("file") },
		"rename b":      func() error { return f.Rename("file", "b") },
		"readdir .":     func() error { _, err := f.List("."); return err },
		"stat file":     func() error { _, err := f.Stat("file"); return err },
		"fsyncdir .":    func() error { return f.SyncDir(".") },
		"statfs .":      func() error { _, err := f.FreeBytes(); return err },
		"read file":     func() error { _, err := file.ReadAt(make([]byte, 1), 0); return err },
		"write file":    func() error { _, err := file.WriteAt(make([]byte, 101), 0); return err },
		"write direct":  func() error { _, err := direct.WriteAt(vfs.Buffer(3*vfs.BlockBytes), 0); return err },
		"fsync file":    func() error { return file.Sync() },
		"truncate file": func() error { return file.Truncate(5) },
		"allocate file": func() error { return file.Allocate(500) },
		"flock file":    func() error { return file.Lock(t.Context()) },
		"watch file":    func() error { _, err := file.Watch(0); return err },
		"close direct":  direct.Close,
	}
	for name, do := range all {
		if name == "close direct" {
			continue
		}
		in.Reset()
		in.Fail(0, syscall.EIO)
		refused(t, do(), syscall.EIO)
		require.Equal(t, []string{name}, in.Fired())
	}
	in.Reset()
	in.Fail(0, syscall.EIO)
	in.Fail(1, syscall.EIO)
	_, err = file.TryLock()
	refused(t, err, syscall.EIO)
	_, err = file.Stat()
	refused(t, err, syscall.EIO)
	require.Equal(t, map[string]int64{"file": 50, "direct": vfs.BlockBytes}, d.Files(), "half of the writes")
	in.Fail(2, syscall.EIO)
	refused(t, all["close direct"](), syscall.EIO)
	refused(t, direct.Sync(), syscall.EBADF)
	require.NoError(t, file.Close())
	require.NoError(t, f.Close())
}

// TestFailedSync: what a failed fsync should have made durable never is, though
// it is there for all to see and the next fsync finds nothing wrong.
func TestFailedSync(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	var fails atomic.Bool
	hook := func(op, _ string) error {
		if fails.Load() && (op == "fsync" || op == "fsyncdir") {
			return syscall.EIO
		}
		return nil
	}
	f := vfs.WithFaults(vfs.WithFaults(d.Process(), hook), func(string, string) error { return nil })
	file := put(t, f, "file", "aaaaaaaa")
	require.NoError(t, file.Sync())
	require.NoError(t, f.SyncDir("."))
	_, err := file.WriteAt([]byte("bb"), 2)
	require.NoError(t, err)
	put(t, f, "lost", "")
	require.NoError(t, f.Rename("file", "moved"))
	fails.Store(true)
	refused(t, file.Sync(), syscall.EIO)
	refused(t, f.SyncDir("."), syscall.EIO)
	fails.Store(false)
	require.NoError(t, file.Sync())
	require.NoError(t, f.SyncDir("."))
	_, err = file.WriteAt([]byte("cc"), 4)
	require.NoError(t, err)
	require.NoError(t, file.Sync())
	put(t, f, "later", "")
	require.NoError(t, f.SyncDir("."))
	require.Equal(t, "aabbccaa", get(t, f, "moved"))

	for _, mode := range []vfs.CrashMode{vfs.LoseAll, vfs.KeepAll, vfs.Random, vfs.Garbage} {
		c := d.Crash(vfs.CrashOptions{Mode: mode}).Process()
		require.Equal(t, "aaaaccaa", get(t, c, "file"))
		_, err = c.Stat("moved")
		refused(t, err, fs.ErrNotExist)
		_, err = c.Stat("lost")
		refused(t, err, fs.ErrNotExist)
		_, err = c.Stat("later")
		require.NoError(t, err)
	}
	require.NoError(t, f.Rename("moved", "final"))
	require.NoError(t, f.SyncDir("."))
	require.Equal(t, map[string]int64{"final": 8, "later": 0}, d.Crash(vfs.CrashOptions{}).Files(),
		"a file has one name, whatever was lost of how it got there")
}

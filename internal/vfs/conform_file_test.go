package vfs_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/vfs"
)

func conformData(t *testing.T, open func() vfs.FS) {
	f, other := open(), open()
	file := put(t, f, "file", "")
	n, err := file.ReadAt(make([]byte, 1), 0)
	require.Zero(t, n)
	require.Equal(t, io.EOF, err, "it is the error itself, as io.ReaderAt wants it")

	long := strings.Repeat("0123456789abcdef", 10_000)
	n, err = file.WriteAt([]byte(long), 100_000)
	require.NoError(t, err)
	require.Len(t, long, n)
	want := strings.Repeat("\x00", 100_000) + long
	require.Equal(t, want, get(t, other, "file"), "another process sees it at once")

	n, err = file.WriteAt([]byte("over"), 99_998)
	require.NoError(t, err)
	require.Equal(t, 4, n)
	want = want[:99_998] + "over" + want[100_002:]
	require.Equal(t, want, get(t, other, "file"))

	b := make([]byte, 70_000)
	n, err = file.ReadAt(b, 60_000)
	require.NoError(t, err)
	require.Equal(t, want[60_000:130_000], string(b[:n]))
	n, err = file.ReadAt(b, int64(len(want))-3)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, want[len(want)-3:], string(b[:n]))
	n, err = file.ReadAt(b, 1<<30)
	require.ErrorIs(t, err, io.EOF)
	require.Zero(t, n)
	n, err = file.ReadAt(nil, 0)
	require.NoError(t, err)
	require.Zero(t, n)
	n, err = file.WriteAt(nil, 1<<20)
	require.NoError(t, err)
	require.Zero(t, n)
	require.Equal(t, want, get(t, other, "file"))

	_, err = file.ReadAt(b, -1)
	refused(t, err, syscall.EINVAL)
	_, err = file.WriteAt(b, -1)
	refused(t, err, syscall.EINVAL)
	require.NoError(t, file.Sync())
	free, err := f.FreeBytes()
	require.NoError(t, err)
	require.Positive(t, free)
}

func conformLength(t *testing.T, open func() vfs.FS) {
	f := open()
	file := put(t, f, "file", strings.Repeat("x", 100_000))
	require.NoError(t, file.Truncate(70_001))
	require.Equal(t, strings.Repeat("x", 70_001), get(t, f, "file"))
	require.NoError(t, file.Truncate(100_000))
	require.Equal(t, strings.Repeat("x", 70_001)+strings.Repeat("\x00", 29_999), get(t, f, "file"))
	require.NoError(t, file.Truncate(0))
	_, err := file.WriteAt([]byte("y"), 10)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("\x00", 10)+"y", get(t, f, "file"))
	refused(t, file.Truncate(-1), syscall.EINVAL)
}

func conformAllocate(t *testing.T, open func() vfs.FS) {
	f := open()
	file := put(t, f, "file", "content")
	err := file.Allocate(1 << 20)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this file system reserves no room")
	}
	require.NoError(t, err)
	info, err := file.Stat()
	require.NoError(t, err)
	require.EqualValues(t, 1<<20, info.Size)
	require.GreaterOrEqual(t, info.AllocatedBytes, int64(1<<20))
	require.Equal(t, "content"+strings.Repeat("\x00", 1<<20-7), get(t, f, "file"))
	require.NoError(t, file.Allocate(100), "it never makes a file shorter")
	require.NoError(t, file.Truncate(7))
	require.Equal(t, "content", get(t, f, "file"))
	info, err = f.Stat("file")
	require.NoError(t, err)
	require.Less(t, info.AllocatedBytes, int64(1<<20))
	refused(t, file.Allocate(0), syscall.EINVAL)
}

func conformDirect(t *testing.T, open func() vfs.FS) {
	f := open()
	file, err := f.Open("file", vfs.Create|vfs.Direct)
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	b := vfs.Buffer(4 * vfs.BlockBytes)
	defer vfs.FreeBuffer(b)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	want := bytes.Clone(b)
	n, err := file.WriteAt(b, vfs.BlockBytes)
	require.NoError(t, err)
	require.Len(t, b, n)
	require.Equal(t, strings.Repeat("\x00", vfs.BlockBytes)+string(want), get(t, f, "file"), "buffered readers see it")

	// The end in the middle of a block, which only a buffered file writes.
	require.NoError(t, file.Truncate(3*vfs.BlockBytes+77))
	clear(b)
	n, err = file.ReadAt(b, vfs.BlockBytes)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, want[:2*vfs.BlockBytes+77], b[:n])
	n, err = file.ReadAt(b, 4*vfs.BlockBytes)
	require.ErrorIs(t, err, io.EOF)
	require.Zero(t, n)
	buffered := put(t, f, "other", "")
	require.False(t, buffered.Direct())
	if !file.Direct() {
		t.Skip("this file system has no direct files")
	}
	for _, p := range [][]byte{b[1 : vfs.BlockBytes+1], b[:100], b[512 : 512+vfs.BlockBytes]} {
		_, err := file.ReadAt(p, 0)
		refused(t, err, syscall.EINVAL)
		_, err = file.WriteAt(p, 0)
		refused(t, err, syscall.EINVAL)
	}
	_, err = file.WriteAt(b, 512)
	refused(t, err, syscall.EINVAL)
}

func conformUnlinked(t *testing.T, open func() vfs.FS) {
	f := open()
	file := put(t, f, "file", "content")
	require.NoError(t, f.Remove("file"))
	b := make([]byte, 7)
	_, err := file.ReadAt(b, 0)
	require.NoError(t, err)
	require.Equal(t, "content", string(b), "open files outlive their names")
	anew := put(t, f, "file", "another")
	was, err := file.Stat()
	require.NoError(t, err)
	is, err := anew.Stat()
	require.NoError(t, err)
	require.NotEqual(t, was.ID, is.ID)
}

func conformLocks(t *testing.T, open func() vfs.FS) {
	f, other := open(), open()
	a := put(t, f, "file", "")
	b, err := f.Open("file", vfs.ReadOnly)
	require.NoError(t, err)
	c, err := other.Open("file", vfs.ReadWrite)
	require.NoError(t, err)
	try := func(file vfs.File, want bool) {
		t.Helper()
		got, err := file.TryLock()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	try(a, true)
	try(a, true)
	try(b, false)
	try(c, false)
	require.NoError(t, b.Unlock(), "it has no lock to lose")
	try(c, false)
	require.NoError(t, a.Unlock())
	try(c, true)
	try(a, false)
	require.NoError(t, c.Close())
	require.NoError(t, b.Lock(t.Context()))
	try(a, false)
	require.NoError(t, b.Close())
	try(a, true)
}

func conformWaiting(t *testing.T, open func() vfs.FS) {
	f := open()
	a := put(t, f, "file", "")
	require.NoError(t, a.Lock(t.Context()))
	b, err := f.Open("file", vfs.ReadWrite)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	refused(t, b.Lock(ctx), context.Canceled)

	got := make(chan error)
	go func() { got <- b.Lock(t.Context()) }()
	require.NoError(t, a.Unlock())
	require.NoError(t, <-got)
	go func() { got <- a.Lock(t.Context()) }()
	require.NoError(t, a.Close())
	refused(t, <-got, syscall.EBADF)
	require.NoError(t, b.Close())
}

func conformWord(t *testing.T, open func() vfs.FS) {
	f, other := open(), open()
	a := put(t, f, "file", strings.Repeat("\x00", 3*vfs.BlockBytes))
	b, err := other.Open("file", vfs.ReadOnly)
	require.NoError(t, err)
	var p [8]byte
	for _, off := range []int64{0, 8, vfs.BlockBytes, 3*vfs.BlockBytes - 8} {
		w, err := b.Watch(off)
		require.NoError(t, err)
		require.Zero(t, w.Load())
		binary.LittleEndian.PutUint64(p[:], 0x0102030405060708+uint64(off))
		_, err = a.WriteAt(p[:], off)
		require.NoError(t, err)
		require.Equal(t, 0x0102030405060708+uint64(off), w.Load())
	}
	for _, off := range []int64{-8, 4, 3 * vfs.BlockBytes, 1 << 40} {
		_, err := b.Watch(off)
		refused(t, err, syscall.EINVAL)
	}
	w, err := b.Watch(2 * vfs.BlockBytes)
	require.NoError(t, err)
	require.NoError(t, a.Truncate(vfs.BlockBytes))
	require.Equal(t, vfs.Unreadable, w.Load(), "its page is gone, which must not kill the process")
	require.NoError(t, a.Truncate(3*vfs.BlockBytes))
	require.Zero(t, w.Load())
	require.NoError(t, b.Close())
	require.Equal(t, vfs.Unreadable, w.Load())
}

func conformClosed(t *testing.T, open func() vfs.FS) {
	f := open()
	file := put(t, f, "file", "content")
	require.NoError(t, f.Close())
	refused(t, f.Close(), syscall.EBADF)
	refused(t, f.Mkdir("a"), syscall.EBADF)
	_, err := f.List(".")
	refused(t, err, syscall.EBADF)
	_, err = f.Open("file", vfs.ReadOnly)
	refused(t, err, syscall.EBADF)
	_, err = f.FreeBytes()
	refused(t, err, syscall.EBADF)

	require.NoError(t, file.Sync(), "open files go on")
	require.NoError(t, file.Close())
	refused(t, file.Close(), syscall.EBADF)
	_, err = file.ReadAt(make([]byte, 1), 0)
	refused(t, err, syscall.EBADF)
	_, err = file.WriteAt(make([]byte, 1), 0)
	refused(t, err, syscall.EBADF)
	refused(t, file.Sync(), syscall.EBADF)
	refused(t, file.Truncate(0), syscall.EBADF)
	refused(t, file.Unlock(), syscall.EBADF)
	refused(t, file.Lock(t.Context()), syscall.EBADF)
	_, err = file.TryLock()
	refused(t, err, syscall.EBADF)
	_, err = file.Stat()
	refused(t, err, syscall.EBADF)
	_, err = file.Watch(0)
	refused(t, err, syscall.EBADF)
}

// conformConcurrent: operations at the same time, and a Close among them.
func conformConcurrent(t *testing.T, open func() vfs.FS) {
	f := open()
	file := put(t, f, "file", strings.Repeat("\x00", 1<<16))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			b := bytes.Repeat([]byte{byte(i + 1)}, 1<<13)
			for range 50 {
				_, err := file.WriteAt(b, int64(i)<<13)
				got := make([]byte, 1<<13)
				_, again := file.ReadAt(got, int64(i)<<13)
				if err := errors.Join(err, again); err != nil {
					if !errors.Is(err, syscall.EBADF) {
						t.Error(err)
					}
					return
				}
				if !bytes.Equal(b, got) {
					t.Error("read something else than was written")
				}
				if err := file.Sync(); err != nil && !errors.Is(err, syscall.EBADF) {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			name := string(rune('a' + i))
			for range 20 {
				g, err := f.Open(name, vfs.Create)
				if err == nil {
					err = errors.Join(g.Close(), f.Rename(name, name+"x"), f.Remove(name+"x"))
				}
				if err != nil {
					t.Error(err)
				}
				if _, err := f.List("."); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			if _, err := file.Stat(); err != nil && !errors.Is(err, syscall.EBADF) {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	require.NoError(t, file.Close())
}

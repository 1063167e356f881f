package vfs_test

import (
	"errors"
	"io"
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/internal/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// conforming are what all implementations do alike. open returns the same
// directory, empty at first, as another process sees it.
var conforming = map[string]func(t *testing.T, open func() vfs.FS){
	"names":       conformNames,
	"directories": conformDirectories,
	"rename":      conformRename,
	"modes":       conformModes,
	"data":        conformData,
	"length":      conformLength,
	"allocate":    conformAllocate,
	"direct":      conformDirect,
	"unlinked":    conformUnlinked,
	"locks":       conformLocks,
	"waiting":     conformWaiting,
	"word":        conformWord,
	"closed":      conformClosed,
	"concurrent":  conformConcurrent,
}

func conform(t *testing.T, open func(t *testing.T) func() vfs.FS) {
	for name, check := range conforming {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			again := open(t)
			check(t, func() vfs.FS {
				f := again()
				t.Cleanup(func() { _ = f.Close() }) // the test may have closed it
				return f
			})
		})
	}
}

func TestDiskConforms(t *testing.T) {
	t.Parallel()
	conform(t, func(*testing.T) func() vfs.FS {
		d := vfs.NewDisk()
		return func() vfs.FS { return d.Process() }
	})
}

func TestFaultsConform(t *testing.T) {
	t.Parallel()
	none := func(string, string) error { return nil }
	conform(t, func(*testing.T) func() vfs.FS {
		d := vfs.NewDisk()
		return func() vfs.FS { return vfs.WithFaults(d.Process(), none) }
	})
}

// refused wants an *fs.PathError around err.
func refused(t *testing.T, err error, want error) {
	t.Helper()
	require.ErrorIs(t, err, want)
	var path *fs.PathError
	require.ErrorAs(t, err, &path)
}

// put makes a file of the given content.
func put(t *testing.T, f vfs.FS, name, content string) vfs.File {
	t.Helper()
	file, err := f.Open(name, vfs.Create)
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() }) // the test may have closed it
	require.NoError(t, file.Truncate(0))
	_, err = file.WriteAt([]byte(content), 0)
	require.NoError(t, err)
	return file
}

// get returns the content of a file.
func get(t *testing.T, f vfs.FS, name string) string {
	t.Helper()
	file, err := f.Open(name, vfs.ReadOnly)
	require.NoError(t, err)
	info, err := file.Stat()
	require.NoError(t, err)
	b := make([]byte, info.Size+1)
	n, err := file.ReadAt(b, 0)
	require.ErrorIs(t, err, io.EOF)
	require.EqualValues(t, info.Size, n)
	require.NoError(t, file.Close())
	return string(b[:n])
}

func conformNames(t *testing.T, open func() vfs.FS) {
	f := open()
	for _, name := range []string{"", "/", "/a", "a/", "../a", "a/../b", "./a", "a//b"} {
		_, err := f.Open(name, vfs.Create)
		refused(t, err, syscall.EINVAL)
		_, err = f.List(name)
		refused(t, err, syscall.EINVAL)
		_, err = f.Stat(name)
		refused(t, err, syscall.EINVAL)
		refused(t, f.Mkdir(name), syscall.EINVAL)
		refused(t, f.Remove(name), syscall.EINVAL)
		refused(t, f.SyncDir(name), syscall.EINVAL)
		refused(t, f.Rename(name, "b"), syscall.EINVAL)
		refused(t, f.Rename("b", name), syscall.EINVAL)
	}
	_, err := f.Open(".", vfs.ReadOnly)
	refused(t, err, syscall.EISDIR)
	refused(t, f.Mkdir("."), syscall.EBUSY)
	refused(t, f.Remove("."), syscall.EBUSY)
	refused(t, f.Rename(".", "a"), syscall.EBUSY)
	require.NoError(t, f.Mkdir("a"))
	refused(t, f.Rename("a", "."), syscall.EBUSY)
	info, err := f.Stat(".")
	require.NoError(t, err)
	require.True(t, info.Dir)
	require.Equal(t, ".", info.Name)
}

func conformDirectories(t *testing.T, open func() vfs.FS) {
	f, other := open(), open()
	refused(t, f.Mkdir("a/b"), fs.ErrNotExist)
	require.NoError(t, f.Mkdir("a"))
	refused(t, f.Mkdir("a"), fs.ErrExist)
	require.NoError(t, f.Mkdir("a/b"))
	put(t, f, "a/file", "content")
	refused(t, f.Mkdir("a/file/b"), syscall.ENOTDIR)
	_, err := f.Stat("a/file/b")
	refused(t, err, syscall.ENOTDIR)
	_, err = f.Open("a/b", vfs.ReadWrite)
	refused(t, err, syscall.EISDIR)
	_, err = f.List("a/file")
	refused(t, err, syscall.ENOTDIR)
	_, err = f.List("none")
	refused(t, err, fs.ErrNotExist)

	infos, err := other.List("a")
	require.NoError(t, err)
	require.Len(t, infos, 2)
	for _, i := range infos {
		require.Equal(t, i.Name == "b", i.Dir)
		require.Equal(t, i.Name == "file", i.Regular)
		if i.Regular {
			require.EqualValues(t, 7, i.Size)
			require.NotZero(t, i.Modified)
			of, err := other.Stat("a/file")
			require.NoError(t, err)
			require.Equal(t, i.ID, of.ID)
		}
	}
	require.NoError(t, f.SyncDir("a"))
	require.NoError(t, f.SyncDir("."))
	refused(t, f.SyncDir("none"), fs.ErrNotExist)
	refused(t, f.SyncDir("a/file"), syscall.ENOTDIR)

	require.Error(t, f.Remove("a"), "it is not empty")
	refused(t, f.Remove("none"), fs.ErrNotExist)
	require.NoError(t, other.Remove("a/file"))
	require.NoError(t, f.Remove("a/b"))
	require.NoError(t, f.Remove("a"))
	_, err = f.Stat("a")
	refused(t, err, fs.ErrNotExist)
}

func conformRename(t *testing.T, open func() vfs.FS) {
	f := open()
	require.NoError(t, f.Mkdir("a"))
	require.NoError(t, f.Mkdir("b"))
	require.NoError(t, f.Mkdir("b/full"))
	put(t, f, "a/x", "x")
	put(t, f, "b/y", "y")
	was, err := f.Stat("a/x")
	require.NoError(t, err)

	refused(t, f.Rename("a/none", "a/z"), fs.ErrNotExist)
	refused(t, f.Rename("a/x", "none/z"), fs.ErrNotExist)
	require.NoError(t, f.Rename("a/x", "a/x"))
	require.NoError(t, f.Rename("a/x", "b/y"), "another directory, and a name that is taken")
	require.Equal(t, "x", get(t, f, "b/y"))
	is, err := f.Stat("b/y")
	require.NoError(t, err)
	require.Equal(t, was.ID, is.ID)
	_, err = f.Stat("a/x")
	refused(t, err, fs.ErrNotExist)

	refused(t, f.Rename("b/y", "a"), syscall.EISDIR)
	refused(t, f.Rename("a", "b/y"), syscall.ENOTDIR)
	require.Error(t, f.Rename("a", "b"), "it is not empty")
	refused(t, f.Rename("b", "b/full/b"), syscall.EINVAL)
	require.NoError(t, f.Rename("a", "b/full"), "it is empty")
	require.NoError(t, f.Rename("b", "c"))
	require.Equal(t, "x", get(t, f, "c/y"))
}

func conformModes(t *testing.T, open func() vfs.FS) {
	f := open()
	for _, how := range []vfs.Mode{vfs.ReadOnly, vfs.ReadWrite, vfs.Exclusive, vfs.Direct} {
		_, err := f.Open("file", how)
		refused(t, err, fs.ErrNotExist)
	}
	_, err := f.Open("none/file", vfs.Create)
	refused(t, err, fs.ErrNotExist)
	a, err := f.Open("file", vfs.Create|vfs.Exclusive)
	require.NoError(t, err)
	_, err = a.WriteAt([]byte("content"), 0)
	require.NoError(t, err)
	require.NoError(t, a.Close())
	_, err = f.Open("file", vfs.Create|vfs.Exclusive)
	refused(t, err, fs.ErrExist)
	b, err := f.Open("file", vfs.Create)
	require.NoError(t, err)
	require.NoError(t, b.Close())
	require.Equal(t, "content", get(t, f, "file"), "opening changes nothing")

	r, err := f.Open("file", vfs.ReadOnly)
	require.NoError(t, err)
	_, err = r.WriteAt([]byte("x"), 0)
	refused(t, err, syscall.EBADF)
	refused(t, r.Truncate(0), syscall.EINVAL)
	require.NoError(t, r.Sync())
	info, err := r.Stat()
	require.NoError(t, err)
	require.Equal(t, "file", info.Name)
	require.True(t, info.Regular)
	if err := r.Allocate(1); !errors.Is(err, errors.ErrUnsupported) {
		refused(t, err, syscall.EBADF)
	}
	require.NoError(t, r.Close())
}

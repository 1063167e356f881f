//go:build linux || darwin || freebsd

package vfs_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/fault"
	"github.com/kvferry/kvferry/internal/vfs"
)

func openOS(t testing.TB, root string) vfs.FS {
	t.Helper()
	f, err := vfs.OS(root)
	require.NoError(t, err)
	return f
}

func TestOSConforms(t *testing.T) {
	t.Parallel()
	conform(t, func(t *testing.T) func() vfs.FS {
		root := t.TempDir()
		return func() vfs.FS { return openOS(t, root) }
	})
}

// TestMemoryConforms: the same in the memory file system that Linux has.
func TestMemoryConforms(t *testing.T) {
	t.Parallel()
	if info, err := os.Stat("/dev/shm"); err != nil || !info.IsDir() {
		t.Skip("no /dev/shm")
	}
	conform(t, func(t *testing.T) func() vfs.FS {
		root, err := os.MkdirTemp("/dev/shm", "kvferry-vfs-") //nolint:usetesting // it is the file system that matters
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(root)) })
		return func() vfs.FS { return openOS(t, root) }
	})
}

func TestOSRoot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := vfs.OS(filepath.Join(dir, "none"))
	refused(t, err, fs.ErrNotExist)
	deep := filepath.Join(dir, "a", "b", "c")
	require.NoError(t, vfs.OSMake(deep))
	require.NoError(t, vfs.OSMake(deep), "it is there")
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(deep, link))
	f := openOS(t, link)
	put(t, f, "file", "content")
	require.NoError(t, f.Close())
	require.FileExists(t, filepath.Join(deep, "file"))
	require.ErrorIs(t, vfs.OSMake(filepath.Join(deep, "file", "x")), syscall.ENOTDIR)
	_, err = vfs.OS(filepath.Join(deep, "file"))
	refused(t, err, syscall.ENOTDIR)
}

// TestForeign: links are not followed, and nothing waits for a fifo.
func TestForeign(t *testing.T) {
	t.Parallel()
	root, outside := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "file"), []byte("secret"), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(root, "dir")))
	require.NoError(t, os.Symlink(filepath.Join(outside, "file"), filepath.Join(root, "link")))
	require.NoError(t, os.Symlink("none", filepath.Join(root, "dangling")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(root, "fifo"), 0o600))
	f := openOS(t, root)
	defer func() { require.NoError(t, f.Close()) }()
	for _, how := range []vfs.Mode{vfs.ReadOnly, vfs.ReadWrite, vfs.Create} {
		for _, name := range []string{"dir/file", "link", "fifo", "dangling"} {
			_, err := f.Open(name, how)
			require.Error(t, err, name)
		}
	}
	require.NoFileExists(t, filepath.Join(root, "none"))
	for _, err := range []error{f.Mkdir("dir/x"), f.Remove("dir/file"), f.SyncDir("dir"), f.Rename("link", "dir/x")} {
		require.Error(t, err)
	}
	infos, err := f.List(".")
	require.NoError(t, err)
	require.Len(t, infos, 4)
	for _, i := range infos {
		require.False(t, i.Dir || i.Regular, i.Name)
	}
	require.NoError(t, f.Remove("dir"), "the link itself")
	require.FileExists(t, filepath.Join(outside, "file"))
}

// TestAllocations: what runs for each record or look costs no garbage.
func TestAllocations(t *testing.T) {
	file := put(t, openOS(t, t.TempDir()), "file", "content!")
	w, err := file.Watch(0)
	require.NoError(t, err)
	b := make([]byte, 8)
	require.Zero(t, testing.AllocsPerRun(100, func() { w.Load() }))
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = file.ReadAt(b, 0) }))
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = file.WriteAt(b, 0) }))
}

// TestFaultsOfTheSystem: the hook works on the real file system alike.
func TestFaultsOfTheSystem(t *testing.T) {
	t.Parallel()
	var in fault.Injector
	f := vfs.WithFaults(openOS(t, t.TempDir()), in.Hook)
	file := put(t, f, "file", "")
	in.Reset()
	in.Fail(0, syscall.ENOSPC)
	n, err := file.WriteAt([]byte("content"), 0)
	require.True(t, errors.Is(err, syscall.ENOSPC) && n == 3)
	require.Equal(t, "con", get(t, f, "file"))
	require.NoError(t, f.Close())
}

func BenchmarkWordLoad(b *testing.B) {
	f := openOS(b, b.TempDir())
	file, err := f.Open("file", vfs.Create)
	require.NoError(b, err)
	_, err = file.WriteAt(binary.LittleEndian.AppendUint64(nil, 42), 0)
	require.NoError(b, err)
	w, err := file.Watch(0)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if w.Load() != 42 {
			b.Fatal("another word")
		}
	}
	require.NoError(b, file.Close())
	require.NoError(b, f.Close())
}

func BenchmarkWrite(b *testing.B) {
	for name, how := range map[string]vfs.Mode{"buffered": vfs.Create, "direct": vfs.Create | vfs.Direct} {
		b.Run("path="+name+"/size=4KiB", func(b *testing.B) {
			f := openOS(b, b.TempDir())
			file, err := f.Open("file", how)
			require.NoError(b, err)
			p := vfs.Buffer(vfs.BlockBytes)
			b.SetBytes(vfs.BlockBytes)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := file.WriteAt(p, 0); err != nil {
					b.Fatal(err)
				}
			}
			vfs.FreeBuffer(p)
			require.NoError(b, file.Close())
			require.NoError(b, f.Close())
		})
	}
}

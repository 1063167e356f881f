package disk_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
	"github.com/kvferry/kvferry/pipelinecache/disk"
)

// TestFullDisk: an artifact of 100 KiB on a file system of 4 KiB is an error and
// then a miss, nothing is left of it, and what was there before is.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=4k"); err != nil {
		t.Skipf("a file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(root, unix.MNT_DETACH)) })
	s := open(t, root, disk.Options{})
	put(t, s, key(1), []byte("small"))
	for range 2 {
		require.ErrorIs(t, s.Put(t.Context(), key(2), make([]byte, 100<<10)), kvferry.ErrNoSpace)
		requireMiss(t, s, key(2), kvferry.ErrNotFound)
		require.ErrorIs(t, s.Put(t.Context(), key(1), make([]byte, 100<<10)), kvferry.ErrNoSpace)
		requireHas(t, s, key(1), []byte("small"))
		require.Equal(t, []string{key(1).String() + ".bin"}, names(t, root))
	}
	require.NoError(t, s.Flush(t.Context()))

	freeze(t, root)
	require.ErrorIs(t, s.Put(t.Context(), key(1), nil), kvferry.ErrReadOnly)
	require.NoError(t, unix.Mount("", root, "", unix.MS_REMOUNT, ""))
	require.NoError(t, os.WriteFile(file(root, key(1)), []byte("damaged"), 0o600))
	freeze(t, root)
	requireMiss(t, s, key(1), kvferry.ErrCorrupt)
	requireMiss(t, s, key(1), kvferry.ErrReadOnly) // it cannot be set aside
}

// TestFullDiskInMemory is the same where nobody may mount a file system.
func TestFullDiskInMemory(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	d.SetCapacity(vfs.BlockBytes)
	s, err := disk.OpenFS(d.Process(), disk.Options{})
	require.NoError(t, err)
	require.ErrorIs(t, s.Put(t.Context(), key(1), make([]byte, 100<<10)), kvferry.ErrNoSpace)
	requireMiss(t, s, key(1), kvferry.ErrNotFound)
	require.Empty(t, d.Files())
	put(t, s, key(1), []byte("small"))
	require.ErrorIs(t, s.Put(t.Context(), key(1), make([]byte, 100<<10)), kvferry.ErrNoSpace)
	requireHas(t, s, key(1), []byte("small"))
}

// freeze makes a file system read-only. A process that another test starts shares
// the files that are open, until its program runs.
func freeze(t *testing.T, root string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_RDONLY, "") == nil
	}, time.Minute, time.Millisecond)
}

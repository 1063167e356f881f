package dir_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/digest"
)

// TestFullAndReadOnlyDisk with a real file system of 1 MiB, where the tests
// may mount one.
func TestFullAndReadOnlyDisk(t *testing.T) {
	root := t.TempDir()
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no permission to mount: %v (the fault sweep covers the same errors)", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(root, syscall.MNT_DETACH)) })
	s, err := dir.Open(root, dir.Options{})
	require.NoError(t, err)
	first, err := commit(t.Context(), s, digest.BLAKE3, []string{"x"}, noise(1, 100))
	require.NoError(t, err)
	_, err = commit(t.Context(), s, digest.BLAKE3, []string{"x"}, noise(2, 400000), noise(3, 400000), noise(4, 400000))
	require.ErrorIs(t, err, kvferry.ErrNoSpace)
	require.Equal(t, first, wantWhole(t, s)[0].Root)
	require.Zero(t, collect(t, s, cas.CollectOptions{}).Deleted, "the session took along what it wrote")
	_, err = commit(t.Context(), s, digest.BLAKE3, []string{"y"}, noise(2, 400000))
	require.NoError(t, err)
	require.NoError(t, s.Close())

	// A process that another test starts shares the files that are open, until
	// its program runs.
	require.Eventually(t, func() bool {
		return syscall.Mount("tmpfs", root, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "") == nil
	}, time.Minute, time.Millisecond)
	ro, err := dir.Open(root, dir.Options{ReadOnly: true})
	require.NoError(t, err)
	require.Len(t, wantWhole(t, ro), 2)
	require.NoError(t, ro.Close())
	rw, err := dir.Open(root, dir.Options{})
	if err == nil { // nothing had to be made
		_, err = commit(t.Context(), rw, digest.BLAKE3, nil, noise(5, 10))
		require.NoError(t, rw.Close())
	}
	require.ErrorIs(t, err, kvferry.ErrReadOnly)
}

package pack

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
)

// hostileMount returns a small file system of its own, or skips the test where
// nobody may mount one.
func hostileMount(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("a file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// TestHostileMountFull fills a real disk to the last byte, and makes room on it.
func TestHostileMountFull(t *testing.T) {
	t.Parallel()
	dir := hostileMount(t, "size=3m")
	root, w := filepath.Join(dir, "store"), newFaultWorld(t)
	s := hostileOpen(t, root, w)
	n := 0
	for w.errs = nil; len(w.errs) == 0; n++ {
		w.capture(t.Context(), s, fmt.Sprintf("full-%d", n), 16, nil, fmt.Sprintf("full-%d", n))
	}
	for _, err := range w.errs {
		require.ErrorIs(t, err, kvferry.ErrNoSpace)
	}
	require.Greater(t, n, 4)
	rest, err := os.Create(filepath.Join(dir, "rest")) //nolint:gosec // of the test
	require.NoError(t, err)
	for err == nil {
		_, err = rest.Write(make([]byte, 4096))
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	require.NoError(t, rest.Close())
	w.wholeIn(s, "full")
	w.sound(s, "full")
	require.NoError(t, s.Close())

	s = hostileOpen(t, root, w) // without a byte of room
	w.wholeIn(s, "full, opened again")
	w.errs = nil
	for i := range n - 2 {
		w.drop(t.Context(), s, faultRoot(fmt.Sprintf("full-%d", i)))
	}
	w.collect(t.Context(), s)
	require.Empty(t, w.errs)
	w.capture(t.Context(), s, "again", 16, nil, "again")
	require.Empty(t, w.errs)
	w.wholeIn(s, "with room again")
	require.NoError(t, s.Close())
	hostileWorks(t, root, w)
	t.Logf("%d snapshots filled the disk", n-1)
}

// TestHostileMountReadOnly makes a disk read-only, as a system does after an
// error, while a store on it is in use, and opens it anew.
func TestHostileMountReadOnly(t *testing.T) {
	t.Parallel()
	dir := hostileMount(t, "size=8m")
	root, w := filepath.Join(dir, "store"), newFaultWorld(t)
	s := hostileOpen(t, root, w)
	w.capture(t.Context(), s, "first", 8, nil, "one")
	require.NoError(t, s.Close())
	freeze := func(flag uintptr) {
		// A process that another test starts shares the files that are open, until
		// its program runs.
		require.Eventually(t, func() bool { return unix.Mount("", dir, "", unix.MS_REMOUNT|flag, "") == nil }, time.Minute, time.Millisecond)
	}
	freeze(unix.MS_RDONLY)
	_, err := Open(root, hostileOptions(w))
	require.ErrorIs(t, err, kvferry.ErrReadOnly)
	require.ErrorContains(t, err, "for reading only")
	_, err = Open(filepath.Join(dir, "new"), Options{})
	require.ErrorIs(t, err, kvferry.ErrReadOnly)
	o := hostileOptions(w)
	o.ReadOnly = true
	s, err = Open(root, o)
	require.NoError(t, err)
	w.wholeIn(s, "read-only")
	w.sound(s, "read-only")
	_, err = s.Begin(t.Context(), cas.SessionOptions{})
	require.ErrorIs(t, err, kvferry.ErrReadOnly)
	_, err = s.Collect(t.Context(), cas.CollectOptions{References: w.references, DryRun: true})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	freeze(0)
	hostileWorks(t, root, w)
}

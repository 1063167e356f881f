//go:build linux || darwin || freebsd

package vfs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestWalking: where the kernel does not resolve names beneath a directory, the
// walk refuses the same.
func TestWalking(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a", "b", "file"), nil, 0o600))
	require.NoError(t, os.Symlink("a", filepath.Join(dir, "link")))
	require.NoError(t, os.Symlink("file", filepath.Join(dir, "a", "b", "link")))
	root, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	for name, ok := range map[string]bool{
		"a/b/file": true, "a": true, ".": true,
		"link/b/file": false, "a/b/link": false, "a/none": false, "a/b/file/x": false,
	} {
		fd, err := openWalking(root, name, unix.O_RDONLY, 0)
		same, again := openBeneath(root, name, unix.O_RDONLY, 0)
		require.Equal(t, ok, err == nil, name)
		require.Equal(t, ok, again == nil, name)
		if ok {
			require.NoError(t, unix.Close(fd))
			require.NoError(t, unix.Close(same))
		}
	}
	fd, err := openWalking(root, "a/new", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	require.NoError(t, err)
	require.NoError(t, unix.Close(fd))
	require.FileExists(t, filepath.Join(dir, "a", "new"))
	require.NoError(t, unix.Close(root))
}

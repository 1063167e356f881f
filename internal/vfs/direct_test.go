package vfs_test

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/vfs"
)

// TestDirectReadsSeeTheDisk: what a failed fsync lost is still seen by reads
// through the page cache, and not by those past it.
func TestDirectReadsSeeTheDisk(t *testing.T) {
	t.Parallel()
	p := vfs.NewDisk().Process()
	fail := false
	fs := vfs.WithFaults(p, func(op, _ string) error {
		if fail && op == "fsync" {
			return syscall.EIO
		}
		return nil
	})
	f, err := fs.Open("f", vfs.Create)
	require.NoError(t, err)
	block := func(v byte) []byte {
		b := vfs.Buffer(vfs.BlockBytes)
		for i := range b {
			b[i] = v
		}
		return b
	}
	read := func(how vfs.Mode) byte {
		f, err := p.Open("f", how)
		require.NoError(t, err)
		defer func() { require.NoError(t, f.Close()) }()
		b := block(0)
		_, err = f.ReadAt(b, 0)
		require.NoError(t, err)
		return b[0]
	}
	_, err = f.WriteAt(block(1), 0)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	_, err = f.WriteAt(block(2), 0)
	require.NoError(t, err)
	require.EqualValues(t, 2, read(vfs.Direct))
	fail = true
	require.ErrorIs(t, f.Sync(), syscall.EIO)
	require.EqualValues(t, 2, read(vfs.ReadOnly))
	require.EqualValues(t, 1, read(vfs.Direct))

	fail = false
	_, err = f.WriteAt(block(3), 0)
	require.NoError(t, err)
	require.EqualValues(t, 3, read(vfs.Direct))
	require.NoError(t, f.Close())
}

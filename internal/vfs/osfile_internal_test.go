//go:build linux || darwin || freebsd

package vfs

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestClosedBesideAChild closes a locked file while a second descriptor of the
// same open file lives, as it does in a child between fork and exec.
func TestClosedBesideAChild(t *testing.T) {
	s, err := OS(t.TempDir())
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	first, err := s.Open("lock", Create)
	require.NoError(t, err)
	free, err := first.TryLock()
	require.NoError(t, err)
	require.True(t, free)
	child, err := unix.Dup(first.(*osFile).fd)
	require.NoError(t, err)
	defer func() { require.NoError(t, unix.Close(child)) }()
	require.NoError(t, first.Close())

	second, err := s.Open("lock", ReadWrite)
	require.NoError(t, err)
	free, err = second.TryLock()
	require.NoError(t, err)
	require.True(t, free, "the lock ends with Close")
	require.NoError(t, second.Close())
}

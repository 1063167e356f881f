//go:build unix

package host

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

// TestHoldNeverWaits: while Close waits for a copy, another hold of the file,
// which may be the same copy's, is refused instead of waiting for Close.
func TestHoldNeverWaits(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "kv")
	require.NoError(t, os.WriteFile(path, make([]byte, 64), 0o600))
	f, err := MapFile(path, 0, ReadOnly)
	require.NoError(t, err)
	require.NoError(t, f.hold())
	closed := make(chan error)
	go func() { closed <- f.Close() }()
	for f.mu.TryRLock() { // until Close stands in line
		f.mu.RUnlock()
		runtime.Gosched()
	}
	require.ErrorIs(t, f.hold(), kvferry.ErrClosed)
	twice := cache{files: []*File{f, f}}
	require.ErrorIs(t, twice.hold(), kvferry.ErrClosed)
	select {
	case err := <-closed:
		t.Fatalf("closed under a copy: %v", err)
	default:
	}
	f.let()
	require.NoError(t, <-closed)
	require.ErrorIs(t, f.hold(), kvferry.ErrClosed)
}

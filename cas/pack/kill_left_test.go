package pack

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/internal/vfs"
)

// TestLeftoversAreLocked: what a process that was killed left is removed by one
// that has its lock. A file that was made just now, and not locked yet, looks the
// same, and its process must see that it is gone.
func TestLeftoversAreLocked(t *testing.T) {
	t.Parallel()
	disk := vfs.NewDisk()
	proc := disk.Process()
	s, err := Open("left", Options{fs: proc})
	require.NoError(t, err)
	_, err = s.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	proc.Kill()
	_ = s.Close() // of a process that was killed
	const draft = indexDir + "/0123456789abcdef.new"
	f, err := disk.Process().Open(draft, vfs.Create)
	require.NoError(t, err)
	require.NoError(t, f.Lock(t.Context()))

	other := disk.Process()
	s, err = Open("left", Options{fs: other})
	require.NoError(t, err)
	require.Contains(t, disk.Files(), draft, "somebody has its lock")
	require.NoError(t, f.Close())

	proc = disk.Process()
	dead, err := Open("left", Options{fs: proc})
	require.NoError(t, err)
	_, err = dead.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	proc.Kill()
	_ = dead.Close() // of a process that was killed

	var mu sync.Mutex
	free := map[string]bool{}
	disk.Before(func(op, path string) {
		locked := strings.HasPrefix(path, streamsDir) && !strings.Contains(path, ".") || path == draft
		if op != "unlink" || !locked {
			return
		}
		third := disk.Process()
		defer third.Kill()
		f, err := third.Open(path, vfs.ReadOnly)
		if err != nil {
			return
		}
		ok, err := f.TryLock()
		mu.Lock()
		defer mu.Unlock()
		free[path] = ok || err != nil
	})
	r, err := s.Collect(t.Context(), cas.CollectOptions{References: modelReferences(s)})
	disk.Before(nil)
	require.NoError(t, err)
	require.EqualValues(t, 3, r.Stale, "a stream, its session and a draft")
	require.Len(t, free, 2)
	for path, is := range free {
		require.False(t, is, "%s was removed without its lock", path)
	}
	require.NoError(t, s.Close())
}

package dir

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
)

// syncs records what is synchronised.
type syncs struct {
	mu   sync.Mutex
	list []string
}

func (s *syncs) hook(op, rel string) error {
	if op == "fsync" || op == "syncfs" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.list = append(s.list, op+" "+rel)
	}
	return nil
}

func (s *syncs) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.list
	s.list = nil
	return out
}

// TestDirectoriesAreDurable: those that Open makes, and those above the shards,
// which another process may have made without doing it.
func TestDirectoriesAreDurable(t *testing.T) {
	t.Parallel()
	top, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	var seen syncs
	root := filepath.Join(top, "a", "b")
	s, err := Open(root, Options{Fault: seen.hook})
	require.NoError(t, err)
	opened := seen.take()
	for _, dir := range []string{top, filepath.Join(top, "a"), ".", "blobs"} {
		require.Contains(t, opened, "fsync "+dir)
	}
	require.NoError(t, s.Close())

	s, err = Open(root, Options{Fault: seen.hook})
	require.NoError(t, err)
	require.Empty(t, seen.take())
	s.group = -1
	crashCommit(t.Context(), t, s, "x", [][]byte{{1}})
	first := seen.take()
	require.Contains(t, first, "fsync .")
	require.Contains(t, first, "fsync blobs")
	crashCommit(t.Context(), t, s, "x", [][]byte{{2}})
	second := seen.take()
	require.NotContains(t, second, "fsync blobs")
	require.NoError(t, s.Close())
}

// TestOtherDevices: one synchronisation covers the root's file system alone.
func TestOtherDevices(t *testing.T) {
	t.Parallel()
	for _, elsewhere := range []bool{false, true} {
		var seen syncs
		s, err := Open(t.TempDir(), Options{Fault: seen.hook})
		require.NoError(t, err)
		s.group = 0 // also where the file system is none of the known ones
		if elsewhere {
			s.device++
		}
		sess, err := s.Begin(t.Context(), cas.SessionOptions{})
		require.NoError(t, err)
		crashCommit(t.Context(), t, s, "x", [][]byte{{1}, {2}})
		require.NoError(t, sess.Abort(t.Context()))
		blobs, together := 0, false
		for _, op := range seen.take() {
			together = together || op == "syncfs ."
			if strings.HasPrefix(op, "fsync blobs/") && strings.Contains(op, "/.kvf-") {
				blobs++
			}
		}
		require.Equal(t, !elsewhere, together)
		if elsewhere {
			require.Equal(t, 3, blobs)
		}
		require.NoError(t, s.Close())
	}
}

// TestUnknownFileSystems are not trusted to synchronise as a whole.
func TestUnknownFileSystems(t *testing.T) {
	t.Parallel()
	proc, err := os.Open("/proc")
	if err != nil {
		t.Skipf("no /proc here: %v", err)
	}
	defer func() { require.NoError(t, proc.Close()) }()
	require.False(t, syncWholeKnown(int(proc.Fd())))
}

package tiered_test

import (
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas/castest"
	"github.com/kvferry/kvferry/cas/tiered"
)

// TestOrphanIsQueued: a snapshot in near's catalog without a change, of a
// commit that was cut off or a queue that was lost, reaches far.
func TestOrphanIsQueued(t *testing.T) {
	t.Parallel()
	b := openBack(t, true, tiered.Options{})
	root, err := commit(t.Context(), b, 1, []string{"lost"}, noise(1, 1000))
	require.NoError(t, err)
	b.stop(t)
	require.NoError(t, os.RemoveAll(filepath.Join(b.root, "queue")))
	b.far.fails(nil)
	b.start(t)
	b.wantCopied(t, root)
}

// TestOpenRefuses: a queue of another process, a near store with a catalog of
// its own, and changes that cannot be read.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	b := openBack(t, true, tiered.Options{})
	_, err := commit(t.Context(), b, 1, []string{"x"}, noise(1, 1000))
	require.NoError(t, err)
	o := tiered.Options{Mode: tiered.WriteBack, Near: b.near, Far: b.far, References: references, QueueDir: filepath.Join(b.root, "queue")}
	_, err = tiered.Open(t.Context(), o)
	require.ErrorIs(t, err, kvferry.ErrReadOnly)
	require.NoError(t, b.Close())
	near := b.near.Store
	b.Store = nil

	names, err := filepath.Glob(filepath.Join(b.root, "queue", "*.op"))
	require.NoError(t, err)
	require.Len(t, names, 1)
	good, err := os.ReadFile(names[0])
	require.NoError(t, err)
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1
		require.NoError(t, os.WriteFile(names[0], bad, 0o666))
		_, err = tiered.Open(t.Context(), o)
		require.Error(t, err, "byte %d", i)
	}
	require.NoError(t, os.WriteFile(names[0], good, 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(b.root, "queue", "0000000000000099.tmp"), good, 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(b.root, "queue", "notes.txt"), nil, 0o666))
	s, err := tiered.Open(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, 1, s.State().QueuedChanges)
	require.NoError(t, s.Close())
	require.NoFileExists(t, filepath.Join(b.root, "queue", "0000000000000099.tmp"))
	require.FileExists(t, filepath.Join(b.root, "queue", "notes.txt"))

	_, err = commit(t.Context(), near, 1, []string{"own"}, noise(2, 10))
	require.NoError(t, err)
	_, err = tiered.Open(t.Context(), o)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.NoError(t, near.Close())
}

// TestPoisonedQueue: after a failed synchronisation nothing is acknowledged
// until the queue is opened again.
func TestPoisonedQueue(t *testing.T) {
	t.Parallel()
	var broken sync.Map
	b := openBack(t, true, tiered.Options{Fault: func(op, path string) error {
		if _, is := broken.Load(op + " " + path); is {
			return syscall.EIO
		}
		return nil
	}})
	first, err := commit(t.Context(), b, 1, nil, noise(1, 1000))
	require.NoError(t, err)
	broken.Store("fsync .", true)
	_, err = commit(t.Context(), b, 2, nil, noise(2, 1000))
	require.ErrorIs(t, err, syscall.EIO)
	broken.Clear()
	_, err = commit(t.Context(), b, 3, nil, noise(3, 1000))
	require.ErrorIs(t, err, kvferry.ErrPoisoned)
	require.ErrorIs(t, b.Drain(t.Context()), syscall.EIO)
	b.far.fails(nil)
	require.ErrorIs(t, b.Drain(t.Context()), kvferry.ErrPoisoned)
	b.stop(t)
	b.start(t)
	b.wantCopied(t, first)
}

func TestOptions(t *testing.T) {
	t.Parallel()
	a, f := openMem(t, castest.Setup{}, ""), openMem(t, castest.Setup{}, "")
	for name, o := range map[string]tiered.Options{
		"no stores":     {},
		"no far":        {Near: a},
		"mode":          {Near: a, Far: f, Mode: 2},
		"promotion":     {Near: a, Far: f, Promote: 2},
		"negative":      {Near: a, Far: f, PromoteBytes: -1},
		"no queue":      {Near: a, Far: f, Mode: tiered.WriteBack, References: references},
		"no references": {Near: a, Far: f, Mode: tiered.WriteBack, QueueDir: t.TempDir()},
	} {
		_, err := tiered.Open(t.Context(), o)
		require.ErrorIs(t, err, kvferry.ErrInvalid, name)
	}
	require.NoError(t, a.Close())
	require.NoError(t, f.Close())
}

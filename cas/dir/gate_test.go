package dir

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

func rootOnly(_ context.Context, e cas.Entry, visit func(digest.Digest) error) error {
	return visit(e.Root)
}

// TestDeletedLockFiles: locks exclude each other though somebody deleted their
// files in between.
func TestDeletedLockFiles(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(locks string) error{
		"deleted": os.RemoveAll,
		"replaced": func(locks string) error {
			for _, f := range []string{"gate", "turn", "collect", "catalog"} {
				if err := os.Remove(filepath.Join(locks, f)); err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(locks, f), nil, 0o644); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			one, err := Open(root, Options{})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, one.Close()) })
			sess, err := one.Begin(t.Context(), cas.SessionOptions{})
			require.NoError(t, err)
			one.gate.yield()
			require.NoError(t, spoil(filepath.Join(root, "locks")))
			two, err := Open(root, Options{})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, two.Close()) })
			two.patience = 20 * time.Millisecond

			require.NoError(t, one.gate.enter(t.Context()))
			err = two.exclude(t.Context(), func() error { t.Error("both are inside"); return nil })
			require.ErrorIs(t, err, context.DeadlineExceeded)
			one.gate.leave()
			_, err = sess.Has(t.Context(), digest.New(digest.BLAKE3, [32]byte{1}))
			require.NoError(t, err)
			require.NoError(t, sess.Abort(t.Context()))
		})
	}
}

// TestStoppedInsideTheGate: somebody who keeps the gate makes a collection
// fail, with his number, and not hang with everybody else.
func TestStoppedInsideTheGate(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s, err := Open(root, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	s.patience = 20 * time.Millisecond
	for _, rel := range []string{gateLock, turnLock} {
		fd, err := unix.Open(filepath.Join(root, rel), unix.O_RDWR|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Flock(fd, unix.LOCK_SH))
		_, err = s.Collect(t.Context(), cas.CollectOptions{References: rootOnly})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, rel)
		var st unix.Stat_t
		require.NoError(t, unix.Fstat(fd, &st))
		if pids := lockHolders(&st); len(pids) > 0 { // where the system tells
			require.ErrorContains(t, err, fmt.Sprint(os.Getpid()))
		}
		sess, err := s.Begin(t.Context(), cas.SessionOptions{})
		require.NoError(t, err, "sessions go on")
		require.NoError(t, sess.Abort(t.Context()))
		require.NoError(t, unix.Close(fd))
	}
	_, err = s.Collect(t.Context(), cas.CollectOptions{References: rootOnly})
	require.NoError(t, err)
}

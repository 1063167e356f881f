package capture_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// TestFaultSweepFiles fails every operation on files below a capture, a
// restore, a verification and a conversion. An operation that reports success
// has succeeded; one that does not leaves the engine and the catalog as they
// were, and works the next time.
func TestFaultSweepFiles(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(ctx context.Context, w *world, s cas.Store) error{
		"capture": func(ctx context.Context, w *world, s cas.Store) error {
			_, err := capture.Groups(ctx, w.groups, s, capture.Options{Names: []string{"new"}, Transfer: w.transfer(2)})
			return err
		},
		"capture-processfork": func(ctx context.Context, w *world, s cas.Store) error {
			_, err := capture.Groups(ctx, w.groups, s, capture.Options{
				Names: []string{"new"}, Format: cas.FormatProcessFork, Image: &capture.Image{}, Transfer: w.transfer(2),
			})
			return err
		},
		"restore": func(ctx context.Context, w *world, s cas.Store) error {
			_, err := capture.RestoreGroups(ctx, s, w.root, w.groups, capture.RestoreOptions{
				Busy: true, Rename: func(id string) string { return "new " + id }, Transfer: w.transfer(2),
			})
			return err
		},
		"convert": func(ctx context.Context, w *world, s cas.Store) error {
			_, err := capture.Convert(ctx, s, w.root, s, capture.ConvertOptions{Format: cas.FormatProcessFork, Names: []string{"new"}, Workers: 2})
			return err
		},
	} {
		for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
			if errors.Is(cause, syscall.ENOSPC) && name != "capture" && !soak() {
				continue
			}
			t.Run(fmt.Sprintf("%s/%v", name, cause), func(t *testing.T) {
				t.Parallel()
				n := 0
				for ; fileFault(t, n, cause, run); n += thin {
				}
				require.Positive(t, n)
				t.Logf("%d faults", (n+thin-1)/thin)
			})
		}
	}
}

// fileFault fails file operation k of run and reports whether there was one.
func fileFault(t *testing.T, k int, cause error, run func(ctx context.Context, w *world, s cas.Store) error) bool {
	root, err := os.MkdirTemp("/dev/shm", "kvferry-test-") //nolint:usetesting // in memory: the sweep opens hundreds of stores
	if err != nil {
		root = t.TempDir()
	}
	defer func() { require.NoError(t, os.RemoveAll(root)) }()
	var c calls
	s, err := dir.Open(root, dir.Options{Fault: func(op, _ string) error { return c.hit(op) }})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	w := newWorld(t, s, 3, synthetic.Releaser).stored(t, 2, capture.Options{Names: []string{"old"}})
	before := w.condition(t)
	c.arm(k, false, func(string) error { return cause })
	err = run(t.Context(), w, s)
	fired := c.disarm()
	w.balanced(t)
	if fired != "" && err != nil {
		require.ErrorIs(t, err, cause, fired)
		if errors.Is(cause, syscall.ENOSPC) && fired == "write" {
			require.ErrorIs(t, err, kvferry.ErrNoSpace)
		}
		after := w.condition(t)
		require.Equal(t, before.Pages, after.Pages)
		require.Equal(t, before.Seqs, after.Seqs)
		require.Equal(t, before.Free, after.Free)
		require.Equal(t, before.Entries, after.Entries, "%s: %v", fired, err)
		require.Zero(t, w.alloc.live.Load())
		require.NoError(t, run(t.Context(), w, s), "again, after %s", fired)
	} else {
		require.NoError(t, err)
	}
	w.verify(t, w.root)
	if e, err := capture.Resolve(t.Context(), s, "new"); err == nil {
		w.verify(t, e.Root)
	}
	if k%8 == 0 || soak() { // the costly part
		w.sound(t)
		swept(t, s, root)
	}
	return fired != ""
}

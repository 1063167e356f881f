package pack

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// TestHealBesideCollect: a blob that is stored anew while a collection marks is
// as marked as the one that it replaces.
func TestHealBesideCollect(t *testing.T) {
	t.Parallel()
	w, s := classStore(t)
	ctx := t.Context()
	plain := classPlain()
	d := putIn(t, s, cas.Snapshot, plain)
	putIn(t, s, cas.Snapshot, []byte("another snapshot, committed later"))
	at, p := wantClass(t, s, d, cas.Snapshot)
	require.NoError(t, w.spoil(packfile.Path(p.id), at.Offset()+2*unitBytes))
	s.st().table.Touch(d, 0)
	n := 0
	_, err := s.Collect(ctx, cas.CollectOptions{References: func(_ context.Context, e cas.Entry, visit func(digest.Digest) error) error {
		if err := visit(e.Root); err != nil {
			return err
		}
		if n++; n == 2 { // both are marked: now somebody heals
			x, err := s.Begin(ctx, cas.SessionOptions{})
			if err != nil {
				return err
			}
			r, err := x.Put(ctx, d, plain)
			require.NoError(t, err)
			require.True(t, r.New)
			require.NoError(t, x.Flush(ctx))
			require.NoError(t, x.Abort(ctx))
			got, err := crashRead(ctx, s, d)
			require.NoError(t, err)
			require.Equal(t, plain, got)
		}
		return nil
	}})
	require.NoError(t, err)
	_, err = crashRead(ctx, s, d)
	require.NoError(t, err, "the healed blob of a committed snapshot")
}

// TestCommitBesideRebase: a process that others overtook with two checkpoints
// reads the newest one; what it commits meanwhile is not applied to the state
// that it throws away.
func TestCommitBesideRebase(t *testing.T) {
	t.Parallel()
	w := newFaultWorld(t)
	ctx := t.Context()
	var armed atomic.Bool
	var once sync.Once
	blocked, release := make(chan struct{}), make(chan struct{})
	a, err := Open("disk", w.options(vfs.WithFaults(w.disk.Process(), func(op, path string) error {
		if armed.Load() && op == "open" && strings.HasSuffix(path, ".idx") {
			once.Do(func() { close(blocked); <-release })
		}
		return nil
	})))
	require.NoError(t, err)
	w.s = a
	b, err := Open("disk", w.options(w.disk.Process()))
	require.NoError(t, err)
	for _, name := range []string{"one", "two"} {
		w.capture(ctx, b, name, 4, nil, name)
		require.NoError(t, b.checkpoint(ctx))
	}
	w.capture(ctx, b, "three", 4, nil, "three") // behind the checkpoint
	require.Empty(t, w.errs)
	require.NoError(t, b.Close())

	armed.Store(true)
	var read, commit sync.WaitGroup
	var readErr, commitErr error
	read.Go(func() { _, readErr = a.Catalog().Entries(ctx) })
	<-blocked
	committed := make(chan struct{})
	commit.Go(func() {
		defer close(committed)
		commitErr = a.commits.submit(ctx, &request{build: func(*view, *ops) error { return nil }})
	})
	select { // a commit that does not wait is done at once
	case <-committed:
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	read.Wait()
	commit.Wait()
	require.NoError(t, readErr)
	require.NoError(t, commitErr)
	list, err := a.Catalog().Entries(ctx)
	require.NoError(t, err)
	require.Len(t, list, 3)
	_, err = a.Collect(ctx, cas.CollectOptions{References: w.references})
	require.NoError(t, err)
	for _, e := range list {
		for _, d := range w.refs[e.Root] {
			_, err := a.Get(ctx, d, make([]byte, len(w.plain[d])))
			require.NoError(t, err)
		}
	}
	require.NoError(t, a.Close())
}

// TestRoundsSpareWhatMoved: a collection that goes in rounds, since the log had
// no room to name all garbage, knows in the second what the first one moved.
func TestRoundsSpareWhatMoved(t *testing.T) {
	t.Parallel()
	again := 0
	for n := int64(1); n <= 12; n++ {
		again += roundsSpare(t, n)
	}
	require.Positive(t, again, "no collection went in rounds")
}

// roundsSpare lets the disk be full for two writes to the log, and returns 1 if
// the collection succeeded all the same.
func roundsSpare(t *testing.T, from int64) (ok int) {
	w := newFaultWorld(t)
	ctx := t.Context()
	var left atomic.Int64
	s, err := Open("disk", w.options(vfs.WithFaults(w.disk.Process(), func(op, path string) error {
		if op == "write" && strings.HasSuffix(path, ".log") && left.Load() > 0 && left.Add(-1) < 2 {
			return syscall.ENOSPC
		}
		return nil
	})))
	require.NoError(t, err)
	w.s = s
	x, err := s.Begin(ctx, cas.SessionOptions{})
	require.NoError(t, err)
	var refs []digest.Digest
	for i := range 60 {
		kind := []string{"live", "dead"}[min(i, 1)*(1-i%2)]
		plain, d := w.content(kind, i)
		_, err = x.Put(ctx, d, plain)
		require.NoError(t, err)
		if kind == "live" {
			refs = append(refs, d)
		}
	}
	w.commit(ctx, s, x, refs[0], refs, nil)
	require.Empty(t, w.errs)
	left.Store(from + 1)
	if _, err := s.Collect(ctx, cas.CollectOptions{References: w.references}); err == nil {
		ok = 1
	}
	left.Store(0)
	for _, d := range refs {
		has, err := s.Has(ctx, d)
		require.NoError(t, err)
		require.True(t, has, fmt.Sprint("full from write ", from))
	}
	_ = s.Close() // the log may be poisoned
	return ok
}

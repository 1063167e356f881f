package tiered_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/castest"
	"github.com/kvferry/kvferry/cas/tiered"
	"github.com/kvferry/kvferry/digest"
)

// backed is a write-back store over a directory and a probe of a store in
// memory, which outlives it.
type backed struct {
	*tiered.Store
	near, far *probe
	root      string
	o         tiered.Options
}

// openBack opens one whose far store fails, if down, with an I/O error.
func openBack(t testing.TB, down bool, o tiered.Options) *backed {
	t.Helper()
	b := &backed{root: t.TempDir(), far: &probe{Store: openMem(t, castest.Setup{}, "")}, o: o}
	if down {
		b.far.fails(syscall.EIO)
	}
	t.Cleanup(func() {
		b.stop(t)
		require.NoError(t, b.far.Close())
	})
	b.start(t)
	return b
}

// start opens the store, again after stop.
func (b *backed) start(t testing.TB) {
	t.Helper()
	b.near = &probe{Store: openDir(t, castest.Setup{Dir: b.root, Now: b.o.Clock}, "near")}
	o := b.o
	o.Mode, o.Near, o.Far, o.QueueDir, o.References = tiered.WriteBack, b.near, b.far, filepath.Join(b.root, "queue"), references
	if o.Retry == 0 {
		o.Retry = time.Millisecond
	}
	s, err := tiered.Open(context.Background(), o)
	require.NoError(t, err)
	b.Store = s
}

func (b *backed) stop(t testing.TB) {
	t.Helper()
	if b.Store == nil {
		return
	}
	require.NoError(t, b.Close())
	require.NoError(t, b.near.Store.Close())
	b.Store = nil
}

// wantCopied requires that far has it all and the queue nothing.
func (b *backed) wantCopied(t testing.TB, roots ...digest.Digest) {
	t.Helper()
	require.NoError(t, b.Drain(t.Context()))
	require.NoError(t, whole(t.Context(), b.far))
	wantRoots(t, b.far, roots...)
	wantRoots(t, b.near)
	require.Zero(t, b.State().QueuedChanges)
	require.Zero(t, b.State().QueuedBytes)
	list, err := os.ReadDir(filepath.Join(b.root, "queue"))
	require.NoError(t, err)
	require.Empty(t, list)
}

func wantRoots(t testing.TB, s cas.Store, roots ...digest.Digest) {
	t.Helper()
	entries, err := s.Catalog().Entries(t.Context())
	require.NoError(t, err)
	got := []digest.Digest{}
	for _, e := range entries {
		got = append(got, e.Root)
	}
	require.ElementsMatch(t, roots, got)
}

// TestFarDown: while far fails, commits and reads of what is near work, and
// the catalog tells what it can. What was committed reaches far when it is
// back, also through a process that ended in between.
func TestFarDown(t *testing.T) {
	t.Parallel()
	for _, reopen := range []bool{false, true} {
		b := openBack(t, false, tiered.Options{})
		old, err := commit(t.Context(), b, 1, []string{"old"}, noise(1, 1000))
		require.NoError(t, err)
		require.NoError(t, b.Drain(t.Context()))
		b.far.fails(syscall.EIO)
		roots := []digest.Digest{old}
		for i := range 5 {
			root, err := commit(t.Context(), b, 2+i, []string{"new"}, noise(uint64(10+i), 1000), noise(1, 1000))
			require.NoError(t, err)
			roots = append(roots, root)
		}
		require.ErrorIs(t, b.Drain(t.Context()), syscall.EIO)
		require.ErrorIs(t, b.State().QueueErr, syscall.EIO)
		require.Equal(t, 5, b.State().QueuedChanges)
		entries, err := b.Catalog().Entries(t.Context())
		require.ErrorIs(t, err, syscall.EIO)
		require.Len(t, entries, 5)
		e, err := b.Catalog().Lookup(t.Context(), "new")
		require.NoError(t, err)
		require.Equal(t, roots[5], e.Root)
		_, err = b.Catalog().Lookup(t.Context(), "old")
		require.ErrorIs(t, err, syscall.EIO)
		wantBlob(t, b, noise(12, 1000))
		_, err = b.Collect(t.Context(), cas.CollectOptions{References: references(b)})
		require.ErrorIs(t, err, syscall.EIO)

		if reopen {
			b.stop(t)
			b.start(t)
			require.Equal(t, 5, b.State().QueuedChanges)
		}
		b.far.fails(nil)
		b.wantCopied(t, roots...)
		e, err = b.far.Catalog().Lookup(t.Context(), "new")
		require.NoError(t, err)
		require.Equal(t, roots[5], e.Root)
		require.NoError(t, b.State().QueueErr)
		require.GreaterOrEqual(t, b.State().FoundInFar, int64(5), "the blob that they share")
	}
}

// TestQueueBound: a commit beyond the bound waits until far has taken enough,
// or is told why not, and one that is larger than the bound passes alone.
func TestQueueBound(t *testing.T) {
	t.Parallel()
	b := openBack(t, true, tiered.Options{QueueBytes: 5000})
	first, err := commit(t.Context(), b, 1, nil, noise(1, 3000))
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	var wg sync.WaitGroup
	var gaveUp, waited error
	var second digest.Digest
	wg.Go(func() { _, gaveUp = commit(ctx, b, 2, nil, noise(2, 3000)) })
	wg.Go(func() { second, waited = commit(t.Context(), b, 3, nil, noise(3, 3000)) })
	until(func() bool { return b.State().QueueErr != nil })
	require.Equal(t, 1, b.State().QueuedChanges)
	cancel(nil)
	b.far.fails(nil)
	wg.Wait()
	require.NoError(t, waited)
	want := []digest.Digest{first, second}
	if gaveUp == nil { // far came back first
		want = append(want, sum(manifest(noise(2, 3000))))
	}
	b.wantCopied(t, want...)

	large, err := commit(t.Context(), b, 4, nil, noise(4, 50000))
	require.NoError(t, err)
	b.wantCopied(t, append(want, large)...)
}

// TestQueueFull: where the options say so, a commit beyond the bound fails and
// nothing is left of it.
func TestQueueFull(t *testing.T) {
	t.Parallel()
	b := openBack(t, true, tiered.Options{QueueBytes: 5000, FailWhenFull: true})
	first, err := commit(t.Context(), b, 1, nil, noise(1, 3000))
	require.NoError(t, err)
	_, err = commit(t.Context(), b, 2, []string{"x"}, noise(2, 3000))
	require.ErrorIs(t, err, kvferry.ErrQuota)
	wantRoots(t, b.near, first)
	require.Equal(t, 1, b.State().QueuedChanges)
	b.far.fails(nil)
	b.wantCopied(t, first)
}

// TestWaitingKeepsItsLease: a session that waits for room does not expire.
func TestWaitingKeepsItsLease(t *testing.T) {
	t.Parallel()
	var elapsed atomic.Int64
	start := time.Now()
	b := openBack(t, true, tiered.Options{QueueBytes: 100, Clock: func() time.Time { return start.Add(time.Duration(elapsed.Load())) }})
	_, err := commit(t.Context(), b, 1, nil, noise(1, 3000))
	require.NoError(t, err)
	const lease = 40 * time.Millisecond
	sess, err := b.Begin(t.Context(), cas.SessionOptions{Lease: lease})
	require.NoError(t, err)
	p := noise(2, 3000)
	_, err = sess.Put(t.Context(), sum(p), p)
	require.NoError(t, err)
	b.near.failsIf(func(op string) error {
		if op == "session has" {
			elapsed.Add(int64(lease / 2)) // the call after it is in time
		}
		return nil
	})
	var wg sync.WaitGroup
	wg.Go(func() { err = sess.Commit(t.Context(), entryOf(sum(p), 2)) })
	until(func() bool { return elapsed.Load() > int64(4*lease) })
	b.far.fails(nil)
	wg.Wait()
	require.NoError(t, err)
}

// TestCloseEndsWaiting: a commit that waits for room is over when the store
// closes.
func TestCloseEndsWaiting(t *testing.T) {
	t.Parallel()
	b := openBack(t, true, tiered.Options{QueueBytes: 100})
	_, err := commit(t.Context(), b, 1, nil, noise(1, 3000))
	require.NoError(t, err)
	sess, err := b.Begin(t.Context(), cas.SessionOptions{Lease: 4 * time.Millisecond})
	require.NoError(t, err)
	p := noise(2, 3000)
	_, err = sess.Put(t.Context(), sum(p), p)
	require.NoError(t, err)
	has := make(chan struct{}, 1000)
	b.near.failsIf(func(op string) error {
		if op == "session has" {
			has <- struct{}{}
		}
		return nil
	})
	var wg sync.WaitGroup
	wg.Go(func() { err = sess.Commit(context.Background(), entryOf(sum(p), 2)) })
	<-has
	b.stop(t)
	wg.Wait()
	require.Error(t, err)
	b.near = nil
}

// TestNeedless: what is dropped before it was copied is not copied, unless it
// took a name from another one.
func TestNeedless(t *testing.T) {
	t.Parallel()
	b := openBack(t, false, tiered.Options{})
	old, err := commit(t.Context(), b, 1, []string{"name", "other"}, noise(1, 1000))
	require.NoError(t, err)
	require.NoError(t, b.Drain(t.Context()))
	copied := b.State().CopiedBlobs

	b.far.fails(syscall.EIO)
	for i, names := range [][]string{nil, {"fresh"}} {
		root, err := commit(t.Context(), b, 2, names, noise(uint64(2+i), 1000))
		require.NoError(t, err)
		b.far.failsIf(func(op string) error { // the catalog can be read
			if op == "entries" {
				return nil
			}
			return syscall.EIO
		})
		require.NoError(t, b.Catalog().Drop(t.Context(), root))
	}
	b.far.fails(nil)
	b.wantCopied(t, old)
	require.Equal(t, copied, b.State().CopiedBlobs)

	b.far.failsIf(func(op string) error {
		if op == "entries" {
			return nil
		}
		return syscall.EIO
	})
	root, err := commit(t.Context(), b, 2, []string{"name"}, noise(9, 1000))
	require.NoError(t, err)
	require.NoError(t, b.Catalog().Drop(t.Context(), root))
	b.far.fails(nil)
	b.wantCopied(t, old)
	require.Greater(t, b.State().CopiedBlobs, copied)
	_, err = b.Catalog().Lookup(t.Context(), "name")
	require.ErrorIs(t, err, kvferry.ErrNotFound, "it went with the one that had it last")
	_, err = b.Catalog().Lookup(t.Context(), "other")
	require.NoError(t, err)
}

// TestNearMakesRoom: what is copied gives its room in near to what is put.
func TestNearMakesRoom(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	far := openDir(t, castest.Setup{Dir: root}, "far")
	s := openWith(t, tiered.Options{Mode: tiered.WriteBack, References: references, QueueDir: filepath.Join(root, "queue"),
		Near: openDir(t, castest.Setup{Dir: root, QuotaBytes: 20000}, "near"), Far: far})
	for i := range 20 {
		_, err := commit(t.Context(), s, i, nil, noise(uint64(i), 4000))
		require.NoError(t, err, "snapshot %d", i)
		require.NoError(t, s.Drain(t.Context()))
	}
	require.Positive(t, s.State().Sweeps)
	require.NoError(t, whole(t.Context(), far))
	require.NoError(t, whole(t.Context(), s))
	_, err := commit(t.Context(), s, 100, nil, noise(100, 30000))
	require.ErrorIs(t, err, kvferry.ErrQuota)
}

// TestSweepsItself: near does not grow with what is copied.
func TestSweepsItself(t *testing.T) {
	t.Parallel()
	b := openBack(t, false, tiered.Options{QueueBytes: 10000})
	for i := range 20 {
		_, err := commit(t.Context(), b, i, nil, noise(uint64(i), 4000))
		require.NoError(t, err)
	}
	require.NoError(t, b.Drain(t.Context()))
	until(func() bool { return b.State().Sweeps > 0 })
	require.NoError(t, whole(t.Context(), b))
}

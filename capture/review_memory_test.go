package capture_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// TestStagingMemoryIsBounded: as long as every worker can have a page, and one
// more is on its way, StagingBytes is kept to, with and without a mover.
func TestStagingMemoryIsBounded(t *testing.T) { // not parallel: others watch the heap
	const pages = 48
	for _, pageTokens := range []uint32{4, 256} { // pages of 1 KiB and of 64 KiB
		e := populated(t, pageTokens, 2, 4, 16, pager.BF16, pages, 1<<40)
		page := e.Meta().PageBytes()
		for _, set := range []synthetic.Ability{synthetic.Releaser, synthetic.Releaser | synthetic.Mover} {
			for _, workers := range []int{1, 2, 8} {
				for _, bytes := range []int{page * (workers + 1), page*(workers+1) + page/2, 1 << 20, 0} {
					name := fmt.Sprintf("page=%d/set=%d/workers=%d/bytes=%d", page, set, workers, bytes)
					bound := bytes
					if bound == 0 {
						bound = capture.DefaultStagingBytes
						if set&synthetic.Mover != 0 {
							bound = capture.MoverStagingBytes
						}
					}
					s := newMem(t)
					var out, in countingAllocator
					rep, err := capture.Capture(t.Context(), e.With(set), s, capture.Options{
						Transfer: capture.Transfer{Workers: workers, StagingBytes: bytes, Allocator: &out},
					})
					require.NoError(t, err, name)
					_, err = capture.Restore(t.Context(), s, rep.Root, fresh(t, e).With(set), capture.RestoreOptions{
						Transfer: capture.Transfer{Workers: workers, StagingBytes: bytes, Allocator: &in},
					})
					require.NoError(t, err, name)
					for way, a := range map[string]*countingAllocator{"capture": &out, "restore": &in} {
						require.Zero(t, a.live.Load(), name)
						require.NotZero(t, a.peak.Load(), name)
						if page*(workers+1) <= bound {
							require.LessOrEqual(t, a.peak.Load(), int64(bound), "%s/%s", way, name)
						}
						require.LessOrEqual(t, a.peak.Load(), int64(max(bound, page*(workers+1))), "%s/%s", way, name)
					}
				}
			}
		}
	}
}

// moving is a mover that calls functions of the test.
type moving struct {
	pager.Mover
	mu        sync.Mutex
	flying    int
	most      int
	submitted int
	waited    int
	ctx       context.Context //nolint:containedctx // that of the last Submit
	wait      func(n int, m *moving) (pager.Completion, bool)
	seen      chan struct{} // closed by the first Submit
}

// moves returns the mover and the engine in which it stands for the engine's
// own.
func moves(p pager.Pager) (*moving, pager.Pager) {
	a := pager.AbilitiesOf(p)
	m := &moving{Mover: a.Mover, seen: make(chan struct{})}
	a.Mover = m
	return m, pager.Compose(only{p}, a)
}

func (m *moving) Submit(ctx context.Context, j pager.Job) (pager.Ticket, error) {
	t, err := m.Mover.Submit(ctx, j)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ctx = ctx
	m.submitted++
	if m.submitted == 1 {
		close(m.seen)
	}
	m.flying++
	m.most = max(m.most, m.flying)
	return t, err
}

func (m *moving) Wait(ctx context.Context, t pager.Ticket) (pager.Completion, error) {
	m.mu.Lock()
	m.waited++
	n := m.waited
	m.mu.Unlock()
	c, err := m.Mover.Wait(ctx, t)
	if m.wait != nil {
		if other, ok := m.wait(n, m); ok {
			c, err = other, nil // also if the caller's context ended meanwhile
			c.Ticket = t
		}
	}
	m.mu.Lock()
	m.flying--
	m.mu.Unlock()
	return c, err
}

// stopped waits until whoever submitted the last job was told to stop.
func (m *moving) stopped() {
	m.mu.Lock()
	ctx := m.ctx
	m.mu.Unlock()
	<-ctx.Done()
}

func hanging() pager.Completion {
	return pager.Completion{Outcome: pager.Unknown, Err: fmt.Errorf("the copy hangs: %w", kvferry.ErrUnknownOutcome)}
}

// TestFewCopiesAreUnderWay: a deadline counts from the submission, so that jobs
// must not wait behind many others.
func TestFewCopiesAreUnderWay(t *testing.T) {
	t.Parallel()
	const most = 4
	e := populated(t, 4, 2, 2, 4, pager.BF16, 90, 1<<40)
	m, p := moves(e.With(synthetic.Mover))
	rep, err := capture.Capture(t.Context(), p, newMem(t), capture.Options{Transfer: capture.Transfer{Workers: 14, StagingBytes: 15 * 2 * e.Meta().PageBytes()}})
	require.NoError(t, err)
	require.Equal(t, 90, rep.Pages)
	require.Greater(t, m.submitted, 3*most)
	require.Equal(t, m.submitted, m.waited)
	require.Equal(t, most, m.most, "as many as there may be, and no more")
}

// fullStore is a store that cannot take a blob.
type fullStore struct{ cas.Store }

func (f fullStore) Begin(ctx context.Context, o cas.SessionOptions) (cas.Session, error) {
	x, err := f.Store.Begin(ctx, o)
	return fullSession{x}, err
}

type fullSession struct{ cas.Session }

func (fullSession) Put(context.Context, digest.Digest, []byte) (cas.PutResult, error) {
	return cas.PutResult{}, errMarker
}

// TestUnknownCopyBesideAnotherError: the store fails first, then a copy that is
// under way has no known end. Both are told.
func TestUnknownCopyBesideAnotherError(t *testing.T) {
	t.Parallel()
	e := populated(t, 4, 2, 2, 4, pager.BF16, 30, 1<<40)
	m, p := moves(e.With(synthetic.Mover))
	m.wait = func(n int, m *moving) (pager.Completion, bool) {
		if n != 2 {
			return pager.Completion{}, false
		}
		m.stopped()
		return hanging(), true
	}
	var alloc countingAllocator
	_, err := capture.Capture(t.Context(), p, fullStore{newMem(t)}, capture.Options{
		Transfer: capture.Transfer{Workers: 2, StagingBytes: 6 * e.Meta().PageBytes(), Allocator: &alloc},
	})
	require.ErrorIs(t, err, errMarker)
	require.ErrorIs(t, err, kvferry.ErrUnknownOutcome)
	require.ErrorContains(t, err, "the copy hangs")
	require.EqualValues(t, 2*e.Meta().PageBytes(), alloc.live.Load(), "one extent stays fenced")
	require.False(t, e.Paused())
}

// meeting is a store in which the readers of two blobs wait for each other.
// The reader of the second one fails when a copy is under way.
type meeting struct {
	cas.Store
	first, second digest.Digest
	here          chan struct{}
	under         <-chan struct{}
}

func (s *meeting) Get(ctx context.Context, d digest.Digest, dst []byte) (int, error) {
	switch d {
	case s.first:
		<-s.here
	case s.second:
		close(s.here)
		<-s.under
		return 0, errMarker
	}
	return s.Store.Get(ctx, d, dst)
}

// TestUnknownCopyBesideAMissingBlob: likewise for a restore. The pages of the
// copy stay with the engine, the others are released.
func TestUnknownCopyBesideAMissingBlob(t *testing.T) {
	t.Parallel()
	s := newMem(t)
	e := populated(t, 4, 2, 2, 4, pager.BF16, 2, 1<<40)
	rep, err := capture.Capture(t.Context(), e, s, capture.Options{})
	require.NoError(t, err)
	snap, _, err := capture.Load(t.Context(), s, rep.Root, capture.LoadOptions{})
	require.NoError(t, err)
	dst := fresh(t, e)
	free := dst.FreePages()
	m, p := moves(dst.With(synthetic.Releaser | synthetic.Mover))
	m.wait = func(_ int, m *moving) (pager.Completion, bool) {
		m.stopped()
		return hanging(), true
	}
	meet := &meeting{
		Store: s, here: make(chan struct{}), under: m.seen,
		first: snap.Groups[0].Table.Digest(0, 0), second: snap.Groups[0].Table.Digest(1, 0),
	}
	var alloc countingAllocator
	_, err = capture.Restore(t.Context(), meet, rep.Root, p, capture.RestoreOptions{Transfer: capture.Transfer{Workers: 2, Allocator: &alloc}})
	require.ErrorIs(t, err, errMarker)
	require.ErrorIs(t, err, kvferry.ErrUnknownOutcome)
	require.ErrorContains(t, err, "the copy hangs")
	require.Equal(t, free-1, dst.FreePages(), "one page stays fenced")
	require.EqualValues(t, e.Meta().PageBytes(), alloc.live.Load(), "and one extent")
	require.False(t, dst.Paused())
	require.NotErrorIs(t, err, context.Canceled)
}

package capture_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// world is what a fault scenario works on: an engine of one or more groups and
// a store, both behind counters.
type world struct {
	calls   calls
	engines []*synthetic.Engine
	books   []*faultPager
	groups  []capture.Group
	inner   cas.Store
	store   cas.Store
	alloc   countingAllocator
	root    digest.Digest // a snapshot that is in the store
}

// newWorld returns an engine whose groups have the given abilities, each with
// n pages of its own, over a store.
func newWorld(t testing.TB, s cas.Store, n int, sets ...synthetic.Ability) *world {
	t.Helper()
	w := &world{inner: s}
	w.store = newFaultStore(s, &w.calls)
	for i, set := range sets {
		e := populated(t, 4, 2, 2, 4, pager.BF16, 0, 0)
		require.NoError(t, e.InstallLogicalSeqs(t.Context(), nil))
		if n > 0 {
			branched(t, e, n, uint64(n)<<40+uint64(i)<<32)
		}
		books, p := newFaultPager(e.With(set), &w.calls)
		w.engines, w.books = append(w.engines, e), append(w.books, books)
		name := ""
		if len(sets) > 1 {
			name = string(rune('a' + i))
		}
		w.groups = append(w.groups, capture.Group{Name: name, Pager: p})
	}
	return w
}

// branched fills an engine: a prompt of n/2 pages, two sequences that go on
// from it with the rest, one without pages, and a page that nobody holds.
func branched(t testing.TB, e *synthetic.Engine, n int, seed uint64) {
	t.Helper()
	require.NoError(t, e.Populate(n+1, seed))
	var ids []pager.PageID
	for i := range n {
		ids = append(ids, pager.PageID(i))
	}
	require.NoError(t, e.InstallLogicalSeqs(t.Context(), []pager.LogicalSeq{
		{ID: "left", Pages: ids, FillInLastPage: 3},
		{ID: "idle"},
		{ID: "right", Pages: slices.Concat(ids[:n/2], ids[n-1:], ids[n-1:]), FillInLastPage: 1},
	}))
}

// stored puts a snapshot of such an engine into the world's store.
func (w *world) stored(t testing.TB, n int, o capture.Options) *world {
	t.Helper()
	var groups []capture.Group
	for i := range w.groups {
		e := populated(t, 4, 2, 2, 4, pager.BF16, 0, 0)
		branched(t, e, n, 77<<40+uint64(i)<<32)
		groups = append(groups, capture.Group{Name: w.groups[i].Name, Pager: e})
	}
	o.Transfer = w.transfer(1)
	rep, err := capture.Groups(t.Context(), groups, w.inner, o)
	require.NoError(t, err)
	w.root = rep.Root
	return w
}

// transfer returns small bounds and the counting allocator.
func (w *world) transfer(workers int) capture.Transfer {
	return capture.Transfer{Workers: workers, StagingBytes: 1024, Allocator: &w.alloc}
}

// condition is all that must be as before when an operation failed.
type condition struct {
	Pages    []map[pager.PageID][]byte
	Seqs     [][]pager.LogicalSeq
	Free     []int
	Entries  []cas.Entry
	Sessions int64
}

func (w *world) condition(t testing.TB) condition {
	t.Helper()
	var c condition
	for _, e := range w.engines {
		pages, seqs := content(t, e)
		c.Pages, c.Seqs, c.Free = append(c.Pages, pages), append(c.Seqs, seqs), append(c.Free, e.FreePages())
	}
	var err error
	c.Entries, err = w.inner.Catalog().Entries(t.Context())
	require.NoError(t, err)
	stats, err := w.inner.(cas.Stater).Stats(t.Context())
	require.NoError(t, err)
	c.Sessions = stats.Sessions
	return c
}

// balanced checks that every group was let go and no rule was broken.
func (w *world) balanced(t testing.TB) {
	t.Helper()
	for i, b := range w.books {
		require.Zero(t, b.held, "pauses without a resume")
		require.Empty(t, b.broken)
		require.False(t, w.engines[i].Paused())
	}
}

// sound checks that whatever the store shows can be restored.
func (w *world) sound(t testing.TB) {
	t.Helper()
	c, err := capture.Check(t.Context(), w.inner, capture.CheckOptions{Workers: 1})
	require.NoError(t, err)
	require.True(t, c.Sound(), "%+v", c)
}

// moveLate lets given-up copies happen now.
func (w *world) moveLate(t testing.TB) (moved int) {
	t.Helper()
	for _, b := range w.books {
		n, err := b.late()
		require.NoError(t, err)
		moved += n
	}
	return moved
}

// verify is a Verify that takes a damaged page for an error.
func (w *world) verify(t testing.TB, root digest.Digest) {
	t.Helper()
	v, err := capture.Verify(t.Context(), w.inner, root, capture.VerifyOptions{Workers: 1})
	require.NoError(t, err)
	require.Empty(t, v.Problems)
}

// problems returns the errors of a list of losses as one.
func problems(losses []capture.Loss) error {
	var errs []error
	for _, l := range losses {
		errs = append(errs, l.Err)
	}
	return errors.Join(errs...)
}

// unhealthy returns all that a check found as one error.
func unhealthy(r capture.CheckReport) error {
	var errs []error
	for _, b := range r.Bad {
		errs = append(errs, b.Err)
	}
	for _, s := range r.Snapshots {
		errs = append(errs, s.Err, problems(s.Losses))
	}
	if r.Sound() != (errors.Join(errs...) == nil) {
		errs = append(errs, kvferry.ErrInvalid)
	}
	return errors.Join(errs...)
}

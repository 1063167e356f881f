package capture_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// newPages allocates n pages with content that no page had before.
func newPages(t testing.TB, e *synthetic.Engine, n int) []pager.PageID {
	t.Helper()
	ids, err := e.AllocatePages(t.Context(), n)
	require.NoError(t, err)
	for _, id := range ids {
		renew(t, e, id)
	}
	return ids
}

// renew gives a page content that no page had before.
func renew(t testing.TB, e *synthetic.Engine, id pager.PageID) {
	t.Helper()
	page := make([]byte, e.Meta().PageBytes())
	for i := range page {
		page[i] = byte(rand.Uint32())
	}
	require.NoError(t, e.WritePage(t.Context(), id, page))
}

// touch changes the last byte of a page, and so only its last part.
func touch(t testing.TB, e *synthetic.Engine, id pager.PageID) {
	t.Helper()
	page := make([]byte, e.Meta().PageBytes())
	require.NoError(t, e.ReadPage(t.Context(), id, page))
	page[len(page)-1]++
	require.NoError(t, e.WritePage(t.Context(), id, page))
}

func drop(t testing.TB, e *synthetic.Engine, ids ...pager.PageID) {
	t.Helper()
	r := pager.AbilitiesOf(e.With(synthetic.Releaser)).Releaser
	require.NoError(t, r.ReleasePages(t.Context(), ids))
}

// step is something that an engine does between two captures.
type step struct {
	name string
	do   func(t testing.TB, e *synthetic.Engine, seqs []pager.LogicalSeq) []pager.LogicalSeq
	// changed is the number of pages that are not as they were at their index,
	// copied that of pages whose bytes no snapshot holds.
	changed, copied int
}

func steps() []step {
	type seqs = []pager.LogicalSeq
	return []step{
		{"nothing", func(_ testing.TB, _ *synthetic.Engine, s seqs) seqs { return s }, 0, 0},
		{"fork", func(t testing.TB, e *synthetic.Engine, s seqs) seqs {
			tail := newPages(t, e, 3)
			return append(s, pager.LogicalSeq{ID: "fork", Pages: slices.Concat(s[0].Pages[:9], tail), FillInLastPage: 2})
		}, 3, 3},
		{"tail", func(t testing.TB, e *synthetic.Engine, s seqs) seqs {
			touch(t, e, s[0].Pages[len(s[0].Pages)-1])
			s[0].FillInLastPage = 0
			return s
		}, 1, 1},
		{"reallocated", func(t testing.TB, e *synthetic.Engine, s seqs) seqs {
			last := s[len(s)-1]
			drop(t, e, last.Pages[9:]...)
			last.ID, last.Pages = "again", slices.Concat(last.Pages[:9], newPages(t, e, 4))
			return append(s[:len(s)-1], last)
		}, 4, 4},
		{"shrunk", func(t testing.TB, e *synthetic.Engine, s seqs) seqs {
			last := &s[len(s)-1]
			drop(t, e, last.Pages[11:]...)
			last.Pages = last.Pages[:11]
			return s
		}, 0, 0},
		{"swapped", func(t testing.TB, e *synthetic.Engine, s seqs) seqs { // the same bytes at other indices
			a, b := s[0].Pages[0], s[0].Pages[1]
			x, y := make([]byte, e.Meta().PageBytes()), make([]byte, e.Meta().PageBytes())
			require.NoError(t, e.ReadPage(t.Context(), a, x))
			require.NoError(t, e.ReadPage(t.Context(), b, y))
			require.NoError(t, e.WritePage(t.Context(), a, y))
			require.NoError(t, e.WritePage(t.Context(), b, x))
			return s
		}, 2, 0},
		{"renamed", func(_ testing.TB, _ *synthetic.Engine, s seqs) seqs { // other numbers, the same pages
			s[0].ID = "zz"
			return s
		}, 0, 0},
		{"everything", func(t testing.TB, e *synthetic.Engine, s seqs) seqs {
			ids, err := e.OccupiedPages(t.Context())
			require.NoError(t, err)
			for _, id := range ids {
				renew(t, e, id)
			}
			return s
		}, -1, -1},
	}
}

// shallow is a Digester that cannot compare.
type shallow struct{ pager.Digester }

// sinceViews are engines with the abilities that matter, and where such an
// engine's digests are made.
func sinceViews(e *synthetic.Engine) map[capture.Place]pager.Pager {
	a := pager.AbilitiesOf(e.With(synthetic.AllAbilities))
	digests := pager.AbilitiesOf(e.With(synthetic.Digester)).Digester
	return map[capture.Place]pager.Pager{
		capture.AtHost:   e,
		capture.AtEngine: pager.Compose(e, pager.Abilities{Digester: shallow{digests}}),
		capture.Compared: pager.Compose(e, a),
	}
}

// TestSinceChangesNothing: through everything that an engine does between two
// captures, a capture since the one before has the root that a full one has,
// and copies no more than what is new.
func TestSinceChangesNothing(t *testing.T) {
	t.Parallel()
	key := digest.DeriveKey([]byte("tenant"))
	for name, o := range map[string]capture.Options{
		"native": {}, "processfork": {Format: cas.FormatProcessFork}, "keyed": {Key: &key},
	} {
		for _, place := range []capture.Place{capture.AtHost, capture.AtEngine, capture.Compared} {
			for _, sparse := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/sparse=%t", name, place, sparse), func(t *testing.T) {
					t.Parallel()
					evolve(t, o, place, sparse)
				})
			}
		}
	}
}

// evolve takes an engine through the steps.
func evolve(t *testing.T, o capture.Options, place capture.Place, sparse bool) {
	e := populated(t, 4, 2, 2, 4, pager.BF16, 0, 0)
	if sparse { // indices so far apart that no direct table is made of them
		var err error
		e, err = synthetic.New(synthetic.Options{Meta: e.Meta(), Capacity: 1 << 20})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, e.Close()) })
		r := pager.AbilitiesOf(e.With(synthetic.Reserver)).Reserver
		far := []pager.PageID{1 << 19, 1<<20 - 1}
		require.NoError(t, r.ReservePages(t.Context(), far))
		renew(t, e, far[0])
		renew(t, e, far[1])
	}
	require.NoError(t, e.InstallLogicalSeqs(t.Context(), []pager.LogicalSeq{{ID: "main", Pages: newPages(t, e, 20), FillInLastPage: 1}}))
	o.Transfer = capture.Transfer{Workers: 2, StagingBytes: 1 << 12}
	s, view := newMem(t), sinceViews(e)[place]
	rep, err := capture.Capture(t.Context(), view, s, o)
	require.NoError(t, err)
	for _, st := range steps() {
		seqs, err := e.LogicalSeqs(t.Context())
		require.NoError(t, err)
		require.NoError(t, e.InstallLogicalSeqs(t.Context(), st.do(t, e, seqs)))
		o.Since = rep.Root
		rep, err = capture.Capture(t.Context(), view, s, o)
		require.NoError(t, err, st.name)
		full := o
		full.Since = digest.Digest{}
		want, err := capture.Capture(t.Context(), e, newMem(t), full)
		require.NoError(t, err)
		require.Equal(t, want.Root, rep.Root, st.name)
		tellsOf(t, st, o, rep, place)
		v, err := capture.Verify(t.Context(), s, rep.Root, capture.VerifyOptions{LoadOptions: capture.LoadOptions{Key: o.Key}})
		require.NoError(t, err)
		require.Empty(t, v.Problems, st.name)
	}
}

// tellsOf checks the counts of a report.
func tellsOf(t *testing.T, st step, o capture.Options, rep capture.Report, place capture.Place) {
	t.Helper()
	changed, copied := st.changed, st.copied
	if changed < 0 {
		changed, copied = rep.Pages, rep.Pages
	}
	if place == capture.AtHost {
		copied = rep.Pages
	}
	size := rep.Bytes / int64(rep.Pages)
	require.Equal(t, o.Since, rep.Since)
	require.Equal(t, rep.Pages-changed, rep.Unchanged, st.name)
	require.Equal(t, copied, rep.CopiedPages, st.name)
	require.Equal(t, int64(copied)*size, rep.CopiedBytes)
	require.Equal(t, rep.Bytes, rep.CopiedBytes+rep.SkippedCopy)
	require.Equal(t, []capture.GroupReport{{
		Pages: rep.Pages, Unchanged: rep.Unchanged, CopiedPages: copied, CopiedBytes: rep.CopiedBytes, Digests: place,
	}}, rep.Groups)
}

// TestSinceOfGroups: every group is matched with the base's group of its name,
// and does what it can.
func TestSinceOfGroups(t *testing.T) {
	t.Parallel()
	a, b, c := populated(t, 4, 2, 2, 4, pager.BF16, 9, 1<<40), populated(t, 16, 1, 1, 3, pager.F32, 4, 2<<40), populated(t, 4, 2, 2, 4, pager.BF16, 0, 0)
	require.NoError(t, c.InstallLogicalSeqs(t.Context(), nil))
	groups := []capture.Group{{"full", sinceViews(a)[capture.Compared]}, {"window", b}, {"idle", c.With(synthetic.Digester)}}
	s := newMem(t)
	first, err := capture.Groups(t.Context(), groups, s, capture.Options{})
	require.NoError(t, err)
	touch(t, a, 3)
	touch(t, b, 2)
	want, err := capture.Groups(t.Context(), groups, newMem(t), capture.Options{})
	require.NoError(t, err)
	rep, err := capture.Groups(t.Context(), groups, s, capture.Options{Since: first.Root})
	require.NoError(t, err)
	require.Equal(t, want.Root, rep.Root)
	require.Equal(t, []capture.GroupReport{
		{Name: "full", Pages: 9, Unchanged: 8, CopiedPages: 1, CopiedBytes: 256, Digests: capture.Compared},
		{Name: "window", Pages: 4, Unchanged: 3, CopiedPages: 4, CopiedBytes: 4 * int64(b.Meta().PageBytes()), Digests: capture.AtHost},
		{Name: "idle", Digests: capture.Compared},
	}, rep.Groups)
	require.Equal(t, [2]int{11, 5}, [2]int{rep.Unchanged, rep.CopiedPages})
}

// TestWithoutSince: a report without a base says where the digests were made.
func TestWithoutSince(t *testing.T) {
	t.Parallel()
	e := populated(t, 4, 2, 2, 4, pager.BF16, 6, 1<<40)
	for place, view := range sinceViews(e) {
		rep, err := capture.Capture(t.Context(), view, newMem(t), capture.Options{})
		require.NoError(t, err)
		if place == capture.Compared {
			place = capture.AtEngine // with nothing to compare with
		}
		require.Equal(t, place, rep.Groups[0].Digests)
		require.Zero(t, rep.Unchanged)
		require.Equal(t, [2]int{6, 6}, [2]int{rep.CopiedPages, rep.Pages})
		require.False(t, rep.Since.Valid())
	}
}

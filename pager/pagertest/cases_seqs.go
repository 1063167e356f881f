package pagertest

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

// sorted returns p's sequences by id; a pager need not keep their order.
func sorted(t *testing.T, p pager.Pager) []pager.LogicalSeq {
	t.Helper()
	seqs, err := p.LogicalSeqs(t.Context())
	require.NoError(t, err)
	slices.SortFunc(seqs, func(a, b pager.LogicalSeq) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return seqs
}

// same compares sequences; nil and no pages are the same.
func same(t *testing.T, want, got []pager.LogicalSeq) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.True(t, want[i].Equal(got[i]), "%+v, want %+v", got[i], want[i])
	}
}

func testInstall(t *testing.T, s *suite) {
	p := s.open(t)
	ids := filled(t, p, s.g.Pages, 9)
	one := []pager.LogicalSeq{{ID: "", Pages: nil}, {ID: "a", Pages: ids}}
	if len(ids) > 2 {
		one = append(one, pager.LogicalSeq{ID: "b", Pages: []pager.PageID{ids[2], ids[0], ids[2]}}, // repeats
			pager.LogicalSeq{ID: "c\x00\n\"", Pages: ids[:1]}) // shared, an odd name
		if s.g.Meta.PageTokens > 1 {
			one[1].FillInLastPage = s.g.Meta.PageTokens - 1
		}
	}
	require.NoError(t, p.InstallLogicalSeqs(t.Context(), one))
	same(t, one, sorted(t, p))
	two := []pager.LogicalSeq{{ID: "z", Pages: ids}}
	require.NoError(t, p.InstallLogicalSeqs(t.Context(), two))
	same(t, two, sorted(t, p))
	holds(t, p, ids, 9) // pages are not touched
}

func testInstallRefused(t *testing.T, s *suite) {
	p := s.open(t)
	ids := filled(t, p, s.g.Pages, 9)
	before := sorted(t, p)
	bad := map[string][]pager.LogicalSeq{
		"twice the same id":   {{ID: "x"}, {ID: "x"}},
		"page beyond":         {{ID: "x", Pages: []pager.PageID{pager.PageID(s.g.Pages)}}},
		"page far beyond":     {{ID: "y"}, {ID: "x", Pages: []pager.PageID{math.MaxUint32}}},
		"fill as many as fit": {{ID: "x", Pages: ids, FillInLastPage: s.g.Meta.PageTokens}},
		"fill too large":      {{ID: "x", Pages: ids, FillInLastPage: math.MaxUint32}},
	}
	for name, seqs := range bad {
		require.ErrorIs(t, p.InstallLogicalSeqs(t.Context(), seqs), kvferry.ErrInvalid, name)
		same(t, before, sorted(t, p))
	}
}

func testSlices(t *testing.T, s *suite) {
	p := s.open(t)
	ids := filled(t, p, s.g.Pages, 2)
	seqs := []pager.LogicalSeq{{ID: "mine", Pages: slices.Clone(ids)}}
	want := []pager.LogicalSeq{seqs[0].Clone()}
	require.NoError(t, p.InstallLogicalSeqs(t.Context(), seqs))
	scratch(seqs)
	same(t, want, sorted(t, p))
	scratch(sorted(t, p))
	same(t, want, sorted(t, p))
	occupied, err := p.OccupiedPages(t.Context())
	require.NoError(t, err)
	clear(occupied)
	clear(ids)
	occupied, err = p.OccupiedPages(t.Context())
	require.NoError(t, err)
	require.Len(t, occupied, s.g.Pages)
	require.True(t, slices.IsSorted(occupied))
}

// scratch overwrites what a pager must not have kept.
func scratch(seqs []pager.LogicalSeq) {
	for i := range seqs {
		seqs[i].ID = "scratched"
		for j := range seqs[i].Pages {
			seqs[i].Pages[j] = math.MaxUint32
		}
	}
}

// testCancelled calls everything with a cancelled context: a call returns the
// context's error and changes nothing, or does all of its work.
func testCancelled(t *testing.T, s *suite) {
	p := s.open(t)
	half := s.g.Pages / 2
	ids := filled(t, p, half, 20)
	before := sorted(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Pause(ctx); err == nil {
		require.NoError(t, p.Resume(t.Context()))
	} else {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.NoError(t, p.Pause(t.Context()), "a pause that failed left the pager running")
	require.NoError(t, p.Resume(t.Context()))
	check := func(err error) bool {
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
		}
		return err == nil
	}
	_, err := p.OccupiedPages(ctx)
	check(err)
	_, err = p.LogicalSeqs(ctx)
	check(err)
	buf := make([]byte, s.g.Meta.PageBytes())
	for i, id := range ids {
		if check(p.ReadPage(ctx, id, buf)) {
			require.Equal(t, bytesOf(s.g.Meta, 20+uint64(i)), buf)
		}
		if check(p.WritePage(ctx, id, bytesOf(s.g.Meta, 900))) {
			require.NoError(t, p.ReadPage(t.Context(), id, buf))
			require.Equal(t, bytesOf(s.g.Meta, 900), buf)
		}
	}
	if check(p.InstallLogicalSeqs(ctx, nil)) {
		before = nil
	}
	same(t, before, sorted(t, p))
	taken := 0
	if more, err := p.AllocatePages(ctx, s.g.Pages-half); check(err) {
		taken = len(more)
	}
	_, err = p.AllocatePages(t.Context(), s.g.Pages-half-taken)
	require.NoError(t, err, "a cancelled allocation took nothing")
}

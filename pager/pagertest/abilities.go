package pagertest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

// The cases of an ability pass at once where the pager does not have it: not
// having one is legal. The log says so.

func lacks(t *testing.T, has bool, name string) bool {
	t.Helper()
	if !has {
		t.Logf("no %s", name)
	}
	return !has
}

func testReleaser(t *testing.T, s *suite) {
	p := s.open(t)
	r, has := p.(pager.Releaser)
	if lacks(t, has, "Releaser") {
		return
	}
	ids, err := p.AllocatePages(t.Context(), s.g.Pages)
	require.NoError(t, err)
	require.NoError(t, r.ReleasePages(t.Context(), nil))
	if len(ids) == 0 {
		return
	}
	beyond := append([]pager.PageID{ids[0]}, pager.PageID(s.g.Pages))
	require.ErrorIs(t, r.ReleasePages(t.Context(), beyond), kvferry.ErrNotFound)
	_, err = p.AllocatePages(t.Context(), 1)
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory, "a release that failed gave nothing back")
	half := ids[:(len(ids)+1)/2]
	require.NoError(t, r.ReleasePages(t.Context(), half))
	require.ErrorIs(t, r.ReleasePages(t.Context(), half[:1]), kvferry.ErrNotFound, "twice")
	again, err := p.AllocatePages(t.Context(), len(half))
	require.NoError(t, err)
	require.ElementsMatch(t, half, again)
	require.NoError(t, r.ReleasePages(t.Context(), ids))
	occupied, err := p.OccupiedPages(t.Context())
	require.NoError(t, err)
	require.Empty(t, occupied)
	filled(t, p, s.g.Pages, 3)
}

func testReserver(t *testing.T, s *suite) {
	p := s.open(t)
	r, has := p.(pager.Reserver)
	if lacks(t, has, "Reserver") {
		return
	}
	require.NoError(t, r.ReservePages(t.Context(), nil))
	n := pager.PageID(s.g.Pages)
	require.ErrorIs(t, r.ReservePages(t.Context(), []pager.PageID{n}), kvferry.ErrNotFound)
	if n < 4 {
		return
	}
	require.ErrorIs(t, r.ReservePages(t.Context(), []pager.PageID{0, n}), kvferry.ErrNotFound, "all or none")
	want := []pager.PageID{n - 1, 0}
	require.NoError(t, r.ReservePages(t.Context(), want))
	require.ErrorIs(t, r.ReservePages(t.Context(), []pager.PageID{1, 0}), kvferry.ErrExists)
	for i, id := range want {
		require.NoError(t, p.WritePage(t.Context(), id, bytesOf(s.g.Meta, 50+uint64(i))))
	}
	rest, err := p.AllocatePages(t.Context(), s.g.Pages-2)
	require.NoError(t, err, "what was refused was not taken")
	require.NotContains(t, rest, want[0])
	require.NotContains(t, rest, want[1])
	require.NoError(t, p.InstallLogicalSeqs(t.Context(), []pager.LogicalSeq{{ID: "s", Pages: want}}))
	holds(t, p, want, 50)
}

func testGenerations(t *testing.T, s *suite) {
	p := s.open(t)
	g, has := p.(pager.Generations)
	if lacks(t, has, "Generations") {
		return
	}
	ids := filled(t, p, s.g.Pages, 1)
	look := func() []uint64 {
		dst := make([]uint64, len(ids))
		require.NoError(t, g.Generations(t.Context(), ids, dst))
		return dst
	}
	require.ErrorIs(t, g.Generations(t.Context(), ids, make([]uint64, len(ids)+1)), kvferry.ErrInvalid)
	require.ErrorIs(t, g.Generations(t.Context(), []pager.PageID{pager.PageID(s.g.Pages)}, make([]uint64, 1)), kvferry.ErrNotFound)
	first := look()
	holds(t, p, ids, 1)
	require.Equal(t, first, look(), "reading changes nothing")
	for i := 0; i < len(ids); i += 2 {
		require.NoError(t, p.WritePage(t.Context(), ids[i], bytesOf(s.g.Meta, 5)))
	}
	second := look()
	for i := range ids {
		require.Equal(t, i%2 == 0, first[i] != second[i], "page %d of %d", i, len(ids))
	}
	r, has := p.(pager.Releaser)
	if lacks(t, has, "Releaser") {
		return
	}
	// An engine that counts references keeps pages of live sequences.
	require.NoError(t, p.InstallLogicalSeqs(t.Context(), nil))
	require.NoError(t, r.ReleasePages(t.Context(), ids))
	third := look()
	_, err := p.AllocatePages(t.Context(), len(ids))
	require.NoError(t, err)
	fourth := look()
	for i := range ids {
		require.NotEqual(t, second[i], third[i], "released")
		require.NotEqual(t, third[i], fourth[i], "allocated")
		require.NotEqual(t, second[i], fourth[i], "released and allocated")
	}
}

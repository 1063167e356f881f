package manifest_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/pager"
)

func TestNumber(t *testing.T) {
	t.Parallel()
	const far = math.MaxUint32
	order, seqs, err := manifest.Number(
		[]pager.PageID{2, 3, 5, 8, 9, far},
		[]pager.LogicalSeq{
			{ID: "z", Pages: []pager.PageID{5, far, 3}, FillInLastPage: 1},
			{ID: "a", Pages: []pager.PageID{8, 5, 8}, FillInLastPage: 2},
			{ID: "m"},
		})
	require.NoError(t, err)
	require.Equal(t, []pager.PageID{8, 5, far, 3, 2, 9}, order)
	require.Equal(t, []manifest.Sequence{
		{ID: "a", Pages: []uint32{0, 1, 0}, FillInLastPage: 2},
		{ID: "m", Pages: []uint32{}},
		{ID: "z", Pages: []uint32{1, 2, 3}, FillInLastPage: 1},
	}, seqs)

	order, seqs, err = manifest.Number(nil, nil)
	require.NoError(t, err)
	require.Empty(t, order)
	require.Empty(t, seqs)
}

func TestNumberRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		occupied []pager.PageID
		seqs     []pager.LogicalSeq
	}{
		"not occupied":         {[]pager.PageID{1, 2}, []pager.LogicalSeq{{ID: "a", Pages: []pager.PageID{3}}}},
		"between":              {[]pager.PageID{1, 3}, []pager.LogicalSeq{{ID: "a", Pages: []pager.PageID{2}}}},
		"not occupied, sparse": {[]pager.PageID{1, 1 << 30}, []pager.LogicalSeq{{ID: "a", Pages: []pager.PageID{7}}}},
		"none occupied":        {nil, []pager.LogicalSeq{{ID: "a", Pages: []pager.PageID{0}}}},
		"occupied twice":       {[]pager.PageID{2, 1, 2}, nil},
		"sequence twice":       {[]pager.PageID{1}, []pager.LogicalSeq{{ID: "a"}, {ID: "b"}, {ID: "a"}}},
	} {
		_, _, err := manifest.Number(c.occupied, c.seqs)
		require.ErrorIs(t, err, kvferry.ErrInvalid, name)
	}
}

// TestNumberIgnoresIndices: the same cache on other indices gets the same
// numbers, and order leads back to the indices.
func TestNumberIgnoresIndices(t *testing.T) {
	t.Parallel()
	const n = 500
	rng := rand.New(rand.NewPCG(1, 2))
	logical := make([][]int, 20)
	for i := range logical {
		for range rng.IntN(60) {
			logical[i] = append(logical[i], rng.IntN(n))
		}
	}
	number := func(at []int) ([]pager.PageID, []manifest.Sequence) {
		occupied := make([]pager.PageID, n)
		for i, p := range at {
			occupied[i] = pager.PageID(p)
		}
		seqs := make([]pager.LogicalSeq, len(logical))
		for i, pages := range logical {
			seqs[i].ID = fmt.Sprint(i)
			for _, p := range pages {
				seqs[i].Pages = append(seqs[i].Pages, pager.PageID(at[p]))
			}
		}
		rng.Shuffle(len(seqs), func(i, j int) { seqs[i], seqs[j] = seqs[j], seqs[i] })
		given := slices.Clone(occupied)
		order, out, err := manifest.Number(occupied, seqs)
		require.NoError(t, err)
		require.Equal(t, given, occupied, "the caller's slice")
		require.ElementsMatch(t, occupied, order)
		for _, s := range seqs {
			i := slices.IndexFunc(out, func(o manifest.Sequence) bool { return o.ID == s.ID })
			for j, p := range out[i].Pages {
				require.Equal(t, s.Pages[j], order[p])
			}
		}
		return order, out
	}
	_, first := number(rng.Perm(n))
	_, moved := number(rng.Perm(n))
	sparse := rng.Perm(n)
	for i := range sparse {
		sparse[i] *= 1 << 20
	}
	_, far := number(sparse)
	require.Equal(t, first, moved)
	require.Equal(t, first, far)
}

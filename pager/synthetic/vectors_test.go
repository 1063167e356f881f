package synthetic

import (
	"encoding/hex"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pager"
)

// The vectors are those that ProcessFork's own fill and populate produce.

func TestFillVectors(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		n    int
		x    uint64
		want string
	}{
		{16, 0, "f465b9a16a9e786e4f450980185dc406"},
		{13, 0, "f465b9a16a9e786e4f45098018"},
		{16, saltK, "41b9da035f494bb2c62b70aca75db0b5"},
		{16, saltV, "ec3be7bba36067b923c9fe4edf674f22"},
		{16, math.MaxUint64, "c982f6db67f89fe9e98172b24cf82f38"},
		{0, 0, ""},
	} {
		got := make([]byte, v.n)
		fill(got, v.x)
		require.Equal(t, v.want, hex.EncodeToString(got), "fill(%d, %x)", v.n, v.x)
	}
}

func populated(t *testing.T, m pager.Meta, n int, seed uint64) *Engine {
	t.Helper()
	e, err := New(Options{Meta: m, Capacity: max(n, 1) * 2})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	require.NoError(t, e.Populate(n, seed))
	return e
}

func plain(t *testing.T, p, l, h, d uint32, dt pager.Dtype) pager.Meta {
	t.Helper()
	m, err := pager.Plain(p, l, h, d, dt)
	require.NoError(t, err)
	return m
}

func read(t *testing.T, p pager.Pager, id pager.PageID) []byte {
	t.Helper()
	b := make([]byte, p.Meta().PageBytes())
	require.NoError(t, p.ReadPage(t.Context(), id, b))
	return b
}

func TestVectorA(t *testing.T) {
	t.Parallel()
	e := populated(t, plain(t, 2, 1, 1, 2, pager.FP8E4M3), 1, 0)
	require.Equal(t, "41b9da03ec3be7bb", hex.EncodeToString(read(t, e, 0)))
	seqs, err := e.LogicalSeqs(t.Context())
	require.NoError(t, err)
	require.Equal(t, []pager.LogicalSeq{{ID: "seq-seed-0000000000000000", Pages: []pager.PageID{0}, FillInLastPage: 1}}, seqs)
}

func TestVectorB(t *testing.T) {
	t.Parallel()
	e := populated(t, plain(t, 4, 2, 2, 4, pager.BF16), 2, 99)
	for id, want := range [][2]string{
		{"95b2115cc7e430e7b8eed3aec4b245b3", "1096dde3275d399b2bacc7e6ada5d815"},
		{"2a14293a17ee00f6f08623e9dee2244b", "55af5c925c9d269cf9f9ec4d0c0762fc"},
	} {
		b := read(t, e, pager.PageID(id))
		require.Equal(t, want[0], hex.EncodeToString(b[:16]), "K of page %d", id)
		require.Equal(t, want[1], hex.EncodeToString(b[128:144]), "V of page %d", id)
	}
}

// Package pagertest is the conformance suite of pager.Pager: the contract of
// that interface and of the optional abilities, line by line, over ordinary and
// adversarial geometries, and the benchmarks that compare pagers.
package pagertest

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pager"
)

// Factory returns an empty, running pager with the given geometry in which
// exactly capacity pages can be allocated, numbered 0 to capacity-1. Cleaning
// up is the factory's, through tb. A geometry that the pager cannot have is
// skipped with tb.Skip.
type Factory func(tb testing.TB, meta pager.Meta, capacity int) pager.Pager

// Geometry is a named geometry with the number of pages to try it with.
type Geometry struct {
	Name  string
	Meta  pager.Meta
	Pages int
}

// Run runs the suite over the given geometries, by default over Geometries.
func Run(t *testing.T, f Factory, geometries ...Geometry) {
	t.Helper()
	if len(geometries) == 0 {
		geometries = Geometries()
	}
	for _, g := range geometries {
		t.Run("geometry="+g.Name, func(t *testing.T) {
			for _, c := range cases() {
				t.Run(c.name, func(t *testing.T) { c.run(t, &suite{f: f, g: g}) })
			}
		})
	}
}

// Geometries returns the ordinary geometry and the adversarial ones.
func Geometries() []Geometry {
	plain := func(tokens, layers, heads, dim uint32, d pager.Dtype) pager.Meta {
		m, err := pager.Plain(tokens, layers, heads, dim, d)
		if err != nil {
			panic(err) // constants below
		}
		return m
	}
	parts := func(d pager.Dtype, ps ...pager.Part) pager.Meta {
		return pager.Meta{PageTokens: 4, Layers: 2, KVHeads: 2, HeadDim: 4, Dtype: d, Parts: ps}
	}
	fp8 := plain(4, 2, 2, 4, pager.FP8E4M3)
	return []Geometry{
		{"ordinary", plain(8, 4, 4, 8, pager.BF16), 64},
		{"one-token", plain(1, 3, 2, 8, pager.BF16), 33},
		{"two-byte-runs", plain(4, 2, 3, 1, pager.BF16), 17},
		{"odd-size", plain(3, 5, 7, 11, pager.FP8E5M2), 13},
		{"four-byte", plain(2, 3, 1, 5, pager.F32), 9},
		{"one-byte", parts(pager.Opaque, pager.Part{Kind: pager.PartKV, Bytes: 1}), 5},
		{"with-scales", parts(pager.FP8E4M3, append(fp8.Parts,
			pager.Part{Kind: pager.PartScale, Bytes: 64, Form: "k.layer.token.head"},
			pager.Part{Kind: pager.PartScale, Bytes: 64, Form: "v.layer.token.head"})...), 12},
		{"latent", parts(pager.BF16, pager.Part{Kind: pager.PartLatent, Bytes: 2 * 4 * 1152, Form: pager.FormLatent}), 6},
		{"empty-part", parts(pager.Opaque, pager.Part{Kind: pager.PartKV, Bytes: 7}, pager.Part{Kind: pager.PartScale}), 4},
		{"zero-dims", plain(4, 2, 0, 8, pager.BF16), 4},
		{"no-pages", plain(4, 2, 2, 4, pager.BF16), 0},
	}
}

// Large is 10^6 pages of 64 bytes: whatever costs much per page shows.
func Large() Geometry {
	m, err := pager.Plain(4, 1, 1, 4, pager.BF16)
	if err != nil {
		panic(err) // constants
	}
	return Geometry{"million-pages", m, 1_000_000}
}

// suite is what a case works with.
type suite struct {
	f Factory
	g Geometry
}

func (s *suite) open(t *testing.T) pager.Pager {
	t.Helper()
	return s.f(t, s.g.Meta, s.g.Pages)
}

// content fills dst with bytes that depend on tag and position.
func content(dst []byte, tag uint64) {
	var b [8]byte
	for i := 0; i < len(dst); i += 8 {
		z := (tag+1)*0x9E3779B97F4A7C15 + uint64(i)
		z = (z ^ z>>29) * 0xBF58476D1CE4E5B9
		binary.LittleEndian.PutUint64(b[:], z^z>>32)
		copy(dst[i:], b[:])
	}
}

func bytesOf(m pager.Meta, tag uint64) []byte {
	b := make([]byte, m.PageBytes())
	content(b, tag)
	return b
}

// filled allocates and writes n pages, page i with content tag+i, and installs
// one sequence over them.
func filled(t *testing.T, p pager.Pager, n int, tag uint64) []pager.PageID {
	t.Helper()
	ids, err := p.AllocatePages(t.Context(), n)
	require.NoError(t, err)
	require.Len(t, ids, n)
	buf := make([]byte, p.Meta().PageBytes())
	for i, id := range ids {
		content(buf, tag+uint64(i))
		require.NoError(t, p.WritePage(t.Context(), id, buf))
	}
	require.NoError(t, p.InstallLogicalSeqs(t.Context(), []pager.LogicalSeq{{ID: "all", Pages: ids}}))
	return ids
}

// holds checks that page ids[i] has content tag+i.
func holds(t *testing.T, p pager.Pager, ids []pager.PageID, tag uint64) {
	t.Helper()
	got, want := make([]byte, p.Meta().PageBytes()), make([]byte, p.Meta().PageBytes())
	for i, id := range ids {
		require.NoError(t, p.ReadPage(t.Context(), id, got))
		content(want, tag+uint64(i))
		if string(want) != string(got) {
			require.Equal(t, want, got, "page %d", id)
		}
	}
}

// isOneOf requires err to be one of targets.
func isOneOf(t *testing.T, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if errors.Is(err, target) {
			return
		}
	}
	require.Failf(t, "wrong error", "%v is none of %v", err, targets)
}

// RunLarge writes, lists and reads Large's pages and installs one sequence over
// them; under the race detector, a few of them, since one goroutine does it all.
func RunLarge(t *testing.T, f Factory) {
	t.Helper()
	g := Large()
	if racing {
		g.Pages /= 20
	}
	p := f(t, g.Meta, g.Pages)
	ids, err := p.AllocatePages(t.Context(), g.Pages)
	require.NoError(t, err)
	buf, want := make([]byte, g.Meta.PageBytes()), make([]byte, g.Meta.PageBytes())
	for i, id := range ids {
		content(buf, uint64(i))
		if err := p.WritePage(t.Context(), id, buf); err != nil {
			t.Fatal(err)
		}
	}
	require.NoError(t, p.InstallLogicalSeqs(t.Context(), []pager.LogicalSeq{{ID: "all", Pages: ids}}))
	occupied, err := p.OccupiedPages(t.Context())
	require.NoError(t, err)
	require.Len(t, occupied, g.Pages)
	for i, id := range ids {
		if err := p.ReadPage(t.Context(), id, buf); err != nil {
			t.Fatal(err)
		}
		if content(want, uint64(i)); string(buf) != string(want) {
			t.Fatalf("page %d is %x, want %x", id, buf, want)
		}
	}
	seqs, err := p.LogicalSeqs(t.Context())
	require.NoError(t, err)
	require.Len(t, seqs, 1)
	require.Equal(t, ids, seqs[0].Pages)
}

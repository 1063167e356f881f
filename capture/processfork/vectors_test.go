package processfork_test

import (
	"context"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/capture/processfork"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// meta returns the plain geometry P/L/H/D.
func meta(tb testing.TB, tokens, layers, heads, dim uint32, dt pager.Dtype) pager.Meta {
	tb.Helper()
	m, err := pager.Plain(tokens, layers, heads, dim, dt)
	require.NoError(tb, err)
	return m
}

// populated returns the group of a synthetic engine with n pages of seed.
func populated(t *testing.T, m pager.Meta, n int, seed uint64) *manifest.Group {
	t.Helper()
	e, err := synthetic.New(synthetic.Options{Meta: m, Capacity: max(n, 1)})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	require.NoError(t, e.Populate(n, seed))
	ctx := context.Background()
	occupied, err := e.OccupiedPages(ctx)
	require.NoError(t, err)
	seqs, err := e.LogicalSeqs(ctx)
	require.NoError(t, err)
	order, numbered, err := manifest.Number(occupied, seqs)
	require.NoError(t, err)
	h, err := digest.NewHasher(digest.SHA256, nil)
	require.NoError(t, err)
	g := &manifest.Group{Meta: m, Indices: order, Sequences: numbered, Table: manifest.NewTable(digest.SHA256, n, 2)}
	page := make([]byte, m.PageBytes())
	for i, id := range order {
		require.NoError(t, e.ReadPage(ctx, id, page))
		g.Table.Set(i, 0, h.Sum(page[:len(page)/2]))
		g.Table.Set(i, 1, h.Sum(page[len(page)/2:]))
	}
	return g
}

// TestVectors: what the original names the captures of its own fixtures.
func TestVectors(t *testing.T) {
	t.Parallel()
	unit, bench := meta(t, 4, 2, 2, 4, pager.BF16), meta(t, 8, 4, 4, 8, pager.BF16)
	for name, c := range map[string]struct {
		meta  pager.Meta
		pages int
		seed  uint64
		bytes int
		cid   string
	}{
		"A": {meta(t, 2, 1, 1, 2, pager.FP8E4M3), 1, 0, 377, "9a3b177376776ace9692eae74e03c77c26fb7cf594296f109a74976668ab4508"},
		"B": {unit, 2, 99, 541, "8bbd09e1462b4ef28146b05e2ccaba08cc5cd7cbeeaef60f5c4eb6bd4a3d0e37"},
		"C": {unit, 8, 99, 1543, "530ae64d7190faf6861dff4d3fe22268b5440d9524ef82e4df7756464bb20e8b"},
		"D": {unit, 0, 0, 209, "41b9fc3ee02093837d04b40e50e85203a27d1aa6489a7a964ca64c30bb3b9fb9"},
		"E": {bench, 64, 0, 11003, "1dd51309aea3fa90c19d7123e5a435509b588d6454f699373414e79a68dda8e1"},
		"F": {bench, 32, 0, 5595, "38d504ae483f734cb59e06dbaaad9922878dd791bdc3c83a7c712ff75469c6ca"},
		"G": {bench, 64, 12345, 11003, "806f7caf2cad6705e4a38967959dea992da89f19f792bb70532a5365ba4716b1"},
		"H": {meta(t, 1, 1, 1, 1, pager.F32), 1, math.MaxUint64, 373, "345cb71feb2a54fb239e46dcb4c76b1f0de7153c7c3d9c34f7ff7e6c44f0474e"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := populated(t, c.meta, c.pages, c.seed)
			text, err := processfork.EncodeManifest(g)
			require.NoError(t, err)
			require.Len(t, text, c.bytes)
			require.Equal(t, "sha256:"+c.cid, cid(text))
			back, x, err := processfork.DecodeManifest(text, processfork.Options{})
			require.NoError(t, err)
			require.Equal(t, g, back)
			require.Len(t, x.Manifest.Pages, c.pages)
			if name == "A" {
				require.Equal(t, `{"layout":"paged-batchinvariant-v1","page_size_tokens":2,"n_layers":1,"n_heads":1,"head_dim":2,"dtype":"fp8e4m3","pages":[{"ix":0,"k":"sha256:fc8f9866db5a0376c1769a74cc4f6dcd0ea8736a6ef9bb2111751899de31a2b7","v":"sha256:a3980f17a894bb3d1040c9e26c8f8469aa75c40b5764d7925f32cd5e66d10b34"}],"logical_seqs":[{"id":"seq-seed-0000000000000000","page_ixs":[0],"fill_in_last_page":1}]}`, string(text))
			}
		})
	}
}

func TestVectorEscaping(t *testing.T) {
	t.Parallel()
	const id = "a<b>&\u2028\u00e9\u007f\u0001\"\\"
	g := &manifest.Group{
		Meta: meta(t, 16, 1, 1, 1, pager.F16), Table: manifest.NewTable(digest.SHA256, 0, 2), Indices: []pager.PageID{},
		Sequences: []manifest.Sequence{{ID: id, Pages: []uint32{}}},
	}
	text, err := processfork.EncodeManifest(g)
	require.NoError(t, err)
	require.Len(t, text, 205)
	require.Equal(t, "sha256:4cdb6365a999f6972ba556bc1fbe346d494df224ed638a4045f8267901bb895d", cid(text))
	token, err := hex.DecodeString("22613c623e26e280a8c3a97f5c75303030315c225c5c22")
	require.NoError(t, err)
	require.Contains(t, string(text), string(token))
	back, _, err := processfork.DecodeManifest(text, processfork.Options{})
	require.NoError(t, err)
	require.Equal(t, g, back)
}

func TestVectorImage(t *testing.T) {
	t.Parallel()
	x, err := digest.Parse(cid([]byte("x")))
	require.NoError(t, err)
	at, err := processfork.ParseTimestamp("2026-05-05T14:11:00Z")
	require.NoError(t, err)
	m := &processfork.Image{
		SchemaVersion: 1, MediaType: processfork.MediaType,
		Agent: processfork.Agent{Kind: "test", Version: "0", Fingerprint: "f"},
		Model: processfork.Model{Base: x, Diff: x}, Cache: processfork.Cache{Layout: processfork.Layout, Manifest: x},
		World: processfork.World{FS: x, Env: x, Procs: x}, Ledger: x, Messages: x, CreatedAt: at,
	}
	text, err := m.Encode()
	require.NoError(t, err)
	require.Len(t, text, 925)
	require.Equal(t, "sha256:cb904a7f23cdb5e5becbe5b466c896236fa27b687fa6dc5cb06dd5e2eed5bea2", cid(text))
	back, err := processfork.DecodeImage(text, processfork.Options{})
	require.NoError(t, err)
	require.Equal(t, m, back)
}

// TestCanonicalOrder: the digest does not depend on the order in which pages
// and sequences are given (format.rs canonicalize_makes_digest_order_invariant,
// serialize.rs page_canonicalized_order_in_manifest).
func TestCanonicalOrder(t *testing.T) {
	t.Parallel()
	text, err := processfork.EncodeManifest(populated(t, meta(t, 8, 4, 4, 8, pager.BF16), 64, 12345))
	require.NoError(t, err)
	m, err := processfork.DecodePages(text, processfork.Options{})
	require.NoError(t, err)
	m.Seqs = append(m.Seqs, pager.LogicalSeq{ID: "z", Pages: []pager.PageID{3, 2, 1, 0}, FillInLastPage: 5}, pager.LogicalSeq{ID: "a", Pages: []pager.PageID{1}})
	want, err := m.Encode()
	require.NoError(t, err)
	require.Contains(t, string(want), `"logical_seqs":[{"id":"a","page_ixs":[1],"fill_in_last_page":0},{"id":"seq-`)
	require.Contains(t, string(want), `{"id":"z","page_ixs":[3,2,1,0],"fill_in_last_page":5}]`)
	rng := rand.New(rand.NewPCG(3, 4))
	for range 10 {
		rng.Shuffle(len(m.Pages), func(i, j int) { m.Pages[i], m.Pages[j] = m.Pages[j], m.Pages[i] })
		rng.Shuffle(len(m.Seqs), func(i, j int) { m.Seqs[i], m.Seqs[j] = m.Seqs[j], m.Seqs[i] })
		first := m.Pages[0]
		got, err := m.Encode()
		require.NoError(t, err)
		require.Equal(t, cid(want), cid(got))
		require.Equal(t, first, m.Pages[0], "the manifest is not changed")
	}
	// Entries out of order in the file come back in order.
	swapped := strings.Replace(string(text), `{"ix":0,`, `{"ix":64,`, 1)
	swapped = strings.Replace(swapped, `"page_ixs":[0,`, `"page_ixs":[64,`, 1)
	g, _, err := processfork.DecodeManifest([]byte(swapped), processfork.Options{})
	require.NoError(t, err)
	again, err := processfork.EncodeManifest(g)
	require.NoError(t, err)
	require.Contains(t, string(again), `"pages":[{"ix":1,`)
}

// TestDivergence: equal seeds give equal manifests, others do not (pager.rs).
func TestDivergence(t *testing.T) {
	t.Parallel()
	unit := meta(t, 4, 2, 2, 4, pager.BF16)
	first, second := populated(t, unit, 8, 42), populated(t, unit, 8, 42)
	require.Equal(t, first, second)
	require.NotEqual(t, populated(t, unit, 1, 7).Table, populated(t, unit, 1, 9).Table)
}

func TestEncodeManifestRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(g *manifest.Group)
		want   error
	}{
		"dtype":  {func(g *manifest.Group) { g.Meta = meta(t, 4, 2, 2, 4, pager.FP8E5M2) }, kvferry.ErrUnsupported},
		"opaque": {func(g *manifest.Group) { g.Meta = meta(t, 4, 2, 2, 4, pager.Opaque) }, kvferry.ErrUnsupported},
		"parts":  {func(g *manifest.Group) { g.Meta.Parts = []pager.Part{{Kind: pager.PartKV, Bytes: 256}} }, kvferry.ErrUnsupported},
		"form": {func(g *manifest.Group) {
			g.Meta.Parts = []pager.Part{{Kind: pager.PartK, Bytes: 128, Form: "x"}, g.Meta.Parts[1]}
		}, kvferry.ErrUnsupported},
		"algorithm":  {func(g *manifest.Group) { g.Table = manifest.NewTable(digest.BLAKE3, 8, 2) }, kvferry.ErrUnsupported},
		"table":      {func(g *manifest.Group) { g.Table = manifest.NewTable(digest.SHA256, 8, 1) }, kvferry.ErrInvalid},
		"indices":    {func(g *manifest.Group) { g.Indices = g.Indices[1:] }, kvferry.ErrInvalid},
		"index":      {func(g *manifest.Group) { g.Indices[1] = 0 }, kvferry.ErrInvalid},
		"id":         {func(g *manifest.Group) { g.Sequences = append(g.Sequences, g.Sequences[0]) }, kvferry.ErrInvalid},
		"id's text":  {func(g *manifest.Group) { g.Sequences[0].ID = "\xff" }, kvferry.ErrInvalid},
		"fill":       {func(g *manifest.Group) { g.Sequences[0].FillInLastPage = 5 }, kvferry.ErrInvalid},
		"page":       {func(g *manifest.Group) { g.Sequences[0].Pages[0] = 8 }, kvferry.ErrInvalid},
		"page 2^32-": {func(g *manifest.Group) { g.Sequences[0].Pages[0] = math.MaxUint32 }, kvferry.ErrInvalid},
	} {
		g := populated(t, meta(t, 4, 2, 2, 4, pager.BF16), 8, 99)
		c.change(g)
		_, err := processfork.EncodeManifest(g)
		require.ErrorIs(t, err, c.want, name)
	}
	raw := processfork.PageManifest{Meta: meta(t, 4, 2, 2, 4, pager.BF16), Pages: make([]processfork.Page, 1)}
	_, err := raw.Encode()
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

func TestEncodeManifestNormalizes(t *testing.T) {
	t.Parallel()
	g := populated(t, meta(t, 4, 2, 2, 4, pager.BF16), 8, 99)
	g.Sequences[0].FillInLastPage = 0
	want, err := processfork.EncodeManifest(g)
	require.NoError(t, err)
	g.Sequences[0].FillInLastPage = 4
	g.Indices = nil // numbers and indices are the same here
	got, err := processfork.EncodeManifest(g)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
	require.Equal(t, uint32(4), g.Sequences[0].FillInLastPage, "the group is not changed")
}

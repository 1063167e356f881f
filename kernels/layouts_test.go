package kernels

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/pager"
)

// layouts are those that engines use, of geometries with short and odd rows,
// with one head and several.
func layouts(t *testing.T) map[string]*pager.Layout {
	t.Helper()
	ls := make(map[string]*pager.Layout)
	add := func(name string) func(*pager.Layout, error) {
		return func(l *pager.Layout, err error) {
			require.NoError(t, err, name)
			ls[name] = l
		}
	}
	const pages = 5
	for _, g := range []struct {
		name                                 string
		layers, pageTokens, kvHeads, headDim uint32
	}{
		{"heads of 128", 3, 16, 4, 128}, {"one head", 2, 16, 1, 64}, {"odd heads", 2, 5, 3, 9}, {"large pages", 2, 64, 8, 64},
	} {
		m, err := pager.Plain(g.pageTokens, g.layers, g.kvHeads, g.headDim, pager.BF16)
		require.NoError(t, err)
		add("KVOutermost " + g.name)(pager.KVOutermost(m, pages))
		add("KVPerPage NHD " + g.name)(pager.KVPerPage(m, pages, false))
		add("KVPerPage HND " + g.name)(pager.KVPerPage(m, pages, true))
		add("KVPacked " + g.name)(pager.KVPacked(m, pages))
		add("TokenPools " + g.name)(pager.TokenPools(m, pages))
		for _, order := range pager.Orders() {
			add("KVOrdered " + order + " " + g.name)(pager.KVOrdered(m, pages, order))
		}
	}
	add("Latent")(pager.Latent{Layers: 3, PageTokens: 64, Dtype: pager.BF16, RowBytes: 1152, TokenStride: 1152, PageStride: 64 * 1152}.Layout(pages))
	add("Latent padded")(pager.Latent{Layers: 2, PageTokens: 16, Dtype: pager.BF16, RowBytes: 1152, TokenStride: 1280, PageStride: 17 * 1280}.Layout(pages))
	add("Latent of bytes")(pager.Latent{Layers: 2, PageTokens: 16, Dtype: pager.Opaque, RowBytes: 656, TokenStride: 656, PageStride: 16 * 656}.Layout(pages))
	return ls
}

// runsOf returns a mapping's runs; at says where each region is.
func runsOf(m *pager.Mapping, at func(region int) cuda.Ptr) []Run {
	var runs []Run
	for _, r := range m.Runs() {
		region := m.Regions()[r.Region]
		runs = append(runs, Run{
			Address: at(r.Region) + cuda.Ptr(region.Offset+r.Local), PageStride: region.Stride, LocalStride: r.LocalStride,
			Canonical: r.Canonical, CanonicalStride: r.CanonicalStride, Bytes: r.Bytes, Count: r.Count,
		})
	}
	return runs
}

// made is an address for each region.
func made(region int) cuda.Ptr { return somewhere + cuda.Ptr(region)<<30 }

// TestInPlaceOfLayouts: pages of layouts with long rows can be hashed where they
// are; those of interleaved heads cannot.
func TestInPlaceOfLayouts(t *testing.T) {
	for name, want := range map[string]bool{
		"KVOutermost heads of 128": true, "KVPerPage NHD large pages": true, "TokenPools heads of 128": true,
		"KVPacked heads of 128": false, "KVPerPage HND heads of 128": false, "KVOutermost odd heads": false,
	} {
		layout := layouts(t)[name]
		mapping, err := layout.Compile()
		require.NoError(t, err)
		runs := runsOf(mapping, made)
		r, _, err := planRuns(runs, int64(layout.Meta.PageBytes()))
		require.NoError(t, err, name)
		half := r.pageBytes / 2
		require.Equal(t, want, r.InPlace([]Part{{0, half}, {half, half}}), name)
	}
}

// TestReferences holds the references against package pager: what they say that
// kernels do is what it does on the host.
func TestReferences(t *testing.T) {
	noise := rand.NewChaCha8([32]byte{1})
	for name, layout := range layouts(t) {
		mapping, err := layout.Compile()
		require.NoError(t, err, name)
		var is images
		var host [][]byte
		for i, r := range mapping.Regions() {
			memory := make([]byte, r.Bytes)
			_, _ = noise.Read(memory) // it cannot fail
			is = append(is, image{uint64(made(i)), memory})
			host = append(host, bytes.Clone(memory))
		}
		bound, err := mapping.Bind(host)
		require.NoError(t, err, name)
		page, runs, numbers := int64(layout.Meta.PageBytes()), runsOf(mapping, made), []uint32{4, 0, 2}
		staging := make([]byte, int64(len(numbers))*(page+3))
		gatherReference(is, runs, numbers, staging, page+3)
		want := make([]byte, page)
		for i, n := range numbers {
			require.NoError(t, bound.Gather(want, pager.PageID(n)))
			require.True(t, bytes.Equal(want, staging[int64(i)*(page+3):][:page]), name)
		}
		_, _ = noise.Read(staging)
		scatterReference(is, runs, numbers, staging, page+3)
		for i, n := range numbers {
			require.NoError(t, bound.Scatter(pager.PageID(n), staging[int64(i)*(page+3):][:page]))
		}
		for i := range is {
			require.True(t, bytes.Equal(host[i], is[i].bytes), "%s: region %d", name, i)
		}
	}
}

// TestHashReference: the sums are those of BLAKE3's own test vectors, of input
// bytes 0, 1, ... 250, 0 and so on.
func TestHashReference(t *testing.T) {
	input := make([]byte, 1025)
	for i := range input {
		input[i] = byte(i % 251)
	}
	key := [32]byte([]byte("whats the Elvish word for friend"))
	parts := []Part{{0, 0}, {0, 1}, {0, 1025}}
	require.Equal(t, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"+
		"2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"+
		"d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444", fmt.Sprintf("%x", hashReference(input, parts, nil)))
	require.Equal(t, "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26"+
		"6d7878dfff2f485635d39013278ae14f1454b8c0a3a2d34bc1ab38228a80c95b"+
		"357dc55de0c7e382c900fd6e320acc04146be01db6a8ce7210b7189bd664ea69", fmt.Sprintf("%x", hashReference(input, parts, &key)))
}

func TestCompareReference(t *testing.T) {
	got := bytes.Repeat([]byte{1}, 5*2*DigestBytes)
	want := bytes.Clone(got)
	want[2*2*DigestBytes-1] = 2                            // page 1, the last byte of its second part
	clear(want[2*2*DigestBytes : 3*2*DigestBytes])         // page 2
	copy(got[4*2*DigestBytes:], make([]byte, DigestBytes)) // page 4, its first part
	copy(want[4*2*DigestBytes:], make([]byte, DigestBytes))
	require.Equal(t, []uint32{1, 2}, compareReference(got, want, 5, 2))
	require.Equal(t, []byte{1, 0, 0, 0, 2, 0, 0, 0}, words([]uint32{1, 2}))
}

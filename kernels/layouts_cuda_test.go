//go:build cuda

package kernels

import (
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

// TestLayouts gathers and scatters the pages of every engine's layout, as
// package pager does it on the host. Padding stays as it was.
func TestLayouts(t *testing.T) {
	l := newLab(t)
	for name, layout := range layouts(t) {
		l.layout(name, layout)
	}
}

func (l *lab) layout(name string, layout *pager.Layout) {
	t := l.t
	mapping, err := layout.Compile()
	require.NoError(t, err, name)
	var areas []*area
	var host [][]byte
	for _, r := range mapping.Regions() {
		a := l.random(r.Bytes)
		areas, host = append(areas, a), append(host, a.host)
	}
	bound, err := mapping.Bind(host)
	require.NoError(t, err, name)
	page := int64(layout.Meta.PageBytes())
	r, err := l.set.NewRuns(runsOf(mapping, areas), page)
	require.NoError(t, err, name)
	numbers := l.some(layout.Pages-1, layout.Pages)
	ns, staging := l.holding(words(numbers)), l.random(int64(len(numbers))*page)
	pages := Pages{Numbers: ns.at(0), Count: len(numbers), Staging: staging.at(0), Stride: page}
	require.NoError(t, r.Gather(&l.q, pages))
	l.run()
	for i, n := range numbers {
		require.NoError(t, bound.Gather(staging.host[int64(i)*page:][:page], pager.PageID(n)))
	}
	require.Equal(t, -1, differs(l.content(staging), staging.host), "gather: %s", name)

	other := l.random(int64(len(numbers)) * page)
	pages.Staging = other.at(0)
	require.NoError(t, r.Scatter(&l.q, pages))
	l.run()
	for i, n := range numbers {
		require.NoError(t, bound.Scatter(pager.PageID(n), other.host[int64(i)*page:][:page]))
	}
	for i, a := range areas {
		require.Equal(t, -1, differs(l.content(a), a.host), "scatter: region %d: %s", i, name)
	}
	var parts []Part
	at := int64(0)
	for _, p := range layout.Meta.Parts {
		parts = append(parts, Part{at, int64(p.Bytes)})
		at += int64(p.Bytes)
	}
	if r.InPlace(parts) {
		l.inPlace(areas, runsOf(mapping, areas), page, numbers, parts, l.key(), 0)
	}
	require.NoError(t, r.Close())
	l.check(append(areas, ns, staging, other), "%s", name)
}

// runsOf returns a mapping's runs with the regions in areas.
func runsOf(m *pager.Mapping, areas []*area) []Run {
	var runs []Run
	for _, r := range m.Runs() {
		region := m.Regions()[r.Region]
		runs = append(runs, Run{
			Address: areas[r.Region].at(region.Offset + r.Local), PageStride: region.Stride, LocalStride: r.LocalStride,
			Canonical: r.Canonical, CanonicalStride: r.CanonicalStride, Bytes: r.Bytes, Count: r.Count,
		})
	}
	return runs
}

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
		var runs []Run
		for _, r := range mapping.Runs() {
			region := mapping.Regions()[r.Region]
			runs = append(runs, Run{
				Address: somewhere + cuda.Ptr(r.Region)<<30 + cuda.Ptr(region.Offset+r.Local), PageStride: region.Stride, LocalStride: r.LocalStride,
				Canonical: r.Canonical, CanonicalStride: r.CanonicalStride, Bytes: r.Bytes, Count: r.Count,
			})
		}
		r, _, err := planRuns(runs, int64(layout.Meta.PageBytes()))
		require.NoError(t, err, name)
		half := r.pageBytes / 2
		require.Equal(t, want, r.InPlace([]Part{{0, half}, {half, half}}), name)
	}
}

//go:build cuda

package kernels

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/pager"
)

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
	r, err := l.set.NewRuns(runsAt(mapping, areas), page)
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
		l.inPlace(areas, runsAt(mapping, areas), page, numbers, parts, l.key(), 0)
	}
	require.NoError(t, r.Close())
	l.check(append(areas, ns, staging, other), "%s", name)
}

// runsAt returns a mapping's runs with the regions in areas.
func runsAt(m *pager.Mapping, areas []*area) []Run {
	return runsOf(m, func(region int) cuda.Ptr { return areas[region].at(0) })
}

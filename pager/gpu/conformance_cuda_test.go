//go:build cuda

package gpu

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/pagertest"
)

// dense keeps each part in a region of its own, pages one after the other with
// 3 bytes between them.
func dense(m pager.Meta, pages int) (*pager.Layout, error) {
	l := &pager.Layout{Meta: m, Pages: pages, Runs: make([][]pager.Run, len(m.Parts))}
	for i, p := range m.Parts {
		n := int64(p.Bytes)
		l.Regions = append(l.Regions, pager.Region{Bytes: int64(pages) * (n + 3), Stride: n + 3})
		if n > 0 {
			l.Runs[i] = []pager.Run{{Region: i, Bytes: n, Count: 1}}
		}
	}
	return l, nil
}

// factory opens plain geometries in the layout of build and others dense.
func factory(build func(pager.Meta, int) (*pager.Layout, error), change func(*Config)) pagertest.Factory {
	return func(tb testing.TB, m pager.Meta, capacity int) pager.Pager {
		if !m.IsPlain() {
			build = dense
		}
		l, err := build(m, capacity)
		require.NoError(tb, err)
		return newWorld(tb, l).open(change).View()
	}
}

// some returns the geometries with the given names.
func some(names ...string) []pagertest.Geometry {
	var gs []pagertest.Geometry
	for _, g := range pagertest.Geometries() {
		if slices.Contains(names, g.Name) {
			gs = append(gs, g)
		}
	}
	return gs
}

func TestConformance(t *testing.T) {
	pagertest.Run(t, factory(dense, nil))
}

func TestConformanceOfEveryPath(t *testing.T) {
	eachPath(t, func(t *testing.T, force func(*Config)) {
		twoPages := func(c *Config) { // as little staging as can be
			force(c)
			c.StagingBytes = 2 * int64(c.Layout.Meta.PageBytes())
		}
		pagertest.Run(t, factory(dense, force), some("odd-size")...)
		pagertest.Run(t, factory(pager.KVPacked, twoPages), some("two-byte-runs")...)
		pagertest.Run(t, factory(pager.TokenPools, force), some("four-byte")...)
	})
}

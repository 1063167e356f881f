package plugin_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pagecache"
	"github.com/kvferry/kvferry/pagecache/plugin"
)

const benchPages = 1 << 12

// benchCache returns a cache with benchPages unpinned pages.
func benchCache(b *testing.B, shared bool) *plugin.Cache {
	b.Helper()
	mem := newArena(b, 1<<30)
	g := plugin.NewGroup(mem)
	c, err := open(g, mem, shared, 4096)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, c.Destroy()) })
	require.NoError(b, c.Cachesize(2*benchPages))
	for key := range uint32(benchPages) {
		require.NoError(b, c.Unpin(fetch(b, c, key+1, plugin.Allocate), plugin.CanDecide))
	}
	return c
}

var modes = map[string]bool{"group=shared": true, "group=own": false}

// BenchmarkFetchHit fetches pinned pages: one hit per operation.
func BenchmarkFetchHit(b *testing.B) {
	for name, shared := range modes {
		b.Run(name, func(b *testing.B) {
			c := benchCache(b, shared)
			for key := range uint32(benchPages) {
				fetch(b, c, key+1, plugin.NoAllocation)
			}
			b.ReportAllocs()
			key := uint32(0)
			for b.Loop() {
				key = key*5 + 1
				if _, ok, _ := c.Fetch(key%benchPages+1, plugin.NoAllocation); !ok {
					b.Fatal("miss")
				}
			}
		})
	}
}

// BenchmarkFetchUnpin pins a page and lets it go.
func BenchmarkFetchUnpin(b *testing.B) {
	for name, shared := range modes {
		b.Run(name, func(b *testing.B) {
			c := benchCache(b, shared)
			b.ReportAllocs()
			key := uint32(0)
			for b.Loop() {
				key = key*5 + 1
				p, _, _ := c.Fetch(key%benchPages+1, plugin.NoAllocation)
				if err := c.Unpin(p, plugin.CanDecide); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRecycle creates pages in the place of the oldest.
func BenchmarkRecycle(b *testing.B) {
	for name, shared := range modes {
		b.Run(name, func(b *testing.B) {
			c := benchCache(b, shared)
			require.NoError(b, c.Cachesize(benchPages))
			b.ReportAllocs()
			key := uint32(benchPages)
			for b.Loop() {
				key++
				p, _, _ := c.Fetch(key, plugin.Allocate)
				if err := c.Unpin(p, plugin.CanDecide); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkParallel fetches and unpins in one cache per goroutine over one
// arena.
func BenchmarkParallel(b *testing.B) {
	mem := newArena(b, 1<<30)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		if err := spin(mem, pb.Next); err != nil {
			b.Error(err)
		}
	})
}

func spin(mem *pagecache.Arena, more func() bool) error {
	c, err := plugin.Create(mem, 4096, 208, true)
	if err != nil {
		return err
	}
	if err := c.Cachesize(2 * benchPages); err != nil {
		return err
	}
	for key := uint32(0); more(); key = key*5 + 1 {
		p, _, err := c.Fetch(key%benchPages+1, plugin.Allocate)
		if err == nil {
			err = c.Unpin(p, plugin.CanDecide)
		}
		if err != nil {
			return err
		}
	}
	return c.Destroy()
}

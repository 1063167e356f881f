package plugin_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pagecache"
	"github.com/kvferry/kvferry/pagecache/plugin"
)

var errWrongPage = errors.New("a page holds what was written to another")

// TestParallel runs caches of one group, and caches with groups of their own, in
// goroutines of their own over one arena. Each keeps to the contract on its own
// pages while others evict what it unpins.
func TestParallel(t *testing.T) {
	t.Parallel()
	for name, shared := range map[string]bool{"one group": true, "groups of their own": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mem := newArena(t, 64<<20)
			g := plugin.NewGroup(mem)
			var wg sync.WaitGroup
			for worker := range uint64(4) {
				wg.Go(func() {
					for round := range uint64(3) {
						c, err := open(g, mem, shared, 512<<(worker%2))
						if err == nil {
							err = work(c, rand.New(rand.NewPCG(worker, round)))
						}
						if err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func open(g *plugin.Group, mem *pagecache.Arena, shared bool, pageBytes int) (*plugin.Cache, error) {
	if shared {
		return g.Create(pageBytes, 40, true)
	}
	return plugin.Create(mem, pageBytes, 40, true)
}

// work pins pages, checks that they hold what was written under that pin, and
// destroys the cache.
func work(c *plugin.Cache, r *rand.Rand) error {
	if err := c.Cachesize(30); err != nil {
		return err
	}
	pinned := map[uint32]plugin.Page{}
	for i := range 3000 {
		key := 1 + r.Uint32N(60)
		var err error
		switch p, have := pinned[key]; {
		case have:
			err = letGo(c, p, key, r)
			delete(pinned, key)
		case i%500 == 499:
			err = c.Shrink()
		default:
			if p, have, err = c.Fetch(key, plugin.CreateFlag(r.IntN(3))); have {
				pinned[key] = p
				err = claim(p, key)
			}
		}
		if err != nil {
			return err
		}
	}
	return c.Destroy()
}

// claim checks that a page is new or holds its key, and writes it.
func claim(p plugin.Page, key uint32) error {
	extra, err := p.Extra()
	if err != nil {
		return err
	}
	if !zero(extra) && extra[0] != byte(key) {
		return errWrongPage
	}
	content, err := p.Bytes()
	if err != nil {
		return err
	}
	for _, b := range [][]byte{content, extra} {
		for i := range b {
			b[i] = byte(key)
		}
	}
	return nil
}

// letGo checks that a page is still whole and unpins it.
func letGo(c *plugin.Cache, p plugin.Page, key uint32, r *rand.Rand) error {
	content, err := p.Bytes()
	if err != nil {
		return err
	}
	for _, x := range content {
		if x != byte(key) {
			return errWrongPage
		}
	}
	if _, err := c.At(mustIndex(p)); err != nil {
		return err
	}
	return c.Unpin(p, plugin.DiscardStrategy(r.IntN(2)))
}

func mustIndex(p plugin.Page) uint32 {
	i, err := p.Index()
	if err != nil {
		panic(err)
	}
	return i
}

// TestAllocations: fetching what is there, unpinning, and creating a page in
// the place of another allocate nothing.
func TestAllocations(t *testing.T) {
	c := newCache(t, 4096, 208, true)
	require.NoError(t, c.Cachesize(100))
	p := fetch(t, c, 1, plugin.Allocate)
	require.NoError(t, c.Unpin(p, plugin.CanDecide))
	hits := testing.AllocsPerRun(1000, func() {
		p, _, err := c.Fetch(1, plugin.NoAllocation)
		if err == nil {
			err = c.Unpin(p, plugin.CanDecide)
		}
		if err != nil {
			t.Error(err)
		}
	})
	require.Zero(t, hits)
	key := uint32(1)
	misses := testing.AllocsPerRun(1000, func() {
		key++
		p, _, err := c.Fetch(key, plugin.Allocate)
		if err == nil {
			err = c.Unpin(p, plugin.CanDecide)
		}
		if err != nil {
			t.Error(err)
		}
	})
	require.Zero(t, misses)
}

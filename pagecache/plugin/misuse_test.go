package plugin_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pagecache"
	"github.com/kvferry/kvferry/pagecache/plugin"
)

// uses returns the error of each way to use a page.
func uses(c *plugin.Cache, p plugin.Page) map[string]error {
	out := map[string]error{}
	_, out["bytes"] = p.Bytes()
	_, out["extra"] = p.Extra()
	_, out["header"] = p.Header()
	_, out["key"] = p.Key()
	_, out["index"] = p.Index()
	out["rekey"] = c.Rekey(p, 1, 99)
	out["unpin"] = c.Unpin(p, plugin.CanDecide)
	out["discard"] = c.Unpin(p, plugin.MustBeEvicted)
	return out
}

// TestUseAfterTheEnd: a page whose pin ended is an error in every use, also when
// the same key, or another one in the same memory, is pinned again.
func TestUseAfterTheEnd(t *testing.T) {
	t.Parallel()
	ends := map[string]func(*plugin.Cache, plugin.Page) error{
		"unpin":    func(c *plugin.Cache, p plugin.Page) error { return c.Unpin(p, plugin.CanDecide) },
		"discard":  func(c *plugin.Cache, p plugin.Page) error { return c.Unpin(p, plugin.MustBeEvicted) },
		"truncate": func(c *plugin.Cache, _ plugin.Page) error { return c.Truncate(1) },
	}
	for name, end := range ends {
		for _, key := range []uint32{0, 1, 2} { // nothing, the same, another one is fetched afterwards
			c := newCache(t, 512, 8, true)
			require.NoError(t, c.Cachesize(2))
			p := fetch(t, c, 1, plugin.Allocate)
			require.NoError(t, end(c, p), name)
			if key != 0 {
				mark(t, fetch(t, c, key, plugin.Allocate), key)
			}
			for use, err := range uses(c, p) {
				require.ErrorIs(t, err, kvferry.ErrInvalid, "%s after %s, then key %d", use, name, key)
			}
			if key != 0 {
				require.Equal(t, key, tagOf(t, fetch(t, c, key, plugin.NoAllocation)), "the other page is untouched")
			}
		}
	}
}

// TestAfterDestroy: every call is ErrClosed, on the cache and on its pages.
func TestAfterDestroy(t *testing.T) {
	t.Parallel()
	c, err := plugin.Create(newArena(t, 1<<20), 512, 8, true)
	require.NoError(t, err)
	p := fetch(t, c, 1, plugin.Allocate)
	require.NoError(t, c.Destroy())
	for use, err := range uses(c, p) {
		require.ErrorIs(t, err, kvferry.ErrClosed, use)
	}
	_, _, err = c.Fetch(1, plugin.Allocate)
	require.ErrorIs(t, err, kvferry.ErrClosed)
	_, err = c.Pagecount()
	require.ErrorIs(t, err, kvferry.ErrClosed)
	_, err = c.At(0)
	require.ErrorIs(t, err, kvferry.ErrClosed)
	for _, err := range []error{c.Cachesize(1), c.Cachesize(-1), c.Truncate(1), c.Truncate(0), c.Shrink(), c.Destroy()} {
		require.ErrorIs(t, err, kvferry.ErrClosed)
	}
}

// TestWrongArguments are errors that change nothing.
func TestWrongArguments(t *testing.T) {
	t.Parallel()
	c, other := newCache(t, 512, 8, true), newCache(t, 512, 8, true)
	require.NoError(t, c.Cachesize(10))
	p := fetch(t, c, 1, plugin.Allocate)
	mark(t, p, 5)
	unpinned := fetch(t, c, 2, plugin.Allocate)
	require.NoError(t, c.Unpin(unpinned, plugin.CanDecide))

	_, _, zeroKey := c.Fetch(0, plugin.Allocate)
	_, _, unknownFlag := c.Fetch(1, 3)
	index, err := p.Index()
	require.NoError(t, err)
	_, unknownIndex := c.At(1 << 20)
	_, unusedIndex := c.At(index + 2)
	_, unpinnedIndex := c.At(index + 1)
	for name, err := range map[string]error{
		"fetch key 0":                zeroKey,
		"fetch with an unknown flag": unknownFlag,
		"truncate at 0":              c.Truncate(0),
		"negative size":              c.Cachesize(-1),
		"unpin twice":                c.Unpin(unpinned, plugin.CanDecide),
		"unpin the zero page":        c.Unpin(plugin.Page{}, plugin.CanDecide),
		"unpin another cache's page": other.Unpin(p, plugin.MustBeEvicted),
		"rekey another cache's page": other.Rekey(p, 1, 3),
		"rekey an absent key":        c.Rekey(p, 9, 3),
		"rekey an unpinned page":     c.Rekey(unpinned, 2, 3),
		"rekey to key 0":             c.Rekey(p, 1, 0),
		"rekey to the same key":      c.Rekey(p, 1, 1),
		"index out of range":         unknownIndex,
		"index never used":           unusedIndex,
		"index of an unpinned page":  unpinnedIndex,
		"content of the zero page":   uses(c, plugin.Page{})["bytes"],
		"group without memory":       groupWithout(),
	} {
		require.ErrorIs(t, err, kvferry.ErrInvalid, name)
	}
	require.Equal(t, 2, count(t, c))
	require.EqualValues(t, 5, tagOf(t, fetch(t, c, 1, plugin.NoAllocation)))
	at, err := c.At(index)
	require.NoError(t, err)
	require.Equal(t, p, at)
}

func groupWithout() error {
	_, err := plugin.NewGroup(nil).Create(512, 8, true)
	return err
}

// TestNoMemory: flag 1 is refused, flag 2 is an error, unless an unpinned page of
// the group can give its place; what is pinned is untouched.
func TestNoMemory(t *testing.T) {
	t.Parallel()
	room := 4 * int(pagecache.RoundedBytes(512+8+plugin.HeaderBytes+16))
	g := plugin.NewGroup(newArena(t, int64(room)))
	c, err := g.Create(512, 8, true)
	require.NoError(t, err)
	idle, err := g.Create(1024, 8, true)
	require.NoError(t, err)
	require.NoError(t, c.Cachesize(100))
	require.NoError(t, idle.Cachesize(100))
	big := fetch(t, idle, 1, plugin.Allocate)
	require.NoError(t, idle.Unpin(big, plugin.CanDecide))

	pages := []plugin.Page{}
	for key := uint32(1); key <= 4; key++ {
		pages = append(pages, fetch(t, c, key, plugin.Allocate))
	}
	require.Zero(t, count(t, idle), "its page made room")
	_, ok, err := c.Fetch(5, plugin.AllocateIfConvenient)
	require.NoError(t, err)
	require.False(t, ok)
	_, _, err = c.Fetch(5, plugin.Allocate)
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	require.Equal(t, 4, count(t, c))

	require.NoError(t, c.Unpin(pages[1], plugin.CanDecide))
	fetch(t, c, 5, plugin.Allocate)
	absent(t, c, 2)
	require.Equal(t, 4, count(t, c))
	require.NoError(t, c.Destroy())
	require.NoError(t, idle.Destroy())
}

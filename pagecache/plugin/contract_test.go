package plugin_test

import (
	"math"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pagecache/plugin"
)

// TestHitIsTheSamePage: content, extra area and address stay while a page is in
// the cache, whatever the flag, and two fetches give equal pages.
func TestHitIsTheSamePage(t *testing.T) {
	t.Parallel()
	c := newCache(t, 1024, 40, true)
	require.NoError(t, c.Cachesize(100))
	p := fetch(t, c, 7, plugin.Allocate)
	mark(t, p, 77)
	content, _ := areas(t, p)
	for _, flag := range []plugin.CreateFlag{plugin.NoAllocation, plugin.AllocateIfConvenient, plugin.Allocate} {
		require.Equal(t, p, fetch(t, c, 7, flag))
	}
	require.NoError(t, c.Unpin(p, plugin.CanDecide))
	q := fetch(t, c, 7, plugin.NoAllocation)
	require.NotEqual(t, p, q, "a new pin")
	require.EqualValues(t, 77, tagOf(t, q))
	again, _ := areas(t, q)
	require.Same(t, unsafe.SliceData(content), unsafe.SliceData(again))
	require.Equal(t, 1, count(t, c))
}

// TestAreas: lengths, alignment, zeros and slack of each size, on fresh and on
// recycled memory.
func TestAreas(t *testing.T) {
	t.Parallel()
	for pageBytes := plugin.MinPageBytes; pageBytes <= plugin.MaxPageBytes; pageBytes *= 2 {
		for _, extraBytes := range []int{plugin.MinExtraBytes, 9, 136, 208, 248, plugin.MaxExtraBytes} {
			c := newCache(t, pageBytes, extraBytes, true)
			for key := range uint32(4) {
				p := fetch(t, c, key+1, plugin.Allocate)
				content, extra := areas(t, p)
				header, err := p.Header()
				require.NoError(t, err)
				require.Len(t, content, pageBytes)
				require.Len(t, extra, extraBytes)
				require.Len(t, header, plugin.HeaderBytes)
				require.True(t, zero(extra) && zero(header))
				at := uintptr(unsafe.Pointer(unsafe.SliceData(content)))
				after := uintptr(unsafe.Pointer(unsafe.SliceData(extra)))
				require.Zero(t, at%8)
				require.Zero(t, after%8)
				require.Equal(t, at+uintptr(pageBytes)+plugin.HeaderBytes, after)
				for _, b := range [][]byte{content, header, extra} {
					require.Equal(t, len(b), cap(b))
					for i := range b {
						b[i] = 0xff
					}
				}
				require.NoError(t, c.Unpin(p, plugin.MustBeEvicted))
			}
		}
	}
}

// TestSizesOutsideTheContract are refused before anything is allocated.
func TestSizesOutsideTheContract(t *testing.T) {
	t.Parallel()
	mem := newArena(t, 1<<20)
	for _, size := range [][2]int{
		{0, 208}, {-4096, 208}, {256, 208}, {511, 208}, {1000, 208}, {65537, 208}, {131072, 208}, {math.MinInt, 208},
		{4096, -1}, {4096, 0}, {4096, 7}, {4096, 300}, {4096, 1 << 30},
	} {
		_, err := plugin.Create(mem, size[0], size[1], true)
		require.ErrorIs(t, err, kvferry.ErrInvalid, "%v", size)
	}
	_, err := plugin.Create(nil, 4096, 208, true)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

// TestPinnedPagesStay: nothing but unpin, truncate and destroy ends a pin.
func TestPinnedPagesStay(t *testing.T) {
	t.Parallel()
	c := newCache(t, 512, 8, true)
	require.NoError(t, c.Cachesize(3))
	pages := map[uint32]plugin.Page{}
	for key := uint32(1); key <= 20; key++ {
		pages[key] = fetch(t, c, key, plugin.Allocate)
		mark(t, pages[key], key)
		require.NoError(t, c.Shrink())
		require.NoError(t, c.Cachesize(int(20-key)))
	}
	require.Equal(t, 20, count(t, c))
	for key, p := range pages {
		require.Equal(t, p, fetch(t, c, key, plugin.NoAllocation))
		require.Equal(t, key, tagOf(t, p))
	}
}

// TestTwoPinsOneUnpin: an unpinned page may go, however often it was fetched.
func TestTwoPinsOneUnpin(t *testing.T) {
	t.Parallel()
	c := newCache(t, 512, 8, true)
	require.NoError(t, c.Cachesize(10))
	p := fetch(t, c, 1, plugin.Allocate)
	require.Equal(t, p, fetch(t, c, 1, plugin.Allocate))
	require.NoError(t, c.Unpin(p, plugin.CanDecide))
	require.NoError(t, c.Shrink())
	absent(t, c, 1)
}

// TestRekeyOntoOccupied: what was unpinned there is gone for good; what is
// pinned there stays, and so does the page.
func TestRekeyOntoOccupied(t *testing.T) {
	t.Parallel()
	c := newCache(t, 512, 8, true)
	require.NoError(t, c.Cachesize(10))
	a, b := fetch(t, c, 1, plugin.Allocate), fetch(t, c, 2, plugin.Allocate)
	mark(t, a, 11)
	mark(t, b, 22)
	require.ErrorIs(t, c.Rekey(a, 1, 2), kvferry.ErrInvalid)
	require.Equal(t, a, fetch(t, c, 1, plugin.NoAllocation))
	require.Equal(t, b, fetch(t, c, 2, plugin.NoAllocation))
	require.EqualValues(t, 22, tagOf(t, b))

	require.NoError(t, c.Unpin(b, plugin.CanDecide))
	content, _ := areas(t, a)
	require.NoError(t, c.Rekey(a, 1, 2))
	require.Equal(t, 1, count(t, c))
	absent(t, c, 1)
	require.Equal(t, a, fetch(t, c, 2, plugin.NoAllocation), "it stays pinned")
	moved, _ := areas(t, a)
	require.Same(t, unsafe.SliceData(content), unsafe.SliceData(moved))
	require.EqualValues(t, 11, tagOf(t, a))
	key, err := a.Key()
	require.NoError(t, err)
	require.EqualValues(t, 2, key)
	require.NoError(t, c.Unpin(a, plugin.MustBeEvicted))
	absent(t, c, 2)
}

// TestTruncate removes what is at the limit or above, with every state and
// with keys at the end of the range.
func TestTruncate(t *testing.T) {
	t.Parallel()
	for _, limit := range []uint32{1, 2, 5, 300, 1000, 1 << 31, 1<<32 - 2, 1<<32 - 1} {
		c := newCache(t, 512, 8, true)
		require.NoError(t, c.Cachesize(5000))
		keys := []uint32{1<<32 - 1, 1<<32 - 2, 1 << 31, 1<<31 - 1}
		for key := uint32(1); key <= 600; key++ {
			keys = append(keys, key)
		}
		below := 0
		for i, key := range keys {
			p := fetch(t, c, key, plugin.Allocate)
			if i%3 == 0 {
				require.NoError(t, c.Unpin(p, plugin.CanDecide))
			}
			if key < limit {
				below++
			}
		}
		require.NoError(t, c.Truncate(limit))
		require.Equal(t, below, count(t, c), "limit %d", limit)
		for _, key := range keys {
			_, ok, err := c.Fetch(key, plugin.NoAllocation)
			require.NoError(t, err)
			require.Equal(t, key < limit, ok, "key %d, limit %d", key, limit)
		}
		fetch(t, c, 1<<32-1, plugin.Allocate) // later keys may be larger
	}
}

// TestNotPurgeable: nothing is evicted, not even what is unpinned, alone or in a
// group whose other caches want memory.
func TestNotPurgeable(t *testing.T) {
	t.Parallel()
	g := plugin.NewGroup(newArena(t, 1<<30))
	c, err := g.Create(512, 8, false)
	require.NoError(t, err)
	other, err := g.Create(512, 8, true)
	require.NoError(t, err)
	require.NoError(t, c.Cachesize(1))
	for key := uint32(1); key <= 50; key++ {
		p := fetch(t, c, key, plugin.Allocate)
		mark(t, p, key)
		if key%2 == 0 {
			require.NoError(t, c.Unpin(p, plugin.CanDecide))
		}
	}
	for key := uint32(1); key <= 50; key++ {
		p := fetch(t, other, key, plugin.Allocate)
		require.NoError(t, other.Unpin(p, plugin.CanDecide))
	}
	require.NoError(t, other.Shrink())
	require.NoError(t, c.Shrink())
	require.NoError(t, c.Cachesize(0))
	require.Equal(t, 50, count(t, c))
	for key := uint32(1); key <= 50; key++ {
		require.Equal(t, key, tagOf(t, fetch(t, c, key, plugin.NoAllocation)))
	}
	_, ok, err := c.Fetch(51, plugin.AllocateIfConvenient)
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, other.Destroy())
	require.NoError(t, c.Destroy())
}

package plugin_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/pagecache"
	"github.com/kvferry/kvferry/pagecache/plugin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newArena returns memory that must all be free when the test ends.
func newArena(t testing.TB, limitBytes int64) *pagecache.Arena {
	t.Helper()
	a, err := pagecache.NewArena(pagecache.ArenaOptions{LimitBytes: limitBytes})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	return a
}

// newCache returns a cache of its own group that the test's end destroys.
func newCache(t testing.TB, pageBytes, extraBytes int, purgeable bool) *plugin.Cache {
	t.Helper()
	c, err := plugin.Create(newArena(t, 1<<30), pageBytes, extraBytes, purgeable)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Destroy()) })
	return c
}

// fetch returns a page that must be there or be created.
func fetch(t testing.TB, c *plugin.Cache, key uint32, create plugin.CreateFlag) plugin.Page {
	t.Helper()
	p, ok, err := c.Fetch(key, create)
	require.NoError(t, err)
	require.True(t, ok, "key %d", key)
	return p
}

// absent requires that a key is not in the cache.
func absent(t testing.TB, c *plugin.Cache, key uint32) {
	t.Helper()
	_, ok, err := c.Fetch(key, plugin.NoAllocation)
	require.NoError(t, err)
	require.False(t, ok, "key %d", key)
}

func count(t testing.TB, c *plugin.Cache) int {
	t.Helper()
	n, err := c.Pagecount()
	require.NoError(t, err)
	return n
}

// areas returns the content and the extra area of a page.
func areas(t testing.TB, p plugin.Page) (content, extra []byte) {
	t.Helper()
	content, err := p.Bytes()
	require.NoError(t, err)
	extra, err = p.Extra()
	require.NoError(t, err)
	return content, extra
}

// mark writes a tag at both ends of the page and of its extra area.
func mark(t testing.TB, p plugin.Page, tag uint32) {
	t.Helper()
	content, extra := areas(t, p)
	for _, b := range [][]byte{content, extra} {
		binary.LittleEndian.PutUint32(b, tag)
		binary.LittleEndian.PutUint32(b[len(b)-4:], tag)
	}
}

// tagOf returns the tag of a page, which must be the same in all four places.
func tagOf(t testing.TB, p plugin.Page) uint32 {
	t.Helper()
	content, extra := areas(t, p)
	tag := binary.LittleEndian.Uint32(content)
	if binary.LittleEndian.Uint32(content[len(content)-4:]) != tag ||
		binary.LittleEndian.Uint32(extra) != tag || binary.LittleEndian.Uint32(extra[len(extra)-4:]) != tag {
		t.Fatalf("tags differ: page %x … %x, extra %x", content[:4], content[len(content)-4:], extra)
	}
	return tag
}

// zero reports whether all bytes are.
func zero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

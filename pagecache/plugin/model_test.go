package plugin_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pagecache/plugin"
)

// entry is a page of the model.
type entry struct {
	pinned bool
	tag    uint32
	page   plugin.Page
}

// modelCache is what a cache should be: a map.
type modelCache struct {
	real      *plugin.Cache
	purgeable bool
	max       uint32
	pages     map[uint32]*entry
}

func (m *modelCache) pinned() uint32 {
	n := uint32(0)
	for _, e := range m.pages {
		if e.pinned {
			n++
		}
	}
	return n
}

// place names a page of the model.
type place struct {
	cache *modelCache
	key   uint32
}

// model is the contract and the built-in cache's limits, written for clarity:
// maps, a slice in the order of unpins, and sums made anew for each question.
type model struct {
	t      *testing.T
	caches []*modelCache
	lru    []place // oldest first
	ended  []plugin.Page
	serial uint32
}

func (m *model) maxPages() uint32 {
	sum := uint32(0)
	for _, c := range m.caches {
		sum += c.max
	}
	return sum
}

func (m *model) maxPinned() uint32 {
	sum := m.maxPages() + 10
	for _, c := range m.caches {
		if c.purgeable {
			sum -= 10
		}
	}
	return sum
}

func (m *model) evictable() uint32 {
	n := 0
	for _, c := range m.caches {
		if c.purgeable {
			n += len(c.pages)
		}
	}
	return uint32(n)
}

// enforce evicts while there are more than limit pages.
func (m *model) enforce(limit uint32) {
	for m.evictable() > limit && len(m.lru) > 0 {
		m.dropOldest()
	}
}

func (m *model) dropOldest() {
	p := m.lru[0]
	m.lru = m.lru[1:]
	delete(p.cache.pages, p.key)
}

func (m *model) drop(c *modelCache, key uint32) {
	e := c.pages[key]
	if e.pinned {
		m.ended = append(m.ended, e.page)
	}
	delete(c.pages, key)
	m.lru = slices.DeleteFunc(m.lru, func(p place) bool { return p == place{c, key} })
}

// fetch says what a fetch should give, and does it.
func (m *model) fetch(c *modelCache, key uint32, create plugin.CreateFlag) string {
	if e := c.pages[key]; e != nil {
		e.pinned = true
		m.lru = slices.DeleteFunc(m.lru, func(p place) bool { return p == place{c, key} })
		return "hit"
	}
	crowded := c.pinned() >= m.maxPinned() || c.pinned() >= c.max*9/10
	if create == plugin.NoAllocation || create == plugin.AllocateIfConvenient && crowded {
		return "null"
	}
	if c.purgeable && len(m.lru) > 0 && uint32(len(c.pages))+1 >= c.max {
		m.dropOldest()
	}
	m.serial++
	c.pages[key] = &entry{pinned: true, tag: m.serial}
	return "new"
}

func (m *model) unpin(c *modelCache, key uint32, discard bool) {
	if discard || c.purgeable && m.evictable() > m.maxPages() {
		m.drop(c, key)
		return
	}
	e := c.pages[key]
	m.ended = append(m.ended, e.page)
	e.pinned = false
	if c.purgeable {
		m.lru = append(m.lru, place{c, key})
	}
}

// run does the operations that the bytes name on real caches and on the model.
func run(t *testing.T, script []byte) {
	m := &model{t: t}
	mem := newArena(t, 1<<30)
	var create func(int, int, bool) (*plugin.Cache, error)
	next := func() (b byte) {
		if len(script) > 0 {
			b, script = script[0], script[1:]
		}
		return b
	}
	caches := 1
	if next()%2 == 0 {
		create, caches = plugin.NewGroup(mem).Create, 3
	} else {
		create = func(p, e int, u bool) (*plugin.Cache, error) { return plugin.Create(mem, p, e, u) }
	}
	sizes := [][2]int{{512, 8}, {512, 16}, {1024, 40}, {4096, 208}}
	for range caches {
		shape := next()
		size := sizes[shape%4]
		c := &modelCache{purgeable: shape&16 == 0, pages: map[uint32]*entry{}}
		var err error
		c.real, err = create(size[0], size[1], c.purgeable)
		require.NoError(t, err)
		m.caches = append(m.caches, c)
	}
	for len(script) > 0 {
		op := next()
		c := m.caches[int(next())%len(m.caches)]
		m.step(c, op, uint32(next()))
		m.compare()
	}
	m.end()
}

// step does one operation, chosen by op, on both.
func (m *model) step(c *modelCache, op byte, argument uint32) {
	t, key := m.t, argument%40
	switch e := c.pages[key]; op % 16 {
	case 0, 1, 2, 3, 4:
		m.stepFetch(c, key, plugin.CreateFlag(op>>4)%3)
	case 5, 6, 7, 8:
		m.stepUnpin(c, key, op&16 != 0)
	case 9:
		n := argument % 24
		require.NoError(t, c.real.Cachesize(int(n)))
		if c.purgeable {
			c.max = n
			m.enforce(m.maxPages())
		}
	case 10:
		require.NoError(t, c.real.Shrink())
		if c.purgeable {
			m.enforce(0)
		}
	case 11:
		m.stepTruncate(c, key)
	case 12, 13:
		m.stepRekey(c, key, uint32(op>>4)*3)
	case 14:
		if e != nil && e.pinned {
			m.serial++
			e.tag = m.serial
			mark(t, e.page, e.tag)
		}
	case 15:
		if len(m.ended) > 0 {
			_, err := m.ended[int(argument)%len(m.ended)].Bytes()
			require.ErrorIs(t, err, kvferry.ErrInvalid)
		}
	}
}

func (m *model) stepFetch(c *modelCache, key uint32, create plugin.CreateFlag) {
	p, ok, err := c.real.Fetch(key, create)
	if key == 0 {
		require.ErrorIs(m.t, err, kvferry.ErrInvalid)
		return
	}
	require.NoError(m.t, err)
	want := m.fetch(c, key, create)
	require.Equal(m.t, want != "null", ok, "fetch %d, flag %d", key, create)
	if !ok {
		return
	}
	e := c.pages[key]
	e.page = p
	if want == "new" {
		_, extra := areas(m.t, p)
		require.True(m.t, zero(extra))
		mark(m.t, p, e.tag)
	}
	require.Equal(m.t, e.tag, tagOf(m.t, p))
}

func (m *model) stepUnpin(c *modelCache, key uint32, discard bool) {
	strategy := plugin.CanDecide
	if discard {
		strategy = plugin.MustBeEvicted
	}
	e := c.pages[key]
	if e == nil || !e.pinned {
		if e != nil {
			require.ErrorIs(m.t, c.real.Unpin(e.page, strategy), kvferry.ErrInvalid)
		}
		return
	}
	require.NoError(m.t, c.real.Unpin(e.page, strategy))
	m.unpin(c, key, discard)
}

func (m *model) stepTruncate(c *modelCache, limit uint32) {
	err := c.real.Truncate(limit)
	if limit == 0 {
		require.ErrorIs(m.t, err, kvferry.ErrInvalid)
		return
	}
	require.NoError(m.t, err)
	for key := range c.pages {
		if key >= limit {
			m.drop(c, key)
		}
	}
}

func (m *model) stepRekey(c *modelCache, key, to uint32) {
	e := c.pages[key]
	if e == nil {
		return
	}
	err := c.real.Rekey(e.page, key, to)
	there := c.pages[to]
	if !e.pinned || to == 0 || to == key || there != nil && there.pinned {
		require.ErrorIs(m.t, err, kvferry.ErrInvalid)
		return
	}
	require.NoError(m.t, err)
	if there != nil {
		m.drop(c, to)
	}
	delete(c.pages, key)
	c.pages[to] = e
}

// compare holds page counts against the model, and the content of what is
// pinned.
func (m *model) compare() {
	for i, c := range m.caches {
		require.Equal(m.t, len(c.pages), count(m.t, c.real), "pages of cache %d", i)
		for _, e := range c.pages {
			if e.pinned {
				require.Equal(m.t, e.tag, tagOf(m.t, e.page))
			}
		}
	}
}

// end looks for every key, then destroys one cache after the other.
func (m *model) end() {
	for _, c := range m.caches {
		for key := uint32(1); key < 64; key++ {
			p, ok, err := c.real.Fetch(key, plugin.NoAllocation)
			require.NoError(m.t, err)
			require.Equal(m.t, c.pages[key] != nil, ok, "key %d", key)
			if ok {
				require.Equal(m.t, c.pages[key].tag, tagOf(m.t, p))
				m.fetch(c, key, plugin.NoAllocation)
				c.pages[key].page = p
			}
		}
	}
	for len(m.caches) > 0 {
		c := m.caches[0]
		require.NoError(m.t, c.real.Destroy())
		m.lru = slices.DeleteFunc(m.lru, func(p place) bool { return p.cache == c })
		m.caches = m.caches[1:]
		m.enforce(m.maxPages())
		m.compare()
	}
}

// TestModel compares with the model on random operations.
func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 5))
		script := make([]byte, 3*800)
		for i := range script {
			script[i] = byte(r.Uint32())
		}
		run(t, script)
	}
}

// FuzzModel compares with the model on what the fuzzer makes up.
func FuzzModel(f *testing.F) {
	for _, script := range []string{
		"\x00\x00\x01\x02\x09\x00\x05\x20\x00\x01\x20\x01\x01\x05\x00\x01",
		"\x01\x03\x09\x00\x0a\x20\x00\x07\x05\x00\x07\x2c\x00\x07\x0b\x00\x02",
		"\x01\x10\x20\x00\x01\x05\x00\x01\x0a\x00\x00\x10\x00\x02",
	} {
		f.Add([]byte(script))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 3000 {
			return // the model's time is the square of it
		}
		run(t, script)
	})
}

package plugin

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pagecache"
)

const (
	minPerCache = 10         // pages that a purgeable cache counts on
	maxPageSum  = 0x7fff0000 // bound of maxPages
)

// Group is what caches share: one list of unpinned pages and one sum of limits,
// so that a busy cache grows at the cost of an idle one. It is safe for
// concurrent use; each of its caches is for one goroutine at a time.
type Group struct {
	mem    *pagecache.Arena
	shared bool // the lock is needed

	mu        sync.Mutex
	newest    *node // of the list of unpinned pages of purgeable caches
	oldest    *node
	maxPages  uint32
	minPages  uint32
	maxPinned uint32
	purgeable uint32 // pages of purgeable caches
	fault     error  // what the arena refused to take back
}

// NewGroup makes a group without caches over mem.
func NewGroup(mem *pagecache.Arena) *Group {
	return &Group{mem: mem, shared: true, maxPinned: minPerCache}
}

// Create makes a cache of the group, for pages of pageBytes with extraBytes
// beside each. Sizes outside the limits of this package are ErrInvalid.
func (g *Group) Create(pageBytes, extraBytes int, purgeable bool) (*Cache, error) {
	if g.mem == nil {
		return nil, fmt.Errorf("plugin: create a cache of a group without memory: %w", kvferry.ErrInvalid)
	}
	if bits.OnesCount(uint(pageBytes)) != 1 || pageBytes < MinPageBytes || pageBytes > MaxPageBytes ||
		extraBytes < MinExtraBytes || extraBytes > MaxExtraBytes {
		return nil, fmt.Errorf("plugin: create a cache for pages of %d bytes and %d extra: %w", pageBytes, extraBytes, kvferry.ErrInvalid)
	}
	c := &Cache{
		group: g, pageBytes: pageBytes, extraBytes: extraBytes, purgeable: purgeable,
		slotBytes: pageBytes + HeaderBytes + (extraBytes+7)&^7 + slackBytes,
		table:     make([]*node, firstTable),
	}
	if purgeable {
		g.lock()
		c.min = minPerCache
		g.adjust(0, c.min)
		g.unlock()
	}
	return c, nil
}

// Create makes a cache that is a group of its own: its limits are for its pages
// alone, and it takes no lock.
func Create(mem *pagecache.Arena, pageBytes, extraBytes int, purgeable bool) (*Cache, error) {
	g := NewGroup(mem)
	g.shared = false
	return g.Create(pageBytes, extraBytes, purgeable)
}

func (g *Group) lock() {
	if g.shared {
		g.mu.Lock()
	}
}

func (g *Group) unlock() {
	if g.shared {
		g.mu.Unlock()
	}
}

// adjust adds to the sums; what is subtracted wraps, as do the sums.
func (g *Group) adjust(maxPages, minPages uint32) {
	g.maxPages += maxPages
	g.minPages += minPages
	g.maxPinned = g.maxPages + minPerCache - g.minPages
}

// enforce drops the oldest pages until there are at most limit.
func (g *Group) enforce(limit uint32) {
	for g.purgeable > limit && g.oldest != nil {
		g.free(g.oldest.cache.detach(g.oldest))
	}
}

// free gives memory back. An arena that refuses it is broken; the group goes
// on and Destroy tells.
func (g *Group) free(b pagecache.Buffer) {
	if err := g.mem.Free(b); err != nil {
		g.fault = errors.Join(g.fault, fmt.Errorf("plugin: free a page: %w", err))
	}
}

// link puts a page at the new end of the list.
func (g *Group) link(n *node) {
	n.older = g.newest
	if g.newest != nil {
		g.newest.newer = n
	} else {
		g.oldest = n
	}
	g.newest = n
}

// unlink takes a page off the list.
func (g *Group) unlink(n *node) {
	if n.newer != nil {
		n.newer.older = n.older
	} else {
		g.newest = n.older
	}
	if n.older != nil {
		n.older.newer = n.newer
	} else {
		g.oldest = n.newer
	}
	n.newer, n.older = nil, nil
}

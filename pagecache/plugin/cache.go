package plugin

import (
	"fmt"
	"math"

	"github.com/kvferry/kvferry"
)

// CreateFlag says what Fetch does about a page that is absent.
type CreateFlag uint8

// The values have the numbers of the C contract.
const (
	NoAllocation         CreateFlag = iota // nothing
	AllocateIfConvenient                   // create it within the limits
	Allocate                               // create it unless there is no memory
)

// DiscardStrategy says what Unpin does with a page.
type DiscardStrategy uint8

// The values have the numbers of the C contract, where any but 0 is
// MustBeEvicted.
const (
	CanDecide     DiscardStrategy = iota // keep it or drop it, by the limits
	MustBeEvicted                        // drop it
)

// Cache maps the pages of one database. Its calls, and those on its pages, must
// not overlap; calls on different caches may, those of one group as well.
// After Destroy every call is ErrClosed.
type Cache struct {
	group      *Group // nil after Destroy
	pageBytes  int
	extraBytes int
	slotBytes  int
	purgeable  bool
	min, max   uint32
	ninety     uint32 // 90 % of max, as far as 32 bits go

	// The group's lock guards what follows: other caches evict.
	pages    uint32
	unpinned uint32
	maxKey   uint32 // no key is larger
	table    []*node
	unused   *node
	chunks   [][]node // appended to by the cache's own calls alone
}

// Fetch returns the page with the given key, pinned: the one that is there or,
// as far as create goes, a new one. The contract's null, a page that is absent
// and was not created, is false and no error. Key 0 is ErrInvalid; with Allocate,
// memory that cannot be had is ErrOutOfMemory.
func (c *Cache) Fetch(key uint32, create CreateFlag) (Page, bool, error) {
	g := c.group
	if g == nil || key == 0 || create > Allocate {
		return Page{}, false, c.refuse("fetch", key)
	}
	g.lock()
	n := c.lookup(key)
	switch {
	case n != nil:
		if !n.pinned {
			c.pin(n)
		}
	case create == NoAllocation || create == AllocateIfConvenient && c.crowded():
	default:
		var err error
		if n, err = c.install(key, create); err != nil {
			g.unlock()
			return Page{}, false, fmt.Errorf("plugin: fetch key %d: %w", key, err)
		}
	}
	g.unlock()
	if n == nil {
		return Page{}, false, nil
	}
	return Page{n, n.generation}, true, nil
}

// Unpin ends the pin of a page. A page that is not pinned, or is of another
// cache, is ErrInvalid.
func (c *Cache) Unpin(p Page, discard DiscardStrategy) error {
	g, n := c.group, p.node
	if g == nil || !p.live() || n.cache != c {
		return c.misused("unpin", p)
	}
	g.lock()
	switch {
	case discard != CanDecide || c.purgeable && g.purgeable > g.maxPages:
		g.free(c.detach(n))
	default:
		n.pinned = false
		n.generation++
		c.unpinned++
		if c.purgeable {
			g.link(n)
		}
	}
	g.unlock()
	return nil
}

// Rekey moves a pinned page from one key to another; its content and its Page
// stay. An unpinned page that is there is discarded. It is ErrInvalid if p is not
// pinned or not under from, if to is 0 or from, or if a pinned page is there:
// nothing has changed then.
func (c *Cache) Rekey(p Page, from, to uint32) error {
	g, n := c.group, p.node
	if g == nil || !p.live() || n.cache != c {
		return c.misused("rekey", p)
	}
	if n.key != from || to == 0 || to == from {
		return fmt.Errorf("plugin: rekey the page of key %d from %d to %d: %w", n.key, from, to, kvferry.ErrInvalid)
	}
	g.lock()
	defer g.unlock()
	if there := c.lookup(to); there != nil {
		if there.pinned {
			return fmt.Errorf("plugin: rekey from %d to %d, which is pinned: %w", from, to, kvferry.ErrInvalid)
		}
		g.free(c.detach(there))
	}
	c.unhash(n)
	n.key = to
	c.hash(n)
	return nil
}

// Truncate drops every page whose key is at least limit, pinned ones too. Limit
// 0 is ErrInvalid; 1 empties the cache.
func (c *Cache) Truncate(limit uint32) error {
	if c.group == nil || limit == 0 {
		return c.refuse("truncate at", limit)
	}
	c.group.lock()
	defer c.group.unlock()
	c.truncate(limit)
	return nil
}

// Cachesize sets how many pages the cache should have at most, and drops unpinned
// pages of the group that are too many. It means nothing to a cache that is not
// purgeable. A negative number is ErrInvalid.
func (c *Cache) Cachesize(pages int) error {
	g := c.group
	if g == nil {
		return c.refuse("set the size of", 0)
	}
	if pages < 0 {
		return fmt.Errorf("plugin: cache size %d: %w", pages, kvferry.ErrInvalid)
	}
	if !c.purgeable {
		return nil
	}
	g.lock()
	defer g.unlock()
	n := min(uint32(min(pages, math.MaxInt32)), maxPageSum-g.maxPages+c.max)
	g.adjust(n-c.max, 0)
	c.max, c.ninety = n, n*9/10
	g.enforce(g.maxPages)
	return nil
}

// Pagecount returns how many pages the cache has, pinned or not.
func (c *Cache) Pagecount() (int, error) {
	g := c.group
	if g == nil {
		return 0, c.refuse("count the pages of", 0)
	}
	g.lock()
	defer g.unlock()
	return int(c.pages), nil
}

// Shrink drops every unpinned page of the group, unless the cache is not
// purgeable.
func (c *Cache) Shrink() error {
	g := c.group
	if g == nil {
		return c.refuse("shrink", 0)
	}
	if c.purgeable {
		g.lock()
		defer g.unlock()
		g.enforce(0)
	}
	return nil
}

// Destroy drops all pages, pinned ones too, and ends the cache. An error tells
// of memory that the arena did not take back since the last Destroy.
func (c *Cache) Destroy() error {
	g := c.group
	if g == nil {
		return c.refuse("destroy", 0)
	}
	g.lock()
	defer g.unlock()
	c.truncate(0)
	g.adjust(-c.max, -c.min)
	g.enforce(g.maxPages)
	c.group, c.table = nil, nil
	err := g.fault
	g.fault = nil
	return err
}

// At returns the pinned page with the given Index. Any other index is
// ErrInvalid.
func (c *Cache) At(index uint32) (Page, error) {
	if c.group == nil {
		return Page{}, c.refuse("find a page of", 0)
	}
	if n := c.node(index); n != nil && n.pinned {
		return Page{n, n.generation}, nil
	}
	return Page{}, fmt.Errorf("plugin: no pinned page has index %d: %w", index, kvferry.ErrInvalid)
}

// refuse says why a call cannot be.
func (c *Cache) refuse(operation string, number uint32) error {
	if c.group == nil {
		return fmt.Errorf("plugin: %s a destroyed cache: %w", operation, kvferry.ErrClosed)
	}
	return fmt.Errorf("plugin: %s %d: %w", operation, number, kvferry.ErrInvalid)
}

// misused says why a page cannot be used with the cache.
func (c *Cache) misused(operation string, p Page) error {
	switch {
	case c.group == nil:
		return c.refuse(operation, 0)
	case !p.live():
		return fmt.Errorf("plugin: %w", p.stale(operation))
	default:
		return fmt.Errorf("plugin: %s a page of another cache: %w", operation, kvferry.ErrInvalid)
	}
}

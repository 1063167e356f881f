package plugin

import (
	"errors"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pagecache"
)

const (
	firstTable = 256 // slots of a new cache's table
	chunkBits  = 6   // nodes are made 64 at a time
)

// lookup returns the page with the given key, or nil.
func (c *Cache) lookup(key uint32) *node {
	n := c.table[key&uint32(len(c.table)-1)]
	for n != nil && n.key != key {
		n = n.chain
	}
	return n
}

// hash puts a page into the table.
func (c *Cache) hash(n *node) {
	slot := &c.table[n.key&uint32(len(c.table)-1)]
	n.chain, *slot = *slot, n
	c.maxKey = max(c.maxKey, n.key)
}

// unhash takes a page out of the table.
func (c *Cache) unhash(n *node) {
	at := &c.table[n.key&uint32(len(c.table)-1)]
	for *at != n {
		at = &(*at).chain
	}
	*at, n.chain = n.chain, nil
}

// grow doubles the table.
func (c *Cache) grow() {
	old := c.table
	c.table = make([]*node, 2*len(old))
	for _, n := range old {
		for n != nil {
			next := n.chain
			slot := &c.table[n.key&uint32(len(c.table)-1)]
			n.chain, *slot = *slot, n
			n = next
		}
	}
}

// pin takes an unpinned page off the list.
func (c *Cache) pin(n *node) {
	n.pinned = true
	c.unpinned--
	if c.purgeable {
		c.group.unlink(n)
	}
}

// crowded reports whether so many pages are pinned that creating one is not
// convenient.
func (c *Cache) crowded() bool {
	pinned := c.pages - c.unpinned
	return pinned >= c.group.maxPinned || pinned >= c.ninety
}

// install creates a page, pinned. It returns nil if that is not convenient
// after all.
func (c *Cache) install(key uint32, create CreateFlag) (*node, error) {
	if c.pages >= uint32(len(c.table)) {
		c.grow()
	}
	buffer, err := c.obtain(create)
	if err != nil {
		if create == AllocateIfConvenient && errors.Is(err, kvferry.ErrOutOfMemory) {
			return nil, nil
		}
		return nil, err
	}
	n := c.newNode()
	n.key, n.pinned, n.buffer, n.mem = key, true, buffer, buffer.Bytes()
	clear(n.mem[c.pageBytes : c.pageBytes+HeaderBytes+c.extraBytes])
	c.hash(n)
	c.pages++
	if c.purgeable {
		c.group.purgeable++
	}
	return n, nil
}

// obtain returns memory for a page: that of the group's oldest page if the cache
// has as many as it should, else the arena's. A page that must be had takes the
// oldest one's place also when the arena has nothing.
func (c *Cache) obtain(create CreateFlag) (pagecache.Buffer, error) {
	g := c.group
	if c.purgeable && c.pages+1 >= c.max {
		if b, ok := c.recycle(); ok {
			return b, nil
		}
	}
	for {
		b, err := g.mem.Alloc(c.slotBytes)
		if err == nil || create != Allocate || !c.purgeable || g.oldest == nil {
			return b, err
		}
		if b, ok := c.recycle(); ok {
			return b, nil
		}
	}
}

// recycle drops the group's oldest page and returns its memory if that has the
// right length.
func (c *Cache) recycle() (pagecache.Buffer, bool) {
	g := c.group
	if g.oldest == nil {
		return pagecache.Buffer{}, false
	}
	b := g.oldest.cache.detach(g.oldest)
	if b.Len() == c.slotBytes {
		return b, true
	}
	g.free(b)
	return pagecache.Buffer{}, false
}

// detach takes a page out of the cache and returns its memory. A pin ends.
func (c *Cache) detach(n *node) pagecache.Buffer {
	c.unhash(n)
	c.pages--
	if c.purgeable {
		c.group.purgeable--
	}
	if n.pinned {
		n.pinned = false
		n.generation++
	} else {
		c.unpinned--
		if c.purgeable {
			c.group.unlink(n)
		}
	}
	b := n.buffer
	n.buffer, n.mem = pagecache.Buffer{}, nil
	n.chain, c.unused = c.unused, n
	return b
}

// truncate drops the pages whose key is at least limit. It looks only where
// such keys can be.
func (c *Cache) truncate(limit uint32) {
	if limit > c.maxKey {
		return
	}
	from, slots := uint32(0), uint32(len(c.table))
	if span := c.maxKey - limit; span < slots {
		from, slots = limit, span+1
	}
	for i := range slots {
		n := c.table[(from+i)&uint32(len(c.table)-1)]
		for n != nil {
			next := n.chain
			if n.key >= limit {
				c.group.free(c.detach(n))
			}
			n = next
		}
	}
	c.maxKey = max(limit, 1) - 1
}

// newNode returns a node that is not in use.
func (c *Cache) newNode() *node {
	if c.unused == nil {
		c.addNodes()
	}
	n := c.unused
	c.unused, n.chain = n.chain, nil
	return n
}

func (c *Cache) addNodes() {
	chunk := make([]node, 1<<chunkBits)
	first := uint32(len(c.chunks)) << chunkBits
	for i := range chunk {
		n := &chunk[len(chunk)-1-i] // low numbers are used first
		n.cache, n.index = c, first+uint32(len(chunk)-1-i)
		n.chain, c.unused = c.unused, n
	}
	c.chunks = append(c.chunks, chunk)
}

// node returns the node with the given number, or nil.
func (c *Cache) node(index uint32) *node {
	if int(index>>chunkBits) >= len(c.chunks) {
		return nil
	}
	return &c.chunks[index>>chunkBits][index&(1<<chunkBits-1)]
}

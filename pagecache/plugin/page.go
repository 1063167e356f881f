package plugin

import (
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pagecache"
)

// HeaderBytes is the length of a page's header, which is there for the host:
// what it must find again from the address of a page.
const HeaderBytes = 32

// Limits of what Create takes. Page sizes are powers of two.
const (
	MinPageBytes  = 512
	MaxPageBytes  = 65536
	MinExtraBytes = 8
	MaxExtraBytes = 299
)

// slackBytes can be read after the extra area. After the content there is the
// header, which is longer.
const slackBytes = 16

// node is a page, or room for one. It stays with its cache and is used again,
// so that an old Page finds a generation that is not its own.
//
// The cache's own goroutine alone changes pinned and generation, and whatever
// else a pinned page has. What another cache of the group evicts is unpinned;
// it changes the rest under the group's lock.
type node struct {
	cache      *Cache // for ever
	index      uint32 // for ever
	pinned     bool
	generation uint64 // of the pin; the next one begins when a pin ends

	key          uint32
	chain        *node // next in the slot of the table, or in the list of free nodes
	newer, older *node // in the group's list; nil outside
	buffer       pagecache.Buffer
	mem          []byte
}

// Page is a pinned page: a value that may be copied and compared. Fetching a
// pinned page again returns an equal one. It ends with the pin: after Unpin,
// Destroy, or a Truncate that removes it, every use is an error, and so it stays
// when the page is fetched again. The zero Page is no page.
//
// What its methods return is memory of the page. Slices must not be used after
// the pin: the memory may be another page's then.
//
// The methods are calls on the page's cache: they must not overlap with others.
type Page struct {
	node       *node
	generation uint64
}

// Bytes returns the page's content.
func (p Page) Bytes() ([]byte, error) {
	if !p.live() {
		return nil, p.stale("content")
	}
	n := p.node.cache.pageBytes
	return p.node.mem[:n:n], nil
}

// Extra returns the page's extra area. It is zero in a new page.
func (p Page) Extra() ([]byte, error) {
	if !p.live() {
		return nil, p.stale("extra area")
	}
	c := p.node.cache
	from := c.pageBytes + HeaderBytes
	return p.node.mem[from : from+c.extraBytes : from+c.extraBytes], nil
}

// Header returns the page's HeaderBytes that belong to the host. They are zero
// in a new page.
func (p Page) Header() ([]byte, error) {
	if !p.live() {
		return nil, p.stale("header")
	}
	from := p.node.cache.pageBytes
	return p.node.mem[from : from+HeaderBytes : from+HeaderBytes], nil
}

// Key returns the page's key.
func (p Page) Key() (uint32, error) {
	if !p.live() {
		return 0, p.stale("key")
	}
	return p.node.key, nil
}

// Index returns the number by which Cache.At finds the page while it is
// pinned: for a host that cannot keep Go values. It does not change while the
// page is in the cache.
func (p Page) Index() (uint32, error) {
	if !p.live() {
		return 0, p.stale("index")
	}
	return p.node.index, nil
}

// live reports whether the pin lasts.
func (p Page) live() bool { return p.node != nil && p.node.generation == p.generation }

// stale says why p cannot be used.
func (p Page) stale(what string) error {
	switch {
	case p.node == nil:
		return fmt.Errorf("plugin: %s of the zero page: %w", what, kvferry.ErrInvalid)
	case p.node.cache.group == nil:
		return fmt.Errorf("plugin: %s of a page of a destroyed cache: %w", what, kvferry.ErrClosed)
	default:
		return fmt.Errorf("plugin: %s of a page that is no longer pinned: %w", what, kvferry.ErrInvalid)
	}
}

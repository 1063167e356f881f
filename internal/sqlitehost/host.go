// Package sqlitehost runs SQLite on the page cache of package plugin, to prove
// it: the glue between C and Go, and the tests and timings over it. It is a
// module of its own, so that neither SQLite nor a C compiler is needed for
// anything else.
//
// SQLite calls C, and C calls Go: a cache is a number there, a page is an index
// that lies in the page's header. The C side keeps no pages; it holds back
// unpins until the cache's next call, which carries them along. A cache at rest
// may so keep up to 64 pages longer than SQLite needs them.
package sqlitehost

// #cgo darwin LDFLAGS: -Wl,-undefined,dynamic_lookup
// #include "glue.h"
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	_ "github.com/mattn/go-sqlite3" // brings SQLite

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pagecache"
	"github.com/kvferry/kvferry/pagecache/plugin"
)

// maxCaches bounds how many caches there are at a time.
const maxCaches = 1 << 16

// Call is something that SQLite did with a cache.
type Call int

// What is counted.
const (
	Caches     Call = iota // caches made
	Resident               // caches made that are not purgeable
	Hits                   // fetches of a page that was there
	Created                // fetches that made a page
	Missed                 // fetches that should not make a page, of one that was not there
	Refused                // fetches that should make a page if convenient, and did not
	Kept                   // unpins without discarding
	Discarded              // unpins with discarding
	Rekeys                 // pages that changed their key
	Truncates              //
	Shrinks                //
	Cachesizes             //
	Pagecounts             //
	kinds
)

// Calls counts what SQLite did, over all caches that were destroyed.
type Calls [kinds]int

// plus adds the counts of x, times sign.
func (c Calls) plus(x Calls, sign int) Calls {
	for i := range c {
		c[i] += sign * x[i]
	}
	return c
}

// Since returns what was done after before was taken.
func (c Calls) Since(before Calls) Calls { return c.plus(before, -1) }

// entry is one cache that SQLite holds. Its calls do not overlap.
type entry struct {
	cache *plugin.Cache
	calls Calls
}

// host is what the process's SQLite runs on. SQLite has one page cache per
// process, and its methods get no argument: hence one variable.
type host struct {
	create func(pageBytes, extraBytes int, purgeable bool) (*plugin.Cache, error)
	caches atomic.Pointer[[]*entry] // by number; 0 is none. Copied to change it.

	mu     sync.Mutex
	open   int
	calls  Calls
	faults []error
}

var registered atomic.Pointer[host]

// Register makes SQLite use caches over mem: in one group, or each for itself.
// It can be called once, before the first database is opened.
func Register(mem *pagecache.Arena, shared bool) error {
	h := &host{create: func(p, e int, u bool) (*plugin.Cache, error) { return plugin.Create(mem, p, e, u) }}
	if shared {
		h.create = plugin.NewGroup(mem).Create
	}
	h.caches.Store(&[]*entry{nil})
	if !registered.CompareAndSwap(nil, h) {
		return fmt.Errorf("sqlitehost: register a second time: %w", kvferry.ErrExists)
	}
	if rc := C.kvferry_register(); rc != 0 {
		registered.Store(nil)
		return fmt.Errorf("sqlitehost: sqlite3_config gave %d: %w", rc, kvferry.ErrInvalid)
	}
	return nil
}

// Report returns what SQLite called so far, how many caches are open, and
// every call that the page cache refused although SQLite keeps the contract:
// there should be none.
func Report() (calls Calls, open int, faults error) {
	h := registered.Load()
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls, h.open, errors.Join(h.faults...)
}

// add takes in a cache and returns its number, 0 if there is no more room.
func (h *host) add(e *entry) uint32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := append([]*entry(nil), *h.caches.Load()...)
	id := 1
	for id < len(list) && list[id] != nil {
		id++
	}
	if id == maxCaches {
		return 0
	}
	if id == len(list) {
		list = append(list, nil)
	}
	list[id] = e
	h.caches.Store(&list)
	h.open++
	return uint32(id)
}

// remove takes a cache out of the list and counts its calls.
func (h *host) remove(id uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := append([]*entry(nil), *h.caches.Load()...)
	h.calls = h.calls.plus(list[id].calls, 1)
	list[id] = nil
	h.caches.Store(&list)
	h.open--
}

// fault keeps an error that should not be. Memory that cannot be had is none.
func (h *host) fault(err error) {
	if err == nil || errors.Is(err, kvferry.ErrOutOfMemory) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.faults) < 100 {
		h.faults = append(h.faults, err)
	}
}

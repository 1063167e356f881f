package sqlitehost

// #include "glue.h"
import "C"

import (
	"unsafe"

	"github.com/kvferry/kvferry/pagecache/plugin"
)

// begin returns a cache after it has let go what SQLite had unpinned before this
// call.
func begin(id C.uint32_t, unpins *C.uint32_t, n C.uint32_t) (*host, *entry) {
	h := registered.Load()
	e := (*h.caches.Load())[id]
	for _, x := range unsafe.Slice(unpins, n) {
		p, err := e.cache.At(uint32(x >> 1))
		if err == nil && x&1 == 0 {
			e.calls[Kept]++
			err = e.cache.Unpin(p, plugin.CanDecide)
		} else if err == nil {
			e.calls[Discarded]++
			err = e.cache.Unpin(p, plugin.MustBeEvicted)
		}
		if err != nil {
			h.fault(err)
		}
	}
	return h, e
}

//export kvferryCreate
func kvferryCreate(page, extra, purgeable C.int) C.uint32_t {
	h := registered.Load()
	c, err := h.create(int(page), int(extra), purgeable != 0)
	if err != nil {
		h.fault(err)
		return 0
	}
	e := &entry{cache: c, calls: Calls{Caches: 1}}
	if purgeable == 0 {
		e.calls[Resident] = 1
	}
	id := h.add(e)
	if id == 0 {
		h.fault(c.Destroy())
	}
	return C.uint32_t(id)
}

//export kvferryFetch
func kvferryFetch(id C.uint32_t, unpins *C.uint32_t, n C.uint32_t, key C.uint, create C.int) *C.sqlite3_pcache_page {
	h, e := begin(id, unpins, n)
	p, ok, err := e.cache.Fetch(uint32(key), plugin.CreateFlag(create))
	if !ok {
		if err != nil {
			h.fault(err)
		}
		if create == 1 {
			e.calls[Refused]++
		} else {
			e.calls[Missed]++
		}
		return nil
	}
	header, err := p.Header()
	if err != nil {
		h.fault(err)
		return nil
	}
	at := (*C.kvferry_page)(unsafe.Pointer(unsafe.SliceData(header)))
	if at.page.pBuf != nil {
		e.calls[Hits]++
		return &at.page
	}
	e.calls[Created]++
	h.fault(introduce(p, at))
	return &at.page
}

// introduce fills the header of a new page.
func introduce(p plugin.Page, at *C.kvferry_page) error {
	content, err := p.Bytes()
	if err != nil {
		return err
	}
	extra, err := p.Extra()
	if err != nil {
		return err
	}
	index, err := p.Index()
	if err != nil {
		return err
	}
	at.page.pBuf = unsafe.Pointer(unsafe.SliceData(content))
	at.page.pExtra = unsafe.Pointer(unsafe.SliceData(extra))
	at.index = C.uint32_t(index)
	return nil
}

//export kvferryUnpin
func kvferryUnpin(id C.uint32_t, unpins *C.uint32_t, n C.uint32_t) { begin(id, unpins, n) }

//export kvferryRekey
func kvferryRekey(id C.uint32_t, unpins *C.uint32_t, n, index C.uint32_t, from, to C.uint) {
	h, e := begin(id, unpins, n)
	e.calls[Rekeys]++
	p, err := e.cache.At(uint32(index))
	if err == nil {
		err = e.cache.Rekey(p, uint32(from), uint32(to))
	}
	h.fault(err)
}

//export kvferryTruncate
func kvferryTruncate(id C.uint32_t, unpins *C.uint32_t, n C.uint32_t, limit C.uint) {
	h, e := begin(id, unpins, n)
	e.calls[Truncates]++
	h.fault(e.cache.Truncate(uint32(limit)))
}

//export kvferryCachesize
func kvferryCachesize(id C.uint32_t, unpins *C.uint32_t, n C.uint32_t, pages C.int) {
	h, e := begin(id, unpins, n)
	e.calls[Cachesizes]++
	h.fault(e.cache.Cachesize(int(pages)))
}

//export kvferryPagecount
func kvferryPagecount(id C.uint32_t, unpins *C.uint32_t, n C.uint32_t) C.int {
	h, e := begin(id, unpins, n)
	e.calls[Pagecounts]++
	pages, err := e.cache.Pagecount()
	h.fault(err)
	return C.int(pages)
}

//export kvferryShrink
func kvferryShrink(id C.uint32_t, unpins *C.uint32_t, n C.uint32_t) {
	h, e := begin(id, unpins, n)
	e.calls[Shrinks]++
	h.fault(e.cache.Shrink())
}

//export kvferryDestroy
func kvferryDestroy(id C.uint32_t, unpins *C.uint32_t, n C.uint32_t) {
	h, e := begin(id, unpins, n)
	h.fault(e.cache.Destroy())
	h.remove(uint32(id))
}

// What the glue keeps of a page must fit its header.
var _ [plugin.HeaderBytes - C.sizeof_kvferry_page]struct{}

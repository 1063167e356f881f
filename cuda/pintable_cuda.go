//go:build cuda

package cuda

import (
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// span is a range of host addresses.
type span struct{ from, to uintptr }

// pages returns the span rounded out to whole pages: what is pinned.
func (s span) pages() span {
	page := uintptr(os.Getpagesize())
	return span{s.from &^ (page - 1), (s.to + page - 1) &^ (page - 1)}
}

// chunks cuts the span into registrations that share no page.
func (s span) chunks(bytes int64) []span {
	if bytes == 0 {
		bytes = DefaultChunkBytes
	}
	var cs []span
	for from, end := s.from, s.pages().from; from < s.to; from = end {
		end += uintptr(bytes)
		cs = append(cs, span{from, min(end, s.to)})
	}
	return cs
}

// pinTable knows what is pinned through a device. Looking something up takes no
// lock: the list is replaced as a whole.
type pinTable struct {
	ready atomic.Pointer[[]span] // registrations, ascending

	mu       sync.Mutex
	reserved []span // pages that are pinned, or about to be, ascending
	handed   map[*byte]*Pinned
}

func byStart(s span, from uintptr) int {
	switch {
	case s.from < from:
		return -1
	case s.from > from:
		return 1
	}
	return 0
}

// reserve takes pages, unless some are taken.
func (t *pinTable) reserve(s span) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, found := slices.BinarySearchFunc(t.reserved, s.from, byStart)
	if found || (i > 0 && t.reserved[i-1].to > s.from) || (i < len(t.reserved) && t.reserved[i].from < s.to) {
		return false
	}
	t.reserved = slices.Insert(t.reserved, i, s)
	return true
}

func (t *pinTable) unreserve(s span) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, found := slices.BinarySearchFunc(t.reserved, s.from, byStart); found {
		t.reserved = slices.Delete(t.reserved, i, i+1)
	}
}

// publish adds registrations to what covers tells.
func (t *pinTable) publish(add []span) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []span
	if old := t.ready.Load(); old != nil {
		list = slices.Clone(*old)
	}
	for _, s := range add {
		i, _ := slices.BinarySearchFunc(list, s.from, byStart)
		list = slices.Insert(list, i, s)
	}
	t.ready.Store(&list)
}

// hide takes registrations out of what covers tells.
func (t *pinTable) hide(gone []span) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.ready.Load()
	if old == nil {
		return
	}
	list := slices.DeleteFunc(slices.Clone(*old), func(s span) bool { return slices.Contains(gone, s) })
	t.ready.Store(&list)
}

// find returns the registration that an address lies in.
func (t *pinTable) find(p uintptr) (span, bool) {
	list := t.ready.Load()
	if list == nil {
		return span{}, false
	}
	i, found := slices.BinarySearchFunc(*list, p, byStart)
	if !found {
		i--
	}
	if i < 0 || p >= (*list)[i].to {
		return span{}, false
	}
	return (*list)[i], true
}

// covers tells whether one registration holds all of s.
func (t *pinTable) covers(s span) bool {
	r, found := t.find(s.from)
	return found && s.to <= r.to
}

// around returns the registration that an address lies in, as Pointer tells it.
func (t *pinTable) around(p Ptr) (base Ptr, bytes int64) {
	r, _ := t.find(uintptr(p))
	return Ptr(r.from), int64(r.to - r.from)
}

// keep remembers what an Allocator handed out.
func (t *pinTable) keep(p *Pinned) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.handed == nil {
		t.handed = map[*byte]*Pinned{}
	}
	t.handed[unsafe.SliceData(p.mem)] = p
}

// kept returns it, if mem is the whole of it.
func (t *pinTable) kept(mem []byte) *Pinned {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.handed[unsafe.SliceData(mem)]
	if p == nil || len(p.mem) != len(mem) {
		return nil
	}
	return p
}

func (t *pinTable) forget(mem []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.handed, unsafe.SliceData(mem))
}

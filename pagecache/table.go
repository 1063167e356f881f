package pagecache

import "sync/atomic"

// node says which page has a key. It never changes, so that readers need no
// lock; a page that gets another key gets another node.
type node[K comparable] struct {
	key  K
	hash uint64
	page *page[K] // nil marks a slot whose node was removed
}

// slot is one place of a table. The hash is written before the node: who reads
// a node and then the hash reads its hash or that of a later one, and then the
// node read was removed meanwhile.
type slot[K comparable] struct {
	hash atomic.Uint64
	node atomic.Pointer[node[K]]
}

// table is an open-addressing hash table that is read without locks and
// written under its shard's mutex. A reader of a table that has been replaced
// sees what was there when it began, or less: pages that died meanwhile refuse
// to be acquired.
type table[K comparable] struct {
	slots []slot[K]
	mask  uint64
}

func newTable[K comparable](slots int) *table[K] {
	return &table[K]{slots: make([]slot[K], slots), mask: uint64(slots - 1)}
}

// find returns the page of a key, or nil.
func (t *table[K]) find(hash uint64, key K) *page[K] {
	for i := hash & t.mask; ; i = (i + 1) & t.mask {
		s := &t.slots[i]
		n := s.node.Load()
		if n == nil {
			return nil
		}
		if s.hash.Load() == hash && n.page != nil && n.key == key {
			return n.page
		}
	}
}

// put adds a node whose key is not there and tells whether it took a slot that
// had been empty. There must be one.
func (t *table[K]) put(n *node[K]) bool {
	for i := n.hash & t.mask; ; i = (i + 1) & t.mask {
		s := &t.slots[i]
		old := s.node.Load()
		if old != nil && old.page != nil {
			continue
		}
		s.hash.Store(n.hash)
		s.node.Store(n)
		return old == nil
	}
}

// remove takes a node out; it must be there.
func (t *table[K]) remove(n, removed *node[K]) {
	for i := n.hash & t.mask; ; i = (i + 1) & t.mask {
		if s := &t.slots[i]; s.node.Load() == n {
			s.node.Store(removed)
			return
		}
	}
}

const firstSlots = 16

// index is the table of a shard with what its writers need to know.
type index[K comparable] struct {
	table   atomic.Pointer[table[K]]
	removed *node[K] // marks slots; nothing of it is ever read but that it has no page
	live    int
	taken   int // live and removed
}

func (x *index[K]) init() {
	x.removed = &node[K]{}
	x.table.Store(newTable[K](firstSlots))
}

func (x *index[K]) put(n *node[K]) {
	t := x.table.Load()
	if (x.taken+1)*3 > len(t.slots)*2 {
		t = x.rebuild(t)
	}
	if t.put(n) {
		x.taken++
	}
	x.live++
}

func (x *index[K]) remove(n *node[K]) {
	x.table.Load().remove(n, x.removed)
	x.live--
}

// rebuild replaces the table by one without removed nodes, at most one third
// full, so that the next rebuild is as many changes away as this one costs.
func (x *index[K]) rebuild(old *table[K]) *table[K] {
	slots := firstSlots
	for slots < 3*(x.live+1) {
		slots *= 2
	}
	t := newTable[K](slots)
	for n := range old.all() {
		t.put(n)
	}
	x.taken = x.live
	x.table.Store(t)
	return t
}

func (t *table[K]) all() func(func(*node[K]) bool) {
	return func(yield func(*node[K]) bool) {
		for i := range t.slots {
			if n := t.slots[i].node.Load(); n != nil && n.page != nil && !yield(n) {
				return
			}
		}
	}
}

package memory

import (
	"sync"
	"sync/atomic"
)

// item is an interned value: a scope or a worker's name. As long as somebody
// holds it, its number is its own.
type item[K comparable] struct {
	key  K
	hash uint64
	id   uint32
	// refs counts who holds the item, and in its upper half how often records
	// use it. Negative: it is gone, and the number may be another's.
	refs atomic.Int64
}

const (
	aHold = 1
	aUse  = 1 << 32
	gone  = -1 << 62
)

// hold keeps an item from going. It reports false if it is gone.
func (it *item[K]) hold() bool {
	for {
		n := it.refs.Load()
		if n < 0 {
			return false
		}
		if it.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (it *item[K]) alive() bool { return it.refs.Load() >= 0 }

// dict interns values: each that is in use has a number, and numbers are used
// again. Finding takes no lock.
type dict[K comparable] struct {
	slots atomic.Pointer[[]atomic.Pointer[item[K]]]
	byID  atomic.Pointer[[]atomic.Pointer[item[K]]]

	mu   sync.Mutex
	used int // slots with an item, gone ones included
	live int
	free []uint32
	next uint32
}

func (d *dict[K]) init() {
	slots, byID := make([]atomic.Pointer[item[K]], 8), make([]atomic.Pointer[item[K]], 4)
	d.slots.Store(&slots)
	d.byID.Store(&byID)
}

// find returns the item of a key, or nil.
func (d *dict[K]) find(key *K, hash uint64) *item[K] {
	slots := *d.slots.Load()
	for i := hash; ; i++ {
		it := slots[i&uint64(len(slots)-1)].Load()
		if it == nil || it.hash == hash && it.key == *key && it.alive() {
			return it
		}
	}
}

// item returns the item that has a number now, or nil.
func (d *dict[K]) item(id uint32) *item[K] {
	byID := *d.byID.Load()
	if int(id) < len(byID) {
		return byID[id].Load()
	}
	return nil
}

// hold returns the held item of a key, or nil.
func (d *dict[K]) hold(key *K, hash uint64) *item[K] {
	if it := d.find(key, hash); it != nil && it.hold() {
		return it
	}
	return nil
}

// make is hold that makes the item if there is none. Nobody else has the
// strings of key.
func (d *dict[K]) make(key K, hash uint64) *item[K] {
	d.mu.Lock()
	defer d.mu.Unlock()
	if it := d.hold(&key, hash); it != nil {
		return it
	}
	it := &item[K]{key: key, hash: hash, id: d.number()}
	it.refs.Store(aHold)
	d.add(it)
	return it
}

func (d *dict[K]) number() uint32 {
	if n := len(d.free); n > 0 {
		id := d.free[n-1]
		d.free = d.free[:n-1]
		return id
	}
	d.next++
	return d.next - 1
}

func (d *dict[K]) add(it *item[K]) {
	slots := *d.slots.Load()
	if 2*(d.used+1) > len(slots) {
		slots = d.rebuild()
	}
	d.used++
	d.live++
	i := it.hash
	for slots[i&uint64(len(slots)-1)].Load() != nil {
		i++
	}
	byID := *d.byID.Load()
	if int(it.id) >= len(byID) {
		longer := make([]atomic.Pointer[item[K]], 2*len(byID))
		for j := range byID {
			longer[j].Store(byID[j].Load())
		}
		byID = longer
		d.byID.Store(&longer)
	}
	byID[it.id].Store(it)
	slots[i&uint64(len(slots)-1)].Store(it) // the last: found, it is whole
}

// rebuild drops the items that are gone from the slots.
func (d *dict[K]) rebuild() []atomic.Pointer[item[K]] {
	n := 8
	for n < 4*(d.live+1) {
		n *= 2
	}
	old, slots := *d.slots.Load(), make([]atomic.Pointer[item[K]], n)
	d.used = 0
	for j := range old {
		it := old[j].Load()
		if it == nil || !it.alive() {
			continue
		}
		i := it.hash
		for slots[i&uint64(n-1)].Load() != nil {
			i++
		}
		slots[i&uint64(n-1)].Store(it)
		d.used++
	}
	d.slots.Store(&slots)
	return slots
}

// use notes a use of an item that somebody holds, and reports whether it is the
// only one.
func (it *item[K]) use() bool { return it.refs.Add(aUse)/aUse == 1 }

// release undoes a hold or a use, and reports whether no use is left. After the
// last of both the item goes.
func (d *dict[K]) release(it *item[K], what int64) (unused bool) {
	n := it.refs.Add(-what)
	if n > 0 {
		return n < aUse
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reapLocked(it)
	return true
}

func (d *dict[K]) reapLocked(it *item[K]) {
	if it.refs.CompareAndSwap(0, gone) {
		(*d.byID.Load())[it.id].Store(nil)
		d.free = append(d.free, it.id)
		d.live--
	}
}

// clear undoes all uses.
func (d *dict[K]) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, it := range d.list() {
		for n := it.refs.Load(); n >= aUse; n = it.refs.Load() {
			it.refs.CompareAndSwap(n, n%aUse)
		}
		d.reapLocked(it)
	}
	d.rebuild() // lets go of the keys
}

// count returns how many items are in use.
func (d *dict[K]) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.live
}

// list returns the items in use.
func (d *dict[K]) list() []*item[K] {
	var all []*item[K]
	byID := *d.byID.Load()
	for i := range byID {
		if it := byID[i].Load(); it != nil {
			all = append(all, it)
		}
	}
	return all
}

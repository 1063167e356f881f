package memory

import "sync/atomic"

// table is a hash table of references: open addressing, a slot holds 32 bits of
// the hash above a reference and 0 is empty. The slots are ordered by hash as far
// as they are not pushed on, so that a longer table is filled from one end to
// the other, and any length will do.
type table struct {
	slots atomic.Pointer[[]uint64]
	n     int
	mem   *blocks
}

var noSlots = make([]uint64, 1)

func (t *table) reset() {
	t.n = 0
	t.slots.Store(&noSlots)
}

func home(hash uint32, slots int) int { return int(uint64(hash) * uint64(slots) >> 32) }

// probe walks over the references that have a hash.
type probe struct {
	slots []uint64
	at    int
	hash  uint32
}

func (t *table) probe(hash uint32) probe {
	slots := *t.slots.Load()
	return probe{slots, home(hash, len(slots)), hash}
}

// next returns the next reference with the hash, or 0. References with other
// keys can have the same.
func (p *probe) next() uint32 {
	for {
		s := atomic.LoadUint64(&p.slots[p.at])
		if s == 0 {
			return 0
		}
		if p.at++; p.at == len(p.slots) {
			p.at = 0
		}
		if uint32(s>>32) == p.hash {
			return uint32(s)
		}
	}
}

// touch asks for the memory where a hash would be, without waiting for it.
func (t *table) touch(hash uint32) {
	slots := *t.slots.Load()
	atomic.LoadUint64(&slots[home(hash, len(slots))])
}

// insert adds a reference.
func (t *table) insert(hash, ref uint32) {
	if slots := *t.slots.Load(); (t.n+1)*3 > len(slots)*2 {
		t.resize(len(slots)*2 + 16)
	}
	t.n++
	settle(*t.slots.Load(), uint64(hash)<<32|uint64(ref))
}

func settle(slots []uint64, s uint64) {
	i := home(uint32(s>>32), len(slots))
	for slots[i] != 0 {
		if i++; i == len(slots) {
			i = 0
		}
	}
	atomic.StoreUint64(&slots[i], s)
}

// resize moves all slots into others. Readers go on with the old ones and see
// by the version that they changed.
func (t *table) resize(n int) {
	slots := t.mem.words(n)
	for _, s := range *t.slots.Load() {
		if s != 0 {
			i := home(uint32(s>>32), n)
			for slots[i] != 0 {
				if i++; i == n {
					i = 0
				}
			}
			slots[i] = s
		}
	}
	t.slots.Store(&slots)
}

// find returns where a reference is; it must be there.
func (t *table) find(hash, ref uint32) (slots []uint64, at int) {
	slots = *t.slots.Load()
	s := uint64(hash)<<32 | uint64(ref)
	for at = home(hash, len(slots)); slots[at] != s; {
		if slots[at] == 0 {
			panic("memory: a table lost a reference")
		}
		if at++; at == len(slots) {
			at = 0
		}
	}
	return slots, at
}

// replace puts another reference of the same hash in the place of one.
func (t *table) replace(hash, ref, by uint32) {
	slots, at := t.find(hash, ref)
	atomic.StoreUint64(&slots[at], uint64(hash)<<32|uint64(by))
}

// remove takes a reference out and moves those that it had pushed on back.
func (t *table) remove(hash, ref uint32) {
	slots, hole := t.find(hash, ref)
	n := len(slots)
	for i := hole; ; {
		if i++; i == n {
			i = 0
		}
		s := slots[i]
		if s == 0 {
			break
		}
		h := home(uint32(s>>32), n)
		if behind := (i - h + n) % n; behind >= (i-hole+n)%n {
			atomic.StoreUint64(&slots[hole], s)
			hole = i
		}
	}
	atomic.StoreUint64(&slots[hole], 0)
	t.n--
	if t.n*8 < n && n > 64 {
		t.resize(t.n*2 + 16)
	}
}

func (t *table) bytes() int { return 8 * len(*t.slots.Load()) }

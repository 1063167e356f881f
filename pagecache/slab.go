package pagecache

import (
	"sync/atomic"
	"unsafe"
)

// tailBytes is what a slab is longer than its slots: for aligning the first
// one, and to have readable bytes after the last one.
const tailBytes = 2 * grain

// slab is memory of the allocator, cut into slots of one size. Its class's
// mutex guards everything but the memory and the reading of generations.
type slab struct {
	class *class
	mem   []byte // as the allocator returned it
	room  []byte // the slots, aligned
	slots int32
	used  int32
	fresh int32 // slots from here on were never in use
	head  int32 // first of the freed slots; -1 is none

	links       []int32         // next of the freed slots
	generations []atomic.Uint32 // odd while the slot is in use

	next, prev *slab // ring of the class's slabs with free slots
}

func newSlab(c *class, mem []byte, slots int64) *slab {
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(mem))) & (grain - 1))
	return &slab{
		class: c, mem: mem, room: mem[skip : int64(skip)+slots*c.size], slots: int32(slots), head: -1,
		links: make([]int32, slots), generations: make([]atomic.Uint32, slots),
	}
}

func (s *slab) slots64() int64 { return int64(s.slots) }

// pop takes a slot; there must be a free one.
func (s *slab) pop() (slot int32, generation uint32) {
	if s.head >= 0 {
		slot = s.head
		s.head = s.links[slot]
	} else {
		slot = s.fresh
		s.fresh++
	}
	s.used++
	return slot, s.generations[slot].Add(1)
}

func (s *slab) push(slot int32) {
	s.generations[slot].Add(1)
	s.links[slot] = s.head
	s.head = slot
	s.used--
}

// Buffer is memory of an Arena: a value that may be copied. The zero Buffer is
// no memory.
type Buffer struct {
	slab       *slab
	slot       int32
	generation uint32
	bytes      int
}

// Len returns the buffer's length.
func (b Buffer) Len() int { return b.bytes }

// Bytes returns the buffer's memory, aligned to 64 bytes, or nil once it was
// freed. Slices that were taken before must not be used any more then: the
// memory may be somebody else's, or gone. At least 16 bytes past the end can
// be read by code that is not bound by Go's slices; they may belong to another
// buffer, so what they hold means nothing.
func (b Buffer) Bytes() []byte {
	s := b.slab
	if s == nil || s.generations[b.slot].Load() != b.generation {
		return nil
	}
	from := int64(b.slot) * s.class.size
	return s.room[from : from+int64(b.bytes) : from+int64(b.bytes)]
}

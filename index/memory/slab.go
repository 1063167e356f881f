package memory

import "sync/atomic"

// chunkWords is how much a slab grows by: 32 KiB, without a pointer in it.
const chunkWords = 1 << 12

type chunk [chunkWords]uint64

// nowhere is what a reader sees behind a reference that is none any more.
var nowhere chunk

// cell is a place in a slab. Words are read and written atomically, because
// readers look at them while they change; what they read counts only if no
// writer was there meanwhile.
type cell struct {
	c  *chunk
	at uint32
}

func (c cell) get(i uint32) uint64 {
	return atomic.LoadUint64(&c.c[(c.at+i)&(chunkWords-1)])
}

// set writes a word. An atomic store costs 6 ns, a look whether it is there
// already next to nothing.
func (c cell) set(i uint32, v uint64) {
	if p := &c.c[(c.at+i)&(chunkWords-1)]; atomic.LoadUint64(p) != v {
		atomic.StoreUint64(p, v)
	}
}

// init writes a word of a cell that was just taken. What no reader ever saw is
// written without an atomic store.
func (c cell) init(i uint32, v uint64, fresh bool) {
	if fresh {
		c.c[(c.at+i)&(chunkWords-1)] = v
	} else {
		c.set(i, v)
	}
}

func (c cell) high(i uint32) uint32 { return uint32(c.get(i) >> 32) }
func (c cell) low(i uint32) uint32  { return uint32(c.get(i)) }

func (c cell) setHigh(i, v uint32) { c.set(i, uint64(v)<<32|c.get(i)&(1<<32-1)) }
func (c cell) setLow(i, v uint32)  { c.set(i, c.get(i)&^(1<<32-1)|uint64(v)) }

// slab hands out cells. References count units of 1<<shift words; 0 is none.
type slab struct {
	shift uint
	limit uint32 // no reference is at or above it
	next  uint32 // the first unit that was never handed out
	live  int    // units in use
	// seen is the first unit that no reader can have a reference to, from before
	// a reset either.
	seen uint32
	free [classes]uint32
	dir  atomic.Pointer[[]*chunk]
	mem  *blocks
}

// classes is one more than the units of the longest cell.
const classes = (nodeText+2*textWords)/2 + recUnits + 1

// cell returns the place of a reference.
func (s *slab) cell(ref uint32) cell {
	return cellAt(*s.dir.Load(), ref<<s.shift)
}

func cellAt(dir []*chunk, word uint32) cell {
	if i := word / chunkWords; int(i) < len(dir) {
		return cell{dir[i], word % chunkWords}
	}
	return cell{&nowhere, 0}
}

// touch asks for the memory of a long cell, without waiting for it.
func (s *slab) touch(ref uint32) {
	c := s.cell(ref)
	c.get(0)
	c.get(64 / 8)
}

// room reports whether so many units can be had however they lie.
func (s *slab) room(units int) bool {
	return uint64(s.next)+uint64(units) < uint64(s.limit)
}

// take returns so many adjacent units. fresh: no reader ever saw them.
func (s *slab) take(units uint32) (ref uint32, fresh bool) {
	s.live += int(units)
	if ref := s.free[units]; ref != 0 {
		s.free[units] = uint32(s.cell(ref).get(0))
		return ref, false
	}
	perChunk := uint32(chunkWords) >> s.shift
	if left := perChunk - s.next%perChunk; left < units {
		s.spare(s.next, left)
		s.next += left
	}
	if s.next%perChunk == 0 {
		s.grow()
	}
	if s.next == 0 {
		s.next = 1 // no cell has the reference 0
	}
	ref = s.next
	s.next += units
	return ref, ref >= s.seen
}

// spare keeps the rest of a chunk for a shorter cell.
func (s *slab) spare(ref, units uint32) {
	if units > 0 {
		s.cell(ref).set(0, uint64(s.free[units]))
		s.free[units] = ref
	}
}

func (s *slab) grow() {
	old := *s.dir.Load()
	dir := make([]*chunk, len(old)+1)
	copy(dir, old)
	dir[len(old)] = (*chunk)(s.mem.words(chunkWords))
	s.dir.Store(&dir)
}

// give takes units back.
func (s *slab) give(ref, units uint32) {
	s.live -= int(units)
	s.spare(ref, units)
}

// reset lets go of everything.
func (s *slab) reset() {
	s.seen = max(s.seen, s.next)
	s.next, s.live, s.free = 0, 0, [classes]uint32{}
	s.dir.Store(new([]*chunk))
}

func (s *slab) bytes() int { return len(*s.dir.Load()) * chunkWords * 8 }

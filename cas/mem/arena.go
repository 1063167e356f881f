package mem

import (
	"fmt"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/anon"
)

const (
	slabBytes = 64 << 20
	grain     = 64 // rooms begin on cache lines
	// Blobs above this length get a mapping of their own: in slabs they would
	// leave unused ends of up to their own length.
	maxInSlab = slabBytes / 8
	classes   = 512
)

// room is the place of a blob. The zero room is that of the empty blob.
type room struct {
	slab  uint32
	start uint32
	bytes int64
}

// arena gives out room in slabs. Its mutex guards everything but the table of
// slabs, which readers look at without it and which is replaced as a whole
// when it grows.
type arena struct {
	slabs atomic.Pointer[[][]byte]

	mu       sync.Mutex
	reserved []byte          // one mapping that holds the first slabs
	spare    []uint32        // reserved slabs nothing was taken from yet
	slab     uint32          // slab that rooms are cut from
	next     int64           // offset of its unused end
	bumped   bool            // whether slab names one
	byLen    [classes][]room // freed rooms by size class
	empty    []uint32        // slots of the table whose mapping is gone
}

// class returns the size class of blobs of n bytes, and the bytes that each
// of its rooms has: 16 steps between powers of two, in multiples of grain.
func class(n int64) (c int, size int64) {
	if n <= 16*grain {
		c = int((n + grain - 1) / grain)
		return c, int64(c) * grain
	}
	shift := bits.Len64(uint64(n-1)) - 5 // 16 steps: the top bit and four below it
	step := int64(1) << shift
	k := (n + step - 1) / step // 17 to 32
	return (shift-5)*16 + int(k), k * step
}

// bytes returns the content of r.
func (a *arena) bytes(r room) []byte {
	if r.bytes == 0 {
		return nil
	}
	end := int64(r.start) + r.bytes
	return (*a.slabs.Load())[r.slab][r.start:end:end]
}

// alloc returns room for n bytes, or ErrOutOfMemory.
func (a *arena) alloc(n int64) (room, error) {
	if n == 0 {
		return room{}, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if n > maxInSlab {
		slab, err := a.mapLocked(n)
		return room{slab: slab, bytes: n}, err
	}
	c, size := class(n)
	if free := a.byLen[c]; len(free) > 0 {
		r := free[len(free)-1]
		a.byLen[c] = free[:len(free)-1]
		r.bytes = n
		return r, nil
	}
	if !a.bumped || a.next+size > slabBytes {
		if err := a.nextSlabLocked(); err != nil {
			return room{}, err
		}
	}
	r := room{slab: a.slab, start: uint32(a.next), bytes: n}
	a.next += size
	return r, nil
}

// free takes r back.
func (a *arena) free(r room) {
	if r.bytes == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.bytes > maxInSlab {
		a.unmapLocked(r.slab)
		return
	}
	c, _ := class(r.bytes)
	a.byLen[c] = append(a.byLen[c], r)
}

func (a *arena) nextSlabLocked() error {
	if n := len(a.spare); n > 0 {
		a.slab, a.spare = a.spare[n-1], a.spare[:n-1]
	} else {
		slab, err := a.mapLocked(slabBytes)
		if err != nil {
			return err
		}
		a.slab = slab
	}
	a.next, a.bumped = 0, true
	return nil
}

// mapLocked adds a mapping of n bytes to the table.
func (a *arena) mapLocked(n int64) (uint32, error) {
	b, err := anon.Map(int(n))
	if err != nil {
		return 0, fmt.Errorf("mem: blobs: %w", err)
	}
	var table [][]byte
	if old := a.slabs.Load(); old != nil {
		table = append(table, *old...)
	}
	var slot uint32
	if k := len(a.empty); k > 0 {
		slot, a.empty = a.empty[k-1], a.empty[:k-1]
		table[slot] = b
	} else {
		slot = uint32(len(table))
		table = append(table, b)
	}
	a.slabs.Store(&table)
	return slot, nil
}

// unmapLocked gives a mapping back. Nobody can reach its bytes any more: its
// only room was freed.
func (a *arena) unmapLocked(slot uint32) {
	table := append([][]byte(nil), *a.slabs.Load()...)
	unmap(table[slot])
	table[slot] = nil
	a.slabs.Store(&table)
	a.empty = append(a.empty, slot)
}

// reserve makes slabs for at least n bytes and touches them on all processors.
// It is called once, before anything is in the table. The slabs are parts of
// one mapping, so that a reserve that cannot be had is refused at once.
func (a *arena) reserve(n int64) error {
	if n == 0 {
		return nil
	}
	if n > math.MaxInt-slabBytes {
		return kvferry.ErrOutOfMemory
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	count := int((n + slabBytes - 1) / slabBytes)
	all, err := anon.Map(count * slabBytes)
	if err != nil {
		return err
	}
	table := make([][]byte, count)
	for i := range table {
		table[i] = all[i*slabBytes:][:slabBytes:slabBytes]
		a.spare = append(a.spare, uint32(count-1-i)) // taken from the end
	}
	a.reserved = all
	a.slabs.Store(&table)
	anon.Touch(all)
	return nil
}

// release gives all memory back. No room may be used any more.
func (a *arena) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	table := a.slabs.Swap(nil)
	if table == nil {
		return
	}
	for _, b := range (*table)[len(a.reserved)/slabBytes:] {
		if b != nil {
			unmap(b)
		}
	}
	if a.reserved != nil {
		unmap(a.reserved)
	}
}

func unmap(b []byte) {
	if err := anon.Unmap(b); err != nil {
		panic("mem: a mapping of ours: " + err.Error())
	}
}

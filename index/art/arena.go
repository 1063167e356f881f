package art

import (
	"fmt"
	"math/bits"
	"unsafe"

	"github.com/kvferry/kvferry/internal/anon"
)

// ref names an object in the arena: its place in units of 8 bytes. 0 names
// none. In the trees a block has leafBit set, a node has not.
type ref uint32

const (
	unitBytes  = 8
	chunkShift = 15 // a chunk in units
	chunkUnits = 1 << chunkShift
	chunkBytes = chunkUnits * unitBytes // 256 KiB

	leafBit   ref = 1 << 31
	maxChunks     = 1 << (31 - chunkShift)

	maxRegionChunks = 128 // mapped at a time
)

// Objects of up to smallBytes have a class for each multiple of 8, longer ones
// four for each power of two.
const (
	smallBytes   = 1024
	smallClasses = smallBytes/unitBytes + 1
	classes      = smallClasses + 4*24
)

// chunk is what is frozen, checked and written at a time.
type chunk [chunkBytes]byte

// arena is memory without pointers: what a snapshot is. Whoever writes into it
// has it alone; several may read.
type arena struct {
	chunks  []*chunk
	next    uint64 // where the next new object goes, in bytes
	end     uint64 // of the chunk that it lies in
	free    [classes]ref
	idle    []uint32 // chunks that hold nothing
	regions [][]byte
	spare   []byte // mapped and not yet a chunk

	frozen *frozen // while a snapshot is written
}

// classOf returns the class of an object and the room that it takes.
func classOf(n int) (class int, size uint64) {
	if n <= smallBytes {
		class = (n + unitBytes - 1) / unitBytes
		return class, uint64(class) * unitBytes
	}
	top := bits.Len(uint(n-1)) - 1 // n-1 lies in [2^top, 2^(top+1))
	step := 1 << (top - 2)
	quarter := (n - 1 - 1<<top) / step
	return smallClasses + 4*(top-10) + quarter, uint64(1<<top + (quarter+1)*step)
}

// at returns an object, to be read only.
func (a *arena) at(r ref) unsafe.Pointer {
	return unsafe.Pointer(&a.chunks[r>>chunkShift][(r&(chunkUnits-1))*unitBytes])
}

// own returns an object of n bytes, to be written.
func (a *arena) own(r ref, n int) unsafe.Pointer {
	if a.frozen != nil {
		a.save(r, n)
	}
	return a.at(r)
}

// bytes returns the memory of an object.
func (a *arena) bytes(r ref, n int) []byte { return unsafe.Slice((*byte)(a.at(r)), n) }

// alloc returns room for n bytes, which are anything.
func (a *arena) alloc(n int) ref {
	class, size := classOf(n)
	if r := a.free[class]; r != 0 {
		a.free[class] = *(*ref)(a.own(r, n))
		return r
	}
	if a.next+size > a.end {
		a.grow(int((size + chunkBytes - 1) / chunkBytes))
	}
	r := ref(a.next / unitBytes)
	a.next += size
	a.own(r, int(size))
	return r
}

// release gives an object of n bytes back, for others of its class. It is zeros
// then, which cost a snapshot nothing.
func (a *arena) release(r ref, n int) {
	class, _ := classOf(n)
	a.own(r, n)
	clear(a.bytes(r, n))
	*(*ref)(a.at(r)) = a.free[class]
	a.free[class] = r
}

// grow goes on in n empty chunks, which lie side by side.
func (a *arena) grow(n int) {
	first := uint64(len(a.chunks))
	if last := len(a.idle) - 1; n == 1 && last >= 0 {
		first, a.idle = uint64(a.idle[last]), a.idle[:last]
	} else {
		a.extend(n)
	}
	a.next, a.end = first*chunkBytes, (first+uint64(n))*chunkBytes
	if first == 0 {
		a.next = unitBytes // 0 names nothing
	}
}

// reset forgets all objects.
func (a *arena) reset() {
	a.next, a.end, a.free = 0, 0, [classes]ref{}
	a.idle = a.idle[:0]
	for i := len(a.chunks) - 1; i >= 0; i-- {
		a.idle = append(a.idle, uint32(i))
	}
}

// extend adds n chunks side by side.
func (a *arena) extend(n int) {
	if len(a.chunks)+n > maxChunks {
		panic(fmt.Sprintf("art: more than %d chunks", maxChunks)) // room was asked before
	}
	if len(a.spare) < n*chunkBytes {
		region := max(n, min(maxRegionChunks, max(1, len(a.chunks))))
		mem, err := anon.Map(region * chunkBytes)
		if err != nil {
			panic(fmt.Sprintf("art: %v", err)) // as make does
		}
		a.regions = append(a.regions, mem)
		a.spare = mem
	}
	for range n {
		a.chunks = append(a.chunks, (*chunk)(a.spare[:chunkBytes]))
		a.spare = a.spare[chunkBytes:]
	}
}

// room tells whether n more bytes have addresses.
func (a *arena) room(n uint64) bool {
	return uint64(len(a.chunks))*chunkBytes+n < maxChunks*chunkBytes
}

// drop gives all memory back.
func (a *arena) drop() error {
	var err error
	for _, mem := range a.regions {
		if e := anon.Unmap(mem); e != nil {
			err = e
		}
	}
	*a = arena{}
	return err
}

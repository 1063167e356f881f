package capture

import (
	"bytes"
	"hash/maphash"
	"math/bits"
)

// rows is a set of equally long byte strings, each one or more digests' sums,
// found by open addressing. The hash has a seed of its own: whoever makes a
// manifest chooses its sums.
type rows struct {
	at    func(i int) []byte
	slots []uint32 // 1 + index of a member
	mask  uint64
	seed  maphash.Seed
}

// newRows makes room for n members; at returns the bytes of a member.
func newRows(n int, at func(i int) []byte) *rows {
	size := 1 << bits.Len(uint(2*n))
	return &rows{at: at, slots: make([]uint32, size), mask: uint64(size - 1), seed: maphash.MakeSeed()}
}

// find returns the member that equals b, or -1 and the free slot where it would
// go.
func (r *rows) find(b []byte) (member int, slot uint64) {
	slot = maphash.Bytes(r.seed, b)
	for slot &= r.mask; ; slot = (slot + 1) & r.mask {
		s := r.slots[slot]
		if s == 0 {
			return -1, slot
		}
		if bytes.Equal(r.at(int(s-1)), b) {
			return int(s - 1), slot
		}
	}
}

// add returns the member that equals i: i itself, which is one from then on,
// if there was none.
func (r *rows) add(i int) int {
	member, slot := r.find(r.at(i))
	if member < 0 {
		r.slots[slot] = uint32(i) + 1
		return i
	}
	return member
}

// has reports whether a member equals b.
func (r *rows) has(b []byte) bool {
	member, _ := r.find(b)
	return member >= 0
}

package capture

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/kvferry/kvferry/digest"
)

// rows is a set of equally long byte strings, each one or more digests' sums,
// found by open addressing. Sums are spread evenly, so some bytes of each serve
// as the hash; all of them, because pages may differ in one part alone.
type rows struct {
	at    func(i int) []byte
	slots []uint32 // 1 + index of a member
	mask  uint64
}

// newRows makes room for n members; at returns the bytes of a member.
func newRows(n int, at func(i int) []byte) *rows {
	size := 1 << bits.Len(uint(2*n))
	return &rows{at: at, slots: make([]uint32, size), mask: uint64(size - 1)}
}

// find returns the slot of the member that equals b, or the free one where it
// would go.
func (r *rows) find(b []byte) (slot uint64, ok bool) {
	n := 0
	for ; len(b) >= (n+1)*digest.Size; n++ {
		slot = bits.RotateLeft64(slot, 17) ^ binary.LittleEndian.Uint64(b[n*digest.Size:])
	}
	for slot &= r.mask; ; slot = (slot + 1) & r.mask {
		s := r.slots[slot]
		if s == 0 {
			return slot, false
		}
		if bytes.Equal(r.at(int(s-1)), b) {
			return slot, true
		}
	}
}

// add makes i a member and reports whether no equal one was there.
func (r *rows) add(i int) bool {
	slot, ok := r.find(r.at(i))
	if !ok {
		r.slots[slot] = uint32(i) + 1
	}
	return !ok
}

// has reports whether a member equals b.
func (r *rows) has(b []byte) bool {
	_, ok := r.find(b)
	return ok
}

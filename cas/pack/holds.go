package pack

import (
	"encoding/binary"

	"github.com/kvferry/kvferry/digest"
)

// prefixOf is what a session remembers of a blob that it holds, and what it
// tells collectors of other processes: 64 bits of the digest. That two blobs
// share them costs some garbage that stays for a while; nothing else rests on
// it. It is never 0.
func prefixOf(d digest.Digest) uint64 {
	sum := d.Sum()
	return binary.LittleEndian.Uint64(sum[:]) ^ uint64(d.Algorithm()) | 1
}

// holdSet is a set of prefixes: open addressing, no deletion.
type holdSet struct {
	slots []uint64
	n     int
}

// add reports whether the prefix was new.
func (h *holdSet) add(prefix uint64) bool {
	if 4*(h.n+1) > 3*len(h.slots) {
		old := h.slots
		h.slots = make([]uint64, max(64, 2*len(old)))
		for _, p := range old {
			if p != 0 {
				h.slots[h.find(p)] = p
			}
		}
	}
	i := h.find(prefix)
	if h.slots[i] == prefix {
		return false
	}
	h.slots[i] = prefix
	h.n++
	return true
}

func (h *holdSet) has(prefix uint64) bool {
	return h.n > 0 && h.slots[h.find(prefix)] == prefix
}

// find returns the slot that has the prefix or would take it.
func (h *holdSet) find(prefix uint64) int {
	mask := uint64(len(h.slots) - 1)
	// Digests can be chosen by whoever makes pages, so their bits are mixed;
	// who grinds for this, too, only slows the session that puts the pages.
	i := (prefix * 0x9e3779b97f4a7c15) >> 20 & mask
	for h.slots[i] != 0 && h.slots[i] != prefix {
		i = (i + 1) & mask
	}
	return int(i)
}

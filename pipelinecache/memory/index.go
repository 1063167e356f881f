package memory

import (
	"encoding/binary"
	"math/bits"

	"github.com/kvferry/kvferry/pipelinecache"
)

// index finds entries by the hash of their keys: open addressing with linear
// probing, at most half full. A slot's hash keeps it from looking at an entry
// that is another's, and from hashing keys again when it moves.
type index []slot

// slot is free if its entry is 0.
type slot struct{ hash, entry uint32 }

// minSlots is the length of an index that has anything.
const minSlots = 8

// hash mixes all bytes of a fingerprint, so that fingerprints which somebody
// counted instead of hashing are spread, too.
func (s *Store) hash(f *pipelinecache.Fingerprint) uint32 {
	a := binary.LittleEndian.Uint64(f[0:]) ^ s.seeds[0]
	b := binary.LittleEndian.Uint64(f[8:]) ^ s.seeds[1]
	c := binary.LittleEndian.Uint64(f[16:]) ^ s.seeds[2]
	d := binary.LittleEndian.Uint64(f[24:]) ^ s.seeds[3]
	h1, l1 := bits.Mul64(a, b)
	h2, l2 := bits.Mul64(c, d)
	h := (h1 ^ l1) + (h2 ^ l2)
	return uint32(h ^ h>>32)
}

// find returns the entry of a key, or 0.
func (x index) find(entries []entry, f *pipelinecache.Fingerprint, hash uint32) uint32 {
	if len(x) == 0 {
		return 0
	}
	mask := uint32(len(x) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		switch s := x[i]; {
		case s.entry == 0:
			return 0
		case s.hash == hash && entries[s.entry].key == *f:
			return s.entry
		}
	}
}

// add adds an entry that is not there; then there are count of them.
func (x *index) add(hash, e uint32, count int) {
	if 2*count > len(*x) {
		old := *x
		*x = make(index, max(2*len(old), minSlots))
		for _, s := range old {
			if s.entry != 0 {
				x.insert(s)
			}
		}
	}
	x.insert(slot{hash, e})
}

func (x index) insert(s slot) {
	mask := uint32(len(x) - 1)
	i := s.hash & mask
	for x[i].entry != 0 {
		i = (i + 1) & mask
	}
	x[i] = s
}

// remove removes an entry that is there. Those behind it that lie further on
// than they belong move up, so that no gap hides them.
func (x index) remove(hash, e uint32) {
	mask := uint32(len(x) - 1)
	gap := hash & mask
	for x[gap].entry != e {
		gap = (gap + 1) & mask
	}
	for i := (gap + 1) & mask; x[i].entry != 0; i = (i + 1) & mask {
		if (i-x[i].hash)&mask >= (i-gap)&mask {
			x[gap] = x[i]
			gap = i
		}
	}
	x[gap] = slot{}
}

package table

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"

	"github.com/kvferry/kvferry/digest"
)

const (
	shardBits  = 11
	shardCount = 1 << shardBits
	shardShift = 64 - shardBits
	ageBits    = 8
	tagMask    = 1<<(64-ageBits) - 1
)

// entry is a blob in a slot; see the package comment. Words 0 and 4 change
// under the read lock, by Touch and Set, so they are read atomically there.
type entry [5]uint64

// tag is what is in the entry of x.
func (e *entry) tag() uint64 { return atomic.LoadUint64(&e[0]) >> ageBits }

func (e *entry) age() uint8 { return uint8(atomic.LoadUint64(&e[0])) }

// stored is the place with the algorithm.
func (e *entry) stored() Place { return Place(atomic.LoadUint64(&e[4])) }

// place is the place as the callers know it.
func (e *entry) place() Place { return e.stored() &^ algorithmMask }

// empty tells whether there is nothing in the slot. Word 0 alone decides for
// almost all slots that are not.
func (e *entry) empty() bool { return atomic.LoadUint64(&e[0]) == 0 && e.stored() == 0 }

func (e *entry) setAge(age uint8) {
	for {
		w := atomic.LoadUint64(&e[0])
		if uint8(w) == age || atomic.CompareAndSwapUint64(&e[0], w, w>>ageBits<<ageBits|uint64(age)) {
			return
		}
	}
}

// setFlags writes only if that changes something, so that a flag which is set
// again costs other processors nothing.
func (e *entry) setFlags(f Flag, on bool) {
	has := uint64(e.stored()) & uint64(f)
	if on && has != uint64(f) {
		atomic.OrUint64(&e[4], uint64(f))
	} else if !on && has != 0 {
		atomic.AndUint64(&e[4], ^uint64(f))
	}
}

// key is a digest as it is looked for.
type key struct {
	x         uint64
	rest      [3]uint64
	algorithm Place // in its bits; 0: the digest is invalid
}

func (k *key) shard() uint64 { return k.x >> shardShift }
func (k *key) tag() uint64   { return k.x & tagMask }

// is tells whether the entry, whose tag is k's, is that of k.
func (k *key) is(e *entry) bool {
	return e[1] == k.rest[0] && e[2] == k.rest[1] && e[3] == k.rest[2] && e.stored()&algorithmMask == k.algorithm
}

// entry returns the entry of k with age 0.
func (k *key) entry(at Place) entry {
	return entry{k.tag() << ageBits, k.rest[0], k.rest[1], k.rest[2], uint64(at | k.algorithm)}
}

// seed keys the permutation.
type seed [4]uint64

// fold is the step of the permutation that depends on the other words. What
// words give equal results is known only with the seed.
func (s *seed) fold(a, b, c uint64) uint64 {
	h1, l1 := bits.Mul64(a^s[0], b^s[1])
	h2, l2 := bits.Mul64(c^s[2], s[3])
	return (h1 ^ l1) + (h2 ^ l2)
}

const (
	spread   = 0x9e3779b97f4a7c15 // odd
	unspread = 0xf1de83e19937733d // its inverse modulo 1<<64
)

// key makes the key of a digest.
func (s *seed) key(d digest.Digest) key {
	sum := d.Sum()
	return s.keyOf(&sum, d.Algorithm())
}

func (s *seed) keyOf(sum *[digest.Size]byte, a digest.Algorithm) key {
	k := key{rest: [3]uint64{
		binary.LittleEndian.Uint64(sum[8:]), binary.LittleEndian.Uint64(sum[16:]), binary.LittleEndian.Uint64(sum[24:]),
	}}
	if a.Valid() {
		k.algorithm = Place(a) << algorithmShift
	}
	x := binary.LittleEndian.Uint64(sum[:]) ^ s.fold(k.rest[0], k.rest[1], k.rest[2])
	x = (x ^ x>>32) * spread
	k.x = x ^ x>>32
	return k
}

// digest returns the digest of an entry of the shard.
func (s *seed) digest(shard uint64, e *entry) digest.Digest {
	x := shard<<shardShift | e.tag()
	x = (x ^ x>>32) * unspread
	x ^= x >> 32
	var sum [digest.Size]byte
	binary.LittleEndian.PutUint64(sum[:], x^s.fold(e[1], e[2], e[3]))
	binary.LittleEndian.PutUint64(sum[8:], e[1])
	binary.LittleEndian.PutUint64(sum[16:], e[2])
	binary.LittleEndian.PutUint64(sum[24:], e[3])
	return digest.New(digest.Algorithm(e.stored()&algorithmMask>>algorithmShift), sum)
}

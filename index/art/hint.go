package art

import (
	"bytes"
	"errors"
	"hash/maphash"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"github.com/kvferry/kvferry/internal/anon"
)

// hints lead from a scope and a prefix to its block, where it has one alone, as
// most have. They are beside the trees, and no part of what is stored: what they
// lead to is compared with what was asked for, and the tree of blocks is asked
// where they lead nowhere. A way down the tree of 10^6 blocks waits three or four
// times for memory, one turn after the other; this one waits twice, and for
// several prefixes at once, since where each hint lies is known before.
//
// The buckets grow one at a time (linear hashing), so that no put waits for all to
// be moved.
type hints struct {
	seed     maphash.Seed
	blocks   uint64 // that there are
	buckets  uint32 // in use
	mask     uint32 // of the bits that number them, less than 2*buckets
	segments []segment
}

// bucket is a line of hints: the upper half of each is its tag, the lower the
// block. 0 is none.
type bucket [8]uint64

const (
	bucketBytes  = int(unsafe.Sizeof(bucket{}))
	firstBuckets = 64
	blocksEach   = 4 // of a bucket
)

// segment is as many buckets as all those before, or the first ones.
type segment struct {
	first uint32
	mem   []byte
}

// tag returns that of a scope and prefix.
func (h *hints) tag(sid uint32, prefix string) uint32 {
	return uint32(maphash.String(h.seed, prefix)) + sid*0x9e3779b1
}

// tagOf returns that of a block. With a NUL in its prefix it is another one than
// that of the prefix, and no matter: it has no hint.
func (x *state) tagOf(b ref) uint32 {
	f := x.prefixField(b)
	return uint32(maphash.Bytes(x.hints.seed, f[:len(f)-2])) + scopeID(x.keyOf(b))*0x9e3779b1
}

// at returns a bucket.
func (h *hints) at(i uint32) *bucket {
	s := &h.segments[bits.Len32(i/firstBuckets)]
	return (*bucket)(unsafe.Pointer(&s.mem[int(i-s.first)*bucketBytes]))
}

// bucketOf returns the bucket of a tag; there is one.
func (h *hints) bucketOf(tag uint32) *bucket {
	i := tag & h.mask
	if i >= h.buckets {
		i &= h.mask >> 1
	}
	return h.at(i)
}

// find returns the block that a tag leads to, 0 if it leads to none.
func (h *hints) find(tag uint32) ref {
	if h.buckets == 0 {
		return 0
	}
	b := h.bucketOf(tag)
	for i := range b {
		if e := atomic.LoadUint64(&b[i]); uint32(e>>32) == tag && e != 0 {
			return ref(e)
		}
	}
	return 0
}

func hint(tag uint32, b ref) uint64 { return uint64(tag)<<32 | uint64(b) }

// offer adds a hint if there is room. Readers may do it, several at once: no
// writer is there.
func (h *hints) offer(tag uint32, to ref) {
	if h.buckets == 0 {
		return
	}
	b := h.bucketOf(tag)
	for i := range b {
		if atomic.LoadUint64(&b[i]) == 0 && atomic.CompareAndSwapUint64(&b[i], 0, hint(tag, to)) {
			return
		}
	}
}

// put adds a hint, in place of another one if there is no room.
func (h *hints) put(tag uint32, to ref) {
	b := h.bucketOf(tag)
	at := int(tag >> 29)
	for i := range b {
		if b[i] == 0 {
			at = i
			break
		}
	}
	b[at] = hint(tag, to)
}

// cut takes out the hints of a tag.
func (h *hints) cut(tag uint32) {
	b := h.bucketOf(tag)
	for i := range b {
		if uint32(b[i]>>32) == tag {
			b[i] = 0
		}
	}
}

// grow counts a block, and adds buckets for it.
func (h *hints) grow() {
	h.blocks++
	for uint64(h.buckets)*blocksEach < h.blocks && h.split() {
	}
}

// split adds a bucket, and moves into it what belongs there of the one that its
// number begins with. It reports whether there was memory for it.
func (h *hints) split() bool {
	n := h.buckets
	if n >= 1<<30 || !h.extend(n) {
		return false
	}
	to := h.at(n)
	*to = bucket{}
	h.buckets++
	if n == 0 {
		return true
	}
	h.mask = 1<<bits.Len32(n) - 1
	from := h.at(n &^ (1 << (bits.Len32(n) - 1)))
	for i, e := range from {
		if uint32(e>>32)&h.mask == n {
			from[i], to[i] = 0, e
		}
	}
	return true
}

// extend makes a segment for bucket n, if it has none.
func (h *hints) extend(n uint32) bool {
	if bits.Len32(n/firstBuckets) < len(h.segments) {
		return true
	}
	first, size := uint32(0), uint32(firstBuckets)
	if len(h.segments) > 0 {
		first, size = n, n
	}
	mem, err := anon.Map(int(size) * bucketBytes)
	if err != nil {
		return false // the tree does without
	}
	h.segments = append(h.segments, segment{first, mem})
	return true
}

// reserve makes buckets for so many blocks, of which none has a hint: readers add
// them.
func (h *hints) reserve(blocks uint64) {
	h.blocks = blocks
	for uint64(h.buckets)*blocksEach < blocks && h.split() {
	}
}

// reset forgets everything but the memory.
func (h *hints) reset() { h.blocks, h.buckets, h.mask = 0, 0, 0 }

// drop gives all memory back.
func (h *hints) drop() error {
	var err error
	for _, s := range h.segments {
		err = errors.Join(err, anon.Unmap(s.mem))
	}
	h.reset()
	h.segments = nil
	return err
}

// plain tells whether nothing is escaped in the key of a block. Only such blocks
// have hints: then strings are what is in their keys, and are compared as they are.
func (x *state) plain(b ref) bool {
	p, h := x.prefixField(b), x.hashField(b)
	return bytes.IndexByte(p[:len(p)-2], 0) < 0 && bytes.IndexByte(h[:len(h)-2], 0) < 0
}

// has tells whether a plain block is one of a scope and prefix.
func (x *state) has(b ref, sid uint32, prefix string) bool {
	key := x.keyOf(b)
	return int(x.block(b).hashAt) == scopeBytes+len(prefix)+2 && scopeID(key) == sid &&
		string(key[scopeBytes:scopeBytes+len(prefix)]) == prefix
}

// only returns the one block of a scope and prefix, if a hint leads to it.
func (x *state) only(tag, sid uint32, prefix string) ref {
	b := x.hints.find(tag)
	if b == 0 || !x.has(b, sid, prefix) {
		return 0
	}
	return b
}

// offer hints at a block that the tree has found to be the only one of its scope
// and prefix.
func (x *state) offer(tag uint32, b ref) {
	if x.plain(b) {
		x.hints.offer(tag, b)
	}
}

// hinted keeps the hints true when a block was inserted, whose key has so many
// bytes in common with another one.
func (x *state) hinted(tag uint32, b ref, common int) {
	x.hints.grow()
	if x.hints.buckets == 0 {
		return
	}
	if common >= int(x.block(b).hashAt) {
		x.hints.cut(tag) // it is not the only one
		return
	}
	if x.plain(b) {
		x.hints.put(tag, b)
	}
}

// unhinted forgets the hint at a block.
func (x *state) unhinted(b ref) {
	x.hints.blocks = max(x.hints.blocks, 1) - 1 // forged files may count wrong
	if x.hints.buckets > 0 {
		x.hints.cut(x.tagOf(b))
	}
}

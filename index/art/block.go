package art

import (
	"slices"
	"strings"
	"unsafe"

	"github.com/kvferry/kvferry/index"
)

// block is a block of a KV cache with those that hold it; its key follows.
type block struct {
	keyBytes uint32
	hashAt   uint32 // in the key
	n        uint32 // holders
	more     ref    // the holders, if they are not one
	one      holder // or else; if they are: one.refs is for how many there is room
}

const (
	blockBytes  = int(unsafe.Sizeof(block{}))
	holderBytes = int(unsafe.Sizeof(holder{}))
)

// holder is a worker that holds a block in a tier. Those of a block are ordered
// by the worker's name and the tier. The first of a worker is an element of the
// list of all blocks of that worker.
type holder struct {
	bytes  uint64
	last   uint64
	worker uint32
	tokens uint32
	refs   uint32
	before ref // the block before in the worker's list
	after  ref
	tier   index.Tier
	flags  uint8
	_      [2]uint8
}

const (
	flagPinned    = 1
	flagNoAdapter = 2 // where none and one without a name are the same: it was none
)

func (a *arena) block(r ref) *block { return (*block)(a.at(r &^ leafBit)) }

func (a *arena) ownBlock(r ref) *block { return (*block)(a.own(r&^leafBit, blockBytes)) }

// keyOf returns the key of a block.
func (a *arena) keyOf(r ref) []byte {
	b := a.block(r)
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(b), blockBytes)), b.keyBytes)
}

// turnedOf appends the key of a block in the tree of hashes.
func (a *arena) turnedOf(dst []byte, r ref) []byte {
	return turned(dst, a.keyOf(r), int(a.block(r).hashAt))
}

// hashField returns the hash of a block as it is in keys, with its end.
func (a *arena) hashField(r ref) []byte {
	key := a.keyOf(r)
	return key[a.block(r).hashAt : len(key)-tailBytes]
}

// prefixField returns the prefix of a block as it is in keys, with its end.
func (a *arena) prefixField(r ref) []byte {
	return a.keyOf(r)[scopeBytes:a.block(r).hashAt]
}

// newBlock returns a block without holders.
func (a *arena) newBlock(key []byte, hashAt int) ref {
	r := a.alloc(blockBytes + len(key))
	b := (*block)(a.at(r))
	*b = block{keyBytes: uint32(len(key)), hashAt: uint32(hashAt)}
	copy(a.bytes(r, blockBytes+len(key))[blockBytes:], key)
	return r | leafBit
}

func (a *arena) releaseBlock(r ref) {
	a.release(r&^leafBit, blockBytes+int(a.block(r).keyBytes))
}

// Where holders are several, a summary of each follows their room: the worker's
// number above the tier. Match reads no more of most of them.
const summaryBytes = 4

func (h *holder) summary() uint32 { return h.worker<<3 | uint32(h.tier) }

// manyBytes is the room for so many holders.
func manyBytes(size uint32) int { return int(size) * (holderBytes + summaryBytes) }

// summaries returns those of a block with several holders.
func (a *arena) summaries(b *block) []uint32 {
	at := unsafe.Add(a.at(b.more), int(b.one.refs)*holderBytes)
	return unsafe.Slice((*uint32)(at), b.n)
}

// holders returns those of a block, to be read.
func (a *arena) holders(b *block) []holder {
	if b.more == 0 {
		return unsafe.Slice(&b.one, b.n)
	}
	return unsafe.Slice((*holder)(a.at(b.more)), b.n)
}

// ownHolders returns those of a block, to be written.
func (a *arena) ownHolders(r ref) []holder {
	b := a.block(r)
	if b.more == 0 {
		a.ownBlock(r)
	} else {
		a.own(b.more, manyBytes(b.one.refs))
	}
	return a.holders(b)
}

// insertHolder makes a worker a holder, at place i.
func (a *arena) insertHolder(r ref, i int, worker uint32, tier index.Tier) *holder {
	b := a.ownBlock(r)
	n := int(b.n)
	if n > 0 && (b.more == 0 || b.one.refs == b.n) {
		a.growHolders(b)
	}
	b.n++
	hs := a.ownHolders(r)
	copy(hs[i+1:], hs[i:n])
	hs[i] = holder{worker: worker, tier: tier}
	if b.more != 0 {
		s := a.summaries(b)
		copy(s[i+1:], s[i:n])
		s[i] = hs[i].summary()
	}
	return &hs[i]
}

// growHolders doubles the room for holders.
func (a *arena) growHolders(b *block) {
	size := max(4, 2*b.n)
	to := a.alloc(manyBytes(size))
	hs := a.holders(b)
	copy(unsafe.Slice((*holder)(a.at(to)), size), hs)
	s := unsafe.Slice((*uint32)(unsafe.Add(a.at(to), int(size)*holderBytes)), size)
	for i := range hs {
		s[i] = hs[i].summary()
	}
	if b.more != 0 {
		a.release(b.more, manyBytes(b.one.refs))
	}
	b.more, b.one = to, holder{refs: size}
}

// cutHolder takes out the holder at place i.
func (a *arena) cutHolder(r ref, i int) {
	hs := a.ownHolders(r)
	b := a.ownBlock(r)
	copy(hs[i:], hs[i+1:])
	if b.more != 0 {
		s := a.summaries(b)
		copy(s[i:], s[i+1:])
	}
	b.n--
	if b.more != 0 && b.n == 1 {
		more, size := b.more, b.one.refs
		b.more, b.one = 0, hs[0]
		a.release(more, manyBytes(size))
	}
}

// seek returns the place of a worker's holder in a tier, or where it would be.
func (x *state) seek(hs []holder, worker uint32, tier index.Tier) (int, bool) {
	if len(hs) == 1 && hs[0].worker == worker && hs[0].tier == tier {
		return 0, true
	}
	name := x.workers.at(worker).name
	return slices.BinarySearchFunc(hs, tier, func(h holder, tier index.Tier) int {
		if h.worker == worker {
			return int(h.tier) - int(tier)
		}
		return strings.Compare(x.workers.at(h.worker).name, name)
	})
}

// span returns the places of a worker's holders.
func (x *state) span(hs []holder, worker uint32) (from, to int) {
	from, _ = x.seek(hs, worker, 0)
	for to = from; to < len(hs) && hs[to].worker == worker; to++ {
	}
	return from, to
}

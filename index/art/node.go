package art

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// The kinds of nodes. Sizes of growth and shrinking lie apart, so that a node at
// the border does not change to and fro.
const (
	kind4   = 1
	kind16  = 2
	kind48  = 3
	kind256 = 4

	shrink16  = 3  // children at which a node16 becomes a node4
	shrink48  = 12 // a node48 a node16
	shrink256 = 37 // a node256 a node48
)

// inlineBytes of a compressed path are in the node; of what is longer the
// rest is read from a block below.
const inlineBytes = 8

// head begins every node.
type head struct {
	kind uint8
	_    uint8
	n    uint16 // children
	plen uint32 // length of the compressed path
	path [inlineBytes]byte
}

// node4 and node16 have their keys in order.
type node4 struct {
	head
	keys  [4]byte
	child [4]ref
}

type node16 struct {
	head
	keys  [16]byte
	child [16]ref
}

// node48 has for each byte one more than the place of its child.
type node48 struct {
	head
	slot  [256]uint8
	child [48]ref
}

type node256 struct {
	head
	child [256]ref
}

// nodeBytes are the sizes of the kinds.
var nodeBytes = [5]int{0, int(unsafe.Sizeof(node4{})), int(unsafe.Sizeof(node16{})), int(unsafe.Sizeof(node48{})), int(unsafe.Sizeof(node256{}))}

func (a *arena) head(r ref) *head { return (*head)(a.at(r)) }

// newNode returns an empty node with the path of h.
func (a *arena) newNode(kind uint8, h *head) ref {
	path, plen := h.path, h.plen // h may lie in the arena
	r := a.alloc(nodeBytes[kind])
	clear(a.bytes(r, nodeBytes[kind]))
	n := a.head(r)
	n.kind, n.path, n.plen = kind, path, plen
	return r
}

func (a *arena) releaseNode(r ref) { a.release(r, nodeBytes[a.head(r).kind]) }

const (
	ones64  = 0x0101010101010101
	tops64  = 0x8080808080808080
	ones32  = 0x01010101
	tops32  = 0x80808080
	noPlace = 16
)

// find16 returns the place of b among the first n of the keys, noPlace if it is
// not there. Of the bytes that are zero after the exclusive or, the lowest is
// found for certain.
func find16(keys *[16]byte, n uint16, b byte) int {
	m := uint64(b) * ones64
	x := binary.LittleEndian.Uint64(keys[:]) ^ m
	if t := (x - ones64) &^ x & tops64; t != 0 {
		if i := bits.TrailingZeros64(t) >> 3; i < int(n) {
			return i
		}
		return noPlace
	}
	x = binary.LittleEndian.Uint64(keys[8:]) ^ m
	if t := (x - ones64) &^ x & tops64; t != 0 {
		if i := 8 + bits.TrailingZeros64(t)>>3; i < int(n) {
			return i
		}
	}
	return noPlace
}

func find4(keys *[4]byte, n uint16, b byte) int {
	x := binary.LittleEndian.Uint32(keys[:]) ^ uint32(b)*ones32
	if t := (x - ones32) &^ x & tops32; t != 0 {
		if i := bits.TrailingZeros32(t) >> 3; i < int(n) {
			return i
		}
	}
	return noPlace
}

// child returns the place where the child for b stands, nil if there is none.
func child(h *head, b byte) *ref {
	switch h.kind {
	case kind4:
		n := (*node4)(unsafe.Pointer(h))
		if i := find4(&n.keys, n.n, b); i < noPlace {
			return &n.child[i]
		}
	case kind16:
		n := (*node16)(unsafe.Pointer(h))
		if i := find16(&n.keys, n.n, b); i < noPlace {
			return &n.child[i]
		}
	case kind48:
		n := (*node48)(unsafe.Pointer(h))
		if i := n.slot[b]; i != 0 {
			return &n.child[i-1]
		}
	case kind256:
		n := (*node256)(unsafe.Pointer(h))
		if n.child[b] != 0 {
			return &n.child[b]
		}
	}
	return nil
}

// next returns the first child whose byte is at least b, and its byte; 0 if
// there is none.
func next(h *head, b int) (ref, int) {
	switch h.kind {
	case kind4:
		n := (*node4)(unsafe.Pointer(h))
		return nextOf(n.keys[:n.n], n.child[:], b)
	case kind16:
		n := (*node16)(unsafe.Pointer(h))
		return nextOf(n.keys[:n.n], n.child[:], b)
	case kind48:
		n := (*node48)(unsafe.Pointer(h))
		for ; b < 256; b++ {
			if i := n.slot[b]; i != 0 {
				return n.child[i-1], b
			}
		}
	case kind256:
		n := (*node256)(unsafe.Pointer(h))
		for ; b < 256; b++ {
			if n.child[b] != 0 {
				return n.child[b], b
			}
		}
	}
	return 0, 0
}

func nextOf(keys []byte, children []ref, b int) (ref, int) {
	for i, k := range keys {
		if int(k) >= b {
			return children[i], int(k)
		}
	}
	return 0, 0
}

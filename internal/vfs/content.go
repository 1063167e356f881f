package vfs

import (
	"bytes"
	"math/bits"
)

const (
	// chunkBytes is what is copied when a content that shares it is changed.
	chunkBytes = 64 << 10
	// longest is the longest file of a Disk: it bounds the list of its chunks.
	longest = 1 << 36
)

// owner is who may change a chunk in place. It has a size, so that two owners
// have two addresses.
type owner struct{ _ byte }

type chunk struct {
	owner *owner
	b     [chunkBytes]byte
}

// content is the bytes of a file. A clone costs a pointer for each chunk: the
// chunks are shared until one side changes them. Bytes past the end are zero.
type content struct {
	size   int64
	chunks []*chunk // nil, or not there: zeros
	owner  *owner
}

func (c *content) clone() content {
	c.owner = nil // what is shared is nobody's
	return content{size: c.size, chunks: append([]*chunk(nil), c.chunks...)}
}

// readAt fills p and returns how many bytes there are before the end.
func (c *content) readAt(p []byte, off int64) int {
	if off >= c.size {
		return 0
	}
	p = p[:min(int64(len(p)), c.size-off)]
	for rest := p; len(rest) > 0; {
		i, at := off/chunkBytes, off%chunkBytes
		n := int(min(int64(len(rest)), chunkBytes-at))
		if c.absent(i) {
			clear(rest[:n])
		} else {
			copy(rest[:n], c.chunks[i].b[at:])
		}
		rest, off = rest[n:], off+int64(n)
	}
	return len(p)
}

func (c *content) writeAt(p []byte, off int64) {
	c.size = max(c.size, off+int64(len(p)))
	for len(p) > 0 {
		i, at := off/chunkBytes, off%chunkBytes
		n := int(min(int64(len(p)), chunkBytes-at))
		if !c.absent(i) || !zero(p[:n]) {
			copy(c.own(i).b[at:], p[:n])
		}
		p, off = p[n:], off+int64(n)
	}
}

// absent tells that chunk i is zeros which take no memory.
func (c *content) absent(i int64) bool {
	return i >= int64(len(c.chunks)) || c.chunks[i] == nil
}

// zeros is what files are written ahead with; nobody changes it.
var zeros [chunkBytes]byte

func zero(p []byte) bool { return len(p) <= len(zeros) && bytes.Equal(p, zeros[:len(p)]) }

// copyOf returns a copy of p, or as many of the zeros that all share.
func copyOf(p []byte) []byte {
	if zero(p) {
		return zeros[:len(p):len(p)]
	}
	return append([]byte(nil), p...)
}

// own returns chunk i, which nobody else has.
func (c *content) own(i int64) *chunk {
	if c.owner == nil {
		c.owner = new(owner)
	}
	for int64(len(c.chunks)) <= i {
		c.chunks = append(c.chunks, nil)
	}
	switch old := c.chunks[i]; {
	case old == nil:
		c.chunks[i] = &chunk{owner: c.owner}
	case old.owner != c.owner:
		c.chunks[i] = &chunk{owner: c.owner, b: old.b}
	}
	return c.chunks[i]
}

func (c *content) truncate(size int64) {
	if size < c.size {
		keep := (size + chunkBytes - 1) / chunkBytes
		if keep < int64(len(c.chunks)) {
			c.chunks = c.chunks[:keep:keep]
		}
		if i := size / chunkBytes; !c.absent(i) {
			clear(c.own(i).b[size%chunkBytes:])
		}
	}
	c.size = size
}

// blocks is the set of a file's blocks that take room.
type blocks []uint64

// missing returns how many of the blocks from and up to before to are not in
// the set.
func (s blocks) missing(from, to int64) int64 {
	n := to - from
	for w := from / 64; w < int64(len(s)) && w*64 < to; w++ {
		n -= int64(bits.OnesCount64(s[w] & span(w, from, to)))
	}
	return n
}

func (s *blocks) add(from, to int64) {
	for int64(len(*s))*64 < to {
		*s = append(*s, 0)
	}
	for w := from / 64; w*64 < to; w++ {
		(*s)[w] |= span(w, from, to)
	}
}

// cut removes the blocks from to on.
func (s *blocks) cut(to int64) {
	for w := to / 64; w < int64(len(*s)); w++ {
		(*s)[w] &^= span(w, to, longest)
	}
}

func (s blocks) count() int64 { return int64(len(s))*64 - s.missing(0, int64(len(s))*64) }

// span is the bits of word w for the blocks from and up to before to.
func span(w, from, to int64) uint64 {
	lo, hi := max(from-w*64, 0), min(to-w*64, 64)
	if lo >= hi {
		return 0
	}
	return ^uint64(0) >> (64 - (hi - lo)) << lo
}

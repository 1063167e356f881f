package art

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// tree is an adaptive radix tree over the keys of blocks, which lie in the
// blocks themselves. No key is the beginning of another.
type tree struct {
	*arena
	root ref
	// key returns the key of a block in this tree. It is valid until the next
	// call.
	key func(r ref) []byte
}

// common returns how many bytes a and b have in common at their beginnings.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+8 <= n; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)>>3
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// least returns the first block at or below r.
func (t *tree) least(r ref) ref {
	for r&leafBit == 0 {
		r, _ = next(t.head(r), 0)
	}
	return r
}

// find returns the block that may have the key: no other has.
func (t *tree) find(key []byte) ref {
	r, depth := t.root, 0
	for r != 0 && r&leafBit == 0 {
		h := t.head(r)
		if h.plen != 0 {
			if depth += int(h.plen); depth >= len(key) || !fits(h, key[depth-int(h.plen):]) {
				return 0
			}
		} else if depth >= len(key) {
			return 0
		}
		c := child(h, key[depth])
		if c == nil {
			return 0
		}
		r = *c
		depth++
	}
	return r
}

// fits compares the inline part of a node's path with the beginning of rest,
// as far as either goes.
func fits(h *head, rest []byte) bool {
	n := min(int(h.plen), inlineBytes, len(rest))
	for i := range n {
		if h.path[i] != rest[i] {
			return false
		}
	}
	return true
}

// below returns what holds all blocks whose keys may begin with prefix: those
// of no other subtree do. All of its blocks begin with it or none.
func (t *tree) below(prefix []byte) ref {
	r, depth := t.root, 0
	for r != 0 && r&leafBit == 0 && depth < len(prefix) {
		h := t.head(r)
		if h.plen != 0 {
			if !fits(h, prefix[depth:]) {
				return 0
			}
			if depth += int(h.plen); depth >= len(prefix) {
				return r
			}
		}
		c := child(h, prefix[depth])
		if c == nil {
			return 0
		}
		r = *c
		depth++
	}
	return r
}

// seat is where a reference to a node stands: as a child, or at the root.
type seat struct {
	node ref
	b    byte
}

func (t *tree) set(s seat, r ref) {
	if s.node == 0 {
		t.root = r
		return
	}
	t.own(s.node, nodeBytes[t.head(s.node).kind])
	*child(t.head(s.node), s.b) = r
}

// insert adds a block whose key is in no other. It returns how many bytes of the
// key another one begins with, at most.
func (t *tree) insert(key []byte, leaf ref) (shared int) {
	if t.root == 0 {
		t.root = leaf
		return 0
	}
	s, r, depth := seat{}, t.root, 0
	for {
		if r&leafBit != 0 {
			other := t.key(r)
			n := common(key[depth:], other[depth:])
			t.fork(s, key[depth:], n, r, other[depth+n], leaf)
			return depth + n
		}
		h := t.head(r)
		if h.plen != 0 {
			if n, path := t.along(r, key, depth); n < int(h.plen) {
				b := path[n]
				t.shorten(r, path[n+1:])
				t.fork(s, key[depth:], n, r, b, leaf)
				return depth + n
			}
			depth += int(h.plen)
		}
		c := child(h, key[depth])
		if c == nil {
			if now := t.add(r, key[depth], leaf); now != r {
				t.set(s, now)
			}
			return depth
		}
		s = seat{r, key[depth]}
		r = *c
		depth++
	}
}

// along returns how far the key goes along the path of a node, and the path.
func (t *tree) along(r ref, key []byte, depth int) (int, []byte) {
	h := t.head(r)
	path := h.path[:min(h.plen, inlineBytes)]
	n := common(key[depth:], path)
	if h.plen <= inlineBytes {
		return n, path
	}
	path = t.key(t.least(r))[depth : depth+int(h.plen)]
	return common(key[depth:], path), path
}

// shorten makes rest the path of a node.
func (t *tree) shorten(r ref, rest []byte) {
	h := (*head)(t.own(r, nodeBytes[t.head(r).kind]))
	var path [inlineBytes]byte
	copy(path[:], rest) // which may lie in the node
	h.plen, h.path = uint32(len(rest)), path
}

// fork puts a new node where r stands, with r behind b and the leaf behind
// rest[n]; the first n bytes of rest are its path.
func (t *tree) fork(s seat, rest []byte, n int, r ref, b byte, leaf ref) {
	h := head{plen: uint32(n)}
	copy(h.path[:], rest[:n])
	fork := t.newNode(kind4, &h)
	place(t.head(fork), b, r)
	place(t.head(fork), rest[n], leaf)
	t.set(s, fork)
}

// remove takes out a block with its key.
func (t *tree) remove(key []byte, leaf ref) {
	up, s, r, depth := seat{}, seat{}, t.root, 0
	for r != leaf {
		h := t.head(r)
		depth += int(h.plen)
		up, s = s, seat{r, key[depth]}
		r = *child(h, key[depth])
		depth++
	}
	if s.node == 0 {
		t.root = 0
		return
	}
	if now := t.cut(s.node, s.b); now != s.node {
		t.set(up, now)
	}
}

// walk calls f with the blocks at and below r, in the order of their keys, until
// f returns false, and tells whether it never did.
func (t *tree) walk(r ref, f func(leaf ref) bool) bool {
	if r&leafBit != 0 {
		return f(r)
	}
	if r == 0 {
		return true
	}
	h := t.head(r)
	for c, b := next(h, 0); c != 0; c, b = next(h, b+1) {
		if !t.walk(c, f) {
			return false
		}
	}
	return true
}

// walkFrom is walk for the blocks whose keys are at least low; depth bytes of
// all keys at and below r equal those of low.
func (t *tree) walkFrom(r ref, depth int, low []byte, f func(leaf ref) bool) bool {
	if r == 0 {
		return true
	}
	if r&leafBit != 0 {
		return bytes.Compare(t.key(r), low) < 0 || f(r)
	}
	h := t.head(r)
	path := h.path[:min(h.plen, inlineBytes)]
	if h.plen > inlineBytes {
		path = t.key(t.least(r))[depth : depth+int(h.plen)]
	}
	rest := low[min(depth, len(low)):]
	switch c := bytes.Compare(path, rest[:min(len(path), len(rest))]); {
	case c > 0 || len(rest) <= len(path) && c == 0:
		return t.walk(r, f) // all are at least low, or begin with it
	case c < 0:
		return true
	}
	depth += len(path)
	from := int(low[depth])
	for c, b := next(h, from); c != 0; c, b = next(h, b+1) {
		if b == from {
			if !t.walkFrom(c, depth+1, low, f) {
				return false
			}
		} else if !t.walk(c, f) {
			return false
		}
	}
	return true
}

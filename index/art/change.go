package art

import (
	"slices"
	"unsafe"
)

// add puts a child into a node that has none for b, and returns the node, which
// is another one if it had to grow.
func (a *arena) add(r ref, b byte, c ref) ref {
	h := a.head(r)
	switch {
	case h.kind == kind4 && h.n == 4, h.kind == kind16 && h.n == 16, h.kind == kind48 && h.n == 48:
		r = a.resize(r, h.kind+1)
	}
	h = (*head)(a.own(r, nodeBytes[a.head(r).kind]))
	place(h, b, c)
	return r
}

// place adds a child to a node that has room.
func place(h *head, b byte, c ref) {
	switch h.kind {
	case kind4:
		n := (*node4)(unsafe.Pointer(h))
		placeOf(n.keys[:], n.child[:], int(n.n), b, c)
	case kind16:
		n := (*node16)(unsafe.Pointer(h))
		placeOf(n.keys[:], n.child[:], int(n.n), b, c)
	case kind48:
		n := (*node48)(unsafe.Pointer(h))
		i := slices.Index(n.child[:], 0)
		n.child[i], n.slot[b] = c, uint8(i+1)
	case kind256:
		(*node256)(unsafe.Pointer(h)).child[b] = c
	}
	h.n++
}

func placeOf(keys []byte, children []ref, n int, b byte, c ref) {
	i := 0
	for i < n && keys[i] < b {
		i++
	}
	copy(keys[i+1:], keys[i:n])
	copy(children[i+1:], children[i:n])
	keys[i], children[i] = b, c
}

// resize returns a node of another kind with the same children, and gives the
// old one back.
func (a *arena) resize(r ref, kind uint8) ref {
	to := a.newNode(kind, a.head(r))
	from, h := a.head(r), a.head(to)
	for c, b := next(from, 0); c != 0; c, b = next(from, b+1) {
		place(h, byte(b), c)
		if b == 255 {
			break
		}
	}
	a.releaseNode(r)
	return to
}

// cut takes the child for b out of a node, and returns what stands for the node
// then: itself, a smaller one, or its only child with a longer path.
func (a *arena) cut(r ref, b byte) ref {
	h := (*head)(a.own(r, nodeBytes[a.head(r).kind]))
	switch h.kind {
	case kind4:
		n := (*node4)(unsafe.Pointer(h))
		cutOf(n.keys[:], n.child[:], int(n.n), b)
	case kind16:
		n := (*node16)(unsafe.Pointer(h))
		cutOf(n.keys[:], n.child[:], int(n.n), b)
	case kind48:
		n := (*node48)(unsafe.Pointer(h))
		n.child[n.slot[b]-1], n.slot[b] = 0, 0
	case kind256:
		(*node256)(unsafe.Pointer(h)).child[b] = 0
	}
	h.n--
	switch {
	case h.kind == kind4 && h.n == 1:
		return a.join(r)
	case h.kind == kind16 && h.n <= shrink16, h.kind == kind48 && h.n <= shrink48, h.kind == kind256 && h.n <= shrink256:
		return a.resize(r, h.kind-1)
	}
	return r
}

func cutOf(keys []byte, children []ref, n int, b byte) {
	i := slices.Index(keys[:n], b)
	copy(keys[i:], keys[i+1:n])
	copy(children[i:], children[i+1:n])
	keys[n-1], children[n-1] = 0, 0
}

// join lets the only child of a node4 stand for it.
func (a *arena) join(r ref) ref {
	n := (*node4)(a.at(r))
	c := n.child[0]
	if c&leafBit == 0 {
		h := (*head)(a.own(c, int(unsafe.Sizeof(head{}))))
		var path [2*inlineBytes + 1]byte
		k := copy(path[:], n.path[:min(n.plen, inlineBytes)])
		path[k] = n.keys[0]
		copy(path[k+1:], h.path[:min(h.plen, inlineBytes)])
		// If the upper path is longer than what is inline the rest is not needed.
		h.plen += n.plen + 1
		copy(h.path[:], path[:])
		for i := int(h.plen); i < inlineBytes; i++ {
			h.path[i] = 0
		}
	}
	a.releaseNode(r)
	return c
}

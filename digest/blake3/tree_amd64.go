package blake3

import "unsafe"

const (
	blockLen = 64
	chunkLen = 1024
	width    = 16 // lanes of the widest kernel
	// leaves are the chunks of a subtree that is hashed at once; a power of two.
	leaves = 256
)

// lanes are what the lanes of a kernel differ in. Assembly knows its layout.
type lanes struct {
	lo, hi [width]uint32 // the chunk's number
	end    [width]uint32 // place of the last block within the chunk
	length [width]uint32 // of the last block
	flags  [width]uint32 // of the last block
}

// tree is what the kernels keep while they hash.
type tree struct {
	cvs   [leaves][8]uint32 // chaining values of a level
	stack [56][8]uint32     // of subtrees on the left that wait for their right
	lanes lanes             // as init made them, but for numbers
	tail  [chunkLen]byte    // an incomplete chunk
	many  *many             // made when parts are first hashed together
}

func (t *tree) init() { t.lanes.init() }

// init makes all lanes those of complete chunks.
func (l *lanes) init() {
	for i := range width {
		l.end[i], l.length[i], l.flags[i] = chunkLen-blockLen, blockLen, chunkEnd
	}
}

func (h *Hasher) sumAVX512(p []byte) [32]byte {
	t := &h.tree
	if len(p) <= chunkLen {
		h.chunk(p, 0, root, &t.cvs[0])
		return bytesOf(&t.cvs[0])
	}
	var counter uint64
	depth := 0
	for len(p) > leaves*chunkLen {
		h.leaves(p[:leaves*chunkLen], counter)
		h.reduce(leaves, 1)
		p, counter = p[leaves*chunkLen:], counter+leaves
		// Every subtree of as many chunks as there are below it has a parent.
		for n := counter / leaves; n%2 == 0; n /= 2 {
			depth--
			h.join(&t.stack[depth], 0)
		}
		t.stack[depth] = t.cvs[0]
		depth++
	}
	n := h.leaves(p, counter)
	if depth == 0 {
		h.reduce(n, 2)
		h.pair(root)
		return bytesOf(&t.cvs[0])
	}
	h.reduce(n, 1)
	for ; depth > 1; depth-- {
		h.join(&t.stack[depth-1], 0)
	}
	h.join(&t.stack[0], root)
	return bytesOf(&t.cvs[0])
}

// bytesOf returns a chaining value's bytes; amd64 has them in the right order.
func bytesOf(cv *[8]uint32) [32]byte { return *(*[32]byte)(unsafe.Pointer(cv)) }

// leaves puts the chaining values of p's chunks, of which number is the first,
// into cvs and returns how many they are. p has 1 to leaves chunks.
func (h *Hasher) leaves(p []byte, number uint64) (n int) {
	for len(p) > 0 {
		part := p[:min(len(p), width*chunkLen)]
		if p = p[len(part):]; len(part) <= chunkLen {
			h.chunk(part, number, 0, &h.tree.cvs[n])
			return n + 1
		}
		k := h.chunks(part, number, &h.tree.cvs[n])
		n, number = n+k, number+uint64(k)
	}
	return n
}

// chunks hashes the chunks of p side by side, 2 to 16 of them, and returns how
// many they are. It writes 8 chaining values for up to 8 of them, else 16.
func (h *Hasher) chunks(p []byte, number uint64, out *[8]uint32) int {
	var in [width]unsafe.Pointer
	l := &h.tree.lanes
	whole, rest := len(p)/chunkLen, len(p)%chunkLen
	for i := range whole {
		in[i] = unsafe.Pointer(&p[i*chunkLen])
	}
	for i := whole; i < width; i++ {
		in[i] = in[0] // what these make is of no use
	}
	for i := range l.lo {
		l.lo[i], l.hi[i] = uint32(number), uint32(number>>32)
		number++
	}
	n := whole
	if rest > 0 {
		n++
		in[whole] = unsafe.Pointer(&h.tree.tail)
		end := (rest - 1) / blockLen * blockLen
		clear(h.tree.tail[copy(h.tree.tail[:], p[whole*chunkLen:]) : end+blockLen])
		l.end[whole], l.length[whole] = uint32(end), uint32(rest-end)
	}
	h.side(&in, n, chunkLen/blockLen, h.flags, chunkStart, out)
	if rest > 0 {
		l.end[whole], l.length[whole] = chunkLen-blockLen, blockLen
	}
	return n
}

// side runs the kernel for n lanes, which writes as many chaining values as it
// has lanes. All pointers must be to what can be read.
func (h *Hasher) side(in *[width]unsafe.Pointer, n, blocks int, flags, start uint32, out *[8]uint32) {
	switch {
	case n <= 2:
		chunks2(in, &h.tree.lanes, &h.key, blocks, flags, start, out)
	case n <= width/2:
		chunks8(in, &h.tree.lanes, &h.key, blocks, flags, start, out)
	default:
		chunks16(in, &h.tree.lanes, &h.key, blocks, flags, start, out)
	}
}

// chunk hashes one chunk, which may be empty; end are flags of its last block.
func (h *Hasher) chunk(p []byte, number uint64, end uint32, out *[8]uint32) {
	in := &h.tree.tail[0]
	if len(p) > 0 {
		in = &p[0]
	}
	chunk1(in, len(p), &h.key, number, h.flags, chunkStart, chunkEnd|end, out)
}

// reduce replaces the first n of cvs by those of their parents, these by those of
// theirs and so on, until there are no more than most, which is 1 or 2.
func (h *Hasher) reduce(n, most int) {
	t, flags := &h.tree, h.flags|parent
	for n > most {
		pairs, last := n/2, t.cvs[n-1]
		for i := 0; i < pairs; i += width {
			in, out := &t.cvs[2*i], &t.cvs[i]
			switch rest := pairs - i; {
			case rest == 1:
				chunk1((*byte)(unsafe.Pointer(in)), blockLen, &h.key, 0, flags, 0, 0, out)
			case rest <= 2:
				parents2(in, out, &h.key, flags)
			case rest <= width/2:
				parents8(in, out, &h.key, flags)
			default:
				parents16(in, out, &h.key, flags)
			}
		}
		if n%2 != 0 {
			t.cvs[pairs] = last
		}
		n = pairs + n%2
	}
}

// pair replaces the first two of cvs by their parent.
func (h *Hasher) pair(end uint32) {
	first := &h.tree.cvs[0]
	chunk1((*byte)(unsafe.Pointer(first)), blockLen, &h.key, 0, h.flags|parent, 0, end, first)
}

// join replaces the first of cvs by the parent of it and of its left neighbour.
func (h *Hasher) join(left *[8]uint32, end uint32) {
	h.tree.cvs[0], h.tree.cvs[1] = *left, h.tree.cvs[0]
	h.pair(end)
}

package blake3

import "unsafe"

// few is the most chunks of a part that is worth to be hashed beside others: 16
// fill all lanes.
const few = width - 1

// many is what parts that are hashed together need beside the tree.
type many struct {
	spans [leaves]span          // of the parts, in order
	tails [width][chunkLen]byte // incomplete chunks of lanes
	rows  [width][8]uint32      // what a kernel made of parents
	to    [width]int            // and where it belongs in cvs
	n     int                   // parents that wait to be hashed
	in    [width]int            // and where their children are
}

// span is where the chaining values of a part are.
type span struct{ from, n int }

// chunksOf is how many chunks p has.
func chunksOf(p []byte) int { return max(1, (len(p)+chunkLen-1)/chunkLen) }

func (h *Hasher) manyAVX512(dst [][32]byte, parts [][]byte) {
	for len(parts) > 0 {
		n, total := 0, 0
		for n < len(parts) {
			c := chunksOf(parts[n])
			if c > few || total+c > leaves {
				break
			}
			n, total = n+1, total+c
		}
		if n < 2 {
			n = 1
			dst[0] = h.sumAVX512(parts[0])
		} else {
			h.together(dst[:n], parts[:n])
		}
		dst, parts = dst[n:], parts[n:]
	}
}

// together hashes parts of at most few chunks, leaves of them in all.
func (h *Hasher) together(dst [][32]byte, parts [][]byte) {
	t := &h.tree
	if t.many == nil {
		t.many = new(many)
	}
	from := 0
	for i, p := range parts {
		t.many.spans[i] = span{from, chunksOf(p)}
		from += t.many.spans[i].n
	}
	spans := t.many.spans[:len(parts)]
	h.allChunks(parts, spans)
	for h.level(spans) {
	}
	t.lanes.init()
	for i, s := range spans {
		dst[i] = bytesOf(&t.cvs[s.from])
	}
}

// allChunks puts the chaining values of all parts' chunks into cvs, one behind
// the other.
func (h *Hasher) allChunks(parts [][]byte, spans []span) {
	var in [width]unsafe.Pointer
	t, n, done, most := &h.tree, 0, 0, 0
	flush := func() {
		for i := n; i < width; i++ {
			in[i] = in[0]
		}
		h.side(&in, n, most/blockLen+1, h.flags, chunkStart, &t.cvs[done])
		n, done, most = 0, done+n, 0
	}
	for i, p := range parts {
		for c := range spans[i].n {
			in[n] = t.lane(n, p[c*chunkLen:min(len(p), (c+1)*chunkLen)], uint32(c), spans[i].n == 1)
			most = max(most, int(t.lanes.end[n]))
			if n++; n == width {
				flush()
			}
		}
	}
	if n > 0 {
		flush()
	}
}

// lane readies lane i for a chunk, and returns where its bytes are.
func (t *tree) lane(i int, chunk []byte, number uint32, alone bool) unsafe.Pointer {
	l := &t.lanes
	l.lo[i], l.hi[i], l.flags[i] = number, 0, chunkEnd
	if alone {
		l.flags[i] |= root
	}
	if len(chunk) == chunkLen {
		l.end[i], l.length[i] = chunkLen-blockLen, blockLen
		return unsafe.Pointer(&chunk[0])
	}
	tail := &t.many.tails[i]
	end := max(0, len(chunk)-1) / blockLen * blockLen
	clear(tail[copy(tail[:], chunk) : end+blockLen])
	l.end[i], l.length[i] = uint32(end), uint32(len(chunk)-end)
	return unsafe.Pointer(tail)
}

// level replaces the chaining values of each part by those of their parents. It
// reports whether there were parents.
func (h *Hasher) level(spans []span) bool {
	m, found := h.tree.many, false
	for _, s := range spans {
		for i := range s.n / 2 {
			end := uint32(0)
			if s.n == 2 {
				end = root
			}
			found = true
			m.in[m.n], m.to[m.n], h.tree.lanes.flags[m.n] = s.from+2*i, s.from+i, end
			if m.n++; m.n == width {
				h.parents()
			}
		}
	}
	if m.n > 0 {
		h.parents()
	}
	for i := range spans {
		if s := &spans[i]; s.n > 1 {
			if s.n%2 != 0 {
				h.tree.cvs[s.from+s.n/2] = h.tree.cvs[s.from+s.n-1]
			}
			s.n = (s.n + 1) / 2
		}
	}
	return found
}

// parents hashes those that wait.
func (h *Hasher) parents() {
	var in [width]unsafe.Pointer
	t, m := &h.tree, h.tree.many
	l := &t.lanes
	for i := range width {
		in[i] = unsafe.Pointer(&t.cvs[m.in[min(i, m.n-1)]])
		l.lo[i], l.hi[i], l.end[i], l.length[i] = 0, 0, 0, blockLen
	}
	h.side(&in, m.n, 1, h.flags|parent, 0, &m.rows[0])
	for i := range m.n {
		t.cvs[m.to[i]] = m.rows[i]
	}
	m.n = 0
}

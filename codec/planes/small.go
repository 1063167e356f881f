package planes

import "encoding/binary"

// The level small is drawn in the package comment. A symbol says how far a
// value's exponent lies below the channel's greatest so far and whether its
// sign is that of the token before; how far that token lay below the greatest
// chooses the table.

const (
	levelAt    = 12 // in the head
	levelFast  = 0
	levelSmall = 1

	// bundleValues bounds a bundle that has more than one segment: enough that
	// tables cost little, few enough that buffers stay in the cache.
	bundleValues = 1 << 16
	bundleHead   = 4
	bundleRaw    = 0
	bundleCoded  = 1

	contexts = 4
	rise     = 4  // a slot tells exponents up to so far above the greatest
	escape   = 31 // the slot of those that no slot tells

	chunkSymbols = 1 << 16 // of a chunk at most
	fourStreams  = 1 << 10 // symbols from which on huff0 makes four streams
)

// The kinds of chunks.
const (
	chunkRaw  = 0
	chunkSame = 1
	chunkOne  = 2 // huff0, one stream
	chunkFour = 3 // huff0, four streams
)

// perBundle is the number of segments of a bundle.
func perBundle(s Shape) int { return max(1, bundleValues/(s.Rows*s.Cols)) }

// smallBuffers are what a bundle is coded and decoded by way of.
type smallBuffers struct {
	words       []byte // of a row
	known, last []byte // of each channel, see smallRow
	mantissas   []byte // of all values, and 8 more
	low         []byte // of all values, where elements have them
	symbols     []byte // room for all values in each context
	escapes     []byte
	room        int // of a context
	r           smallRow
	next        turns
}

// prepare makes room for n values in rows of cols.
func (b *smallBuffers) prepare(n, cols int) {
	if len(b.known) < cols {
		b.words, b.known, b.last = make([]byte, 2*cols), make([]byte, cols), make([]byte, cols)
	}
	if len(b.escapes) < n+lanes {
		b.mantissas, b.low = make([]byte, n+8), make([]byte, n)
		b.symbols, b.escapes = make([]byte, contexts*(n+lanes)), make([]byte, n+lanes)
	}
	b.room = n + lanes
}

// begin makes r a row without values, of channels about which nothing is known
// but that none is above greatest.
func (b *smallBuffers) begin(cols int, greatest byte) {
	b.r = smallRow{known: b.known[:cols], last: b.last[:cols], symbols: b.symbols, escapes: b.escapes}
	for i := range b.r.known {
		b.r.known[i] = greatest
	}
	clear(b.r.last)
}

// turns are where the next symbol of each context is, and the next escape.
type turns [contexts + 1]int

// smallRow is a row on the way from words to symbols or back.
type smallRow struct {
	words     []byte // see widen
	mantissas []byte
	known     []byte // greatest exponent of each channel so far
	last      []byte // of each channel: context in bits 0 and 1, last sign in bit 7
	symbols   []byte // with 64 bytes more than are used
	escapes   []byte // likewise
	keep      byte   // 0 in the first row of a segment, where known is no channel's, else 0xff
}

// apartPortable turns words into symbols, and mantissas.
func apartPortable(r *smallRow, next *turns) {
	cols := len(r.known)
	words, mantissas, last := r.words[:2*cols], r.mantissas[:cols], r.last[:cols]
	for i, m := range r.known {
		w := binary.LittleEndian.Uint16(words[2*i : 2*i+2])
		e, sign, state := byte(w>>7), byte(w>>15), last[i]
		mantissas[i] = byte(w & 0x7f)
		slot := min(m-e+rise, escape)
		k := state & (contexts - 1)
		r.symbols[next[k]] = slot<<1 | sign ^ state>>7
		next[k]++
		if slot == escape {
			r.escapes[next[contexts]] = e
			next[contexts]++
		}
		m = max(m&r.keep, e)
		r.known[i], last[i] = m, sign<<7|1+min(m-e, contexts-2)
	}
}

// togetherPortable is the reverse. Whatever the symbols are, it uses one for
// each value, and no more escapes.
func togetherPortable(r *smallRow, next *turns) {
	cols := len(r.known)
	words, mantissas, last := r.words[:2*cols], r.mantissas[:cols], r.last[:cols]
	for i, m := range r.known {
		state := last[i]
		k := state & (contexts - 1)
		symbol := r.symbols[next[k]]
		next[k]++
		slot, sign := symbol>>1, symbol&1^state>>7
		e := m - slot + rise
		if slot == escape {
			e = r.escapes[next[contexts]]
			next[contexts]++
		}
		binary.LittleEndian.PutUint16(words[2*i:2*i+2], uint16(sign)<<15|uint16(e)<<7|uint16(mantissas[i]))
		m = max(m&r.keep, e)
		r.known[i], last[i] = m, sign<<7|1+min(m-e, contexts-2)
	}
}

// packedBytes is the length of n packed numbers of width bits.
func packedBytes(n, width int) int { return n/8*width + (n%8*width+7)/8 }

// pack writes the bytes of src, which are below 1<<width, to dst as numbers of
// width bits, lowest first. Behind src 7 bytes may be read, behind what dst
// needs 8 written.
func pack(dst, src []byte, width int) {
	one, two := uint(8-width), uint(16-2*width)
	for i := 0; i < len(src); i += 8 {
		x := binary.LittleEndian.Uint64(src[i:][:8])
		x = x&0x00ff00ff00ff00ff | x&0xff00ff00ff00ff00>>one
		x = x&0x0000ffff0000ffff | x&0xffff0000ffff0000>>two
		x = x&0x00000000ffffffff | x&0xffffffff00000000>>(2*two)
		binary.LittleEndian.PutUint64(dst, x)
		dst = dst[width:]
	}
}

// unpack is the reverse of pack: it fills dst, and up to 7 bytes behind it,
// and reads src alone.
func unpack(dst, src []byte, width int) {
	one, two := uint(8-width), uint(16-2*width)
	all := uint64(1)<<width - 1
	m4 := uint64(1)<<(4*width) - 1
	m2 := (uint64(1)<<(2*width) - 1) * 0x0000000100000001
	m1 := all * 0x0001000100010001
	for i := 0; i < len(dst); i += 8 {
		var x uint64
		if len(src) >= 8 {
			x = binary.LittleEndian.Uint64(src)
		} else {
			var last [8]byte
			copy(last[:], src)
			x = binary.LittleEndian.Uint64(last[:])
		}
		x = x&m4 | x>>(4*width)&m4<<32
		x = x&m2 | x<<two&(m2<<16)
		x = x&m1 | x<<one&(m1<<8)
		binary.LittleEndian.PutUint64(dst[i:][:8], x)
		src = src[min(width, len(src)):]
	}
}

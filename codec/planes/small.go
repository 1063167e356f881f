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
	fourStreams  = 1 << 12 // symbols from which on huff0 makes four streams
)

// The kinds of chunks.
const (
	chunkRaw  = 0
	chunkSame = 1
	chunkOne  = 2 // huff0, one stream
	chunkFour = 3 // huff0, four streams
)

// history is what is known of a channel: in bits 0 to 7 the greatest exponent
// so far, in 8 to 15 the context of the next symbol, in 16 the last sign.
type history = uint32

// behind is what is known of a channel behind a value.
func behind(greatest, exponent, sign uint32) history {
	return greatest | (1+min(greatest-exponent, contexts-2))<<8 | sign<<16
}

// begin makes what is known of channels at their top.
func begin(h []history, greatest byte) {
	for i := range h {
		h[i] = history(greatest)
	}
}

// perBundle is the number of segments of a bundle.
func perBundle(s Shape) int { return max(1, bundleValues/(s.Rows*s.Cols)) }

// smallBuffers are what a bundle is coded and decoded by way of.
type smallBuffers struct {
	words     []uint16 // of a row
	known     []history
	mantissas []byte // of all values, and 8 more
	low       []byte // of all values, where elements have them
	symbols   []byte // by context, and room to run on
	escapes   []byte
}

// prepare makes room for n values in rows of cols.
func (b *smallBuffers) prepare(n, cols int) {
	if len(b.words) < cols {
		b.words, b.known = make([]uint16, cols), make([]history, cols)
	}
	if len(b.mantissas) < n+8 {
		b.mantissas, b.low = make([]byte, n+8), make([]byte, n)
		b.symbols, b.escapes = make([]byte, contexts*n), make([]byte, n)
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

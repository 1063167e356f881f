package planes

import (
	"encoding/binary"
	"math/bits"
)

// The portable kernels for stripes of at least eight channels: eight values at
// a time, whose exponents are the bytes of a word. Those of values 0 to 3 are
// its even bytes, those of values 4 to 7 the odd ones, since so they come out
// of two words of four values with the fewest operations.

const (
	octet   = 8 // values of a word
	ones    = 0x0101010101010101
	signs   = 0x8080808080808080
	evens   = 0x00ff00ff00ff00ff
	doubles = 0x0000ffff0000ffff
	lowest  = 0x0001000100010001 // of every 16 bits
)

// places is where in words the value of a group lies.
var places = makePlaces()

func makePlaces() (t [lanes]uint8) {
	for i := range t {
		t[i] = uint8(i&^7 | i&3<<1 | i>>2&1)
	}
	return t
}

// spreadBits has for each byte of a plane the word with its bits.
var spreadBits = makeSpreadBits()

func makeSpreadBits() (t [256]uint64) {
	for m := range t {
		for i := range octet {
			t[m] |= uint64(m>>i&1) << (8 * places[i])
		}
	}
	return t
}

// gatherBits is the reverse: the byte of a plane from the lowest bit of every
// byte, where others may be set. No two products of bits meet in one place, so
// there are no carries.
func gatherBits(w uint64) uint8 {
	w = w&lowest | w>>4&(lowest<<4)
	return uint8(w * (1<<48 | 1<<33 | 1<<18 | 1<<3) >> 48)
}

// add and sub do so with every byte.
func add(a, b uint64) uint64 { return (a&^signs + b&^signs) ^ (a^b)&signs }
func sub(a, b uint64) uint64 { return (a | signs) - b&^signs ^ (a^^b)&signs }

// atLeast has all bits of the bytes of a that are not below those of b.
func atLeast(a, b uint64) uint64 {
	m := (a&^b | ^(a^b)&((a|signs)-b&^signs)) & signs
	return m<<1 - m>>7
}

func maxOf(a, b uint64) uint64 { return (a^b)&atLeast(a, b) ^ b }
func minOf(a, b uint64) uint64 { return (a^b)&atLeast(a, b) ^ a }

// squeeze moves the even bytes together, stretch is its reverse.
func squeeze(w uint64) uint64 {
	w &= evens
	w = (w | w>>8) & doubles
	return w&0xffff | w>>16
}

func stretch(w uint64) uint64 {
	w = (w | w<<16) & doubles
	return (w | w<<8) & evens
}

// walker keeps the window starts of a stripe. What it calls a top is d above
// a start, so that it is min(max(top, e), highest) behind a value.
type walker struct {
	start   [octet]uint64
	top     [octet]uint64
	down    uint64
	highest uint64
}

// begin sets the starts of the first group.
func (w *walker) begin(p Params) {
	low, down := min(p.Low, p.Top), p.Down
	if p.Low >= p.Top || int(low)+int(down) > 255 {
		p.Top, down = low, 0 // the start does not move
	}
	w.down, w.highest = ones*uint64(down), ones*uint64(min(int(p.Top)+int(down), 255))
	for i := range w.start {
		w.start[i], w.top[i] = ones*uint64(p.First), ones*uint64(low+down)
	}
}

// next sets the starts behind a group. No top is below down.
func (w *walker) next() {
	for i, t := range w.top {
		w.start[i] = t - w.down
	}
}

// encodeWords codes a stripe.
func encodeWords(src []byte, rows, stride int, s *stripe, p Params, rests, planes, out []byte) int {
	var w walker
	w.begin(p)
	n := 0
	var x [lanes]byte
	for r := 0; r < rows; {
		var code0, code1 uint64
		lane := 0
		for end := min(r+s.fold, rows); r < end; r++ {
			row := src[r*stride:][:2*s.width]
			for i := range s.width / octet {
				v := row[: 2*octet : 2*octet]
				row = row[2*octet:]
				a, b := binary.LittleEndian.Uint64(v), binary.LittleEndian.Uint64(v[8:])
				a, b = a<<1&^lowest|a>>15&lowest, b<<1&^lowest|b>>15&lowest
				binary.LittleEndian.PutUint64(rests[lane:], squeeze(a)|squeeze(b)<<32)
				e := a>>8&evens | b&^evens
				d := sub(e, w.start[i&7])
				w.top[i&7] = minOf(maxOf(w.top[i&7], e), w.highest)
				far := d &^ (3 * ones) // not 0 where d is above 3
				far = (far&^signs + ^uint64(signs) | far) >> 7
				code0 |= uint64(gatherBits(d|far)) << lane
				code1 |= uint64(gatherBits(d>>1|far)) << lane
				binary.LittleEndian.PutUint64(x[lane:], d)
				lane += octet
			}
		}
		w.next()
		rests = rests[lane:]
		planes = putPlane(putPlane(planes, code0, lane), code1, lane)
		for on := code0 & code1; on != 0; on &= on - 1 {
			out[n] = x[places[bits.TrailingZeros64(on)&63]]
			n++
		}
	}
	return n
}

// decodeWords decodes a stripe.
func decodeWords(dst []byte, rows, stride int, s *stripe, p Params, rests, planes, in []byte) int {
	var w walker
	w.begin(p)
	n := 0
	var x [lanes]byte
	for r := 0; r < rows; {
		size := s.width * min(s.fold, rows-r)
		var code0, code1 uint64
		code0, planes = plane(planes, size)
		code1, planes = plane(planes, size)
		for on := code0 & code1; on != 0; on &= on - 1 {
			x[places[bits.TrailingZeros64(on)&63]] = in[n]
			n++
		}
		lane := 0
		for end := min(r+s.fold, rows); r < end; r++ {
			row := dst[r*stride:][:2*s.width]
			for i := range s.width / octet {
				bit0, bit1 := spreadBits[uint8(code0>>lane)], spreadBits[uint8(code1>>lane)]
				on := (bit0 & bit1) * 255
				d := (bit0|bit1<<1)&^on | binary.LittleEndian.Uint64(x[lane&63:])&on
				e := add(d, w.start[i&7])
				w.top[i&7] = minOf(maxOf(w.top[i&7], e), w.highest)
				rest := binary.LittleEndian.Uint64(rests[lane:])
				a, b := e&evens<<8|stretch(rest&(1<<32-1)), e&^evens|stretch(rest>>32)
				v := row[: 2*octet : 2*octet]
				row = row[2*octet:]
				binary.LittleEndian.PutUint64(v, a>>1&^(lowest<<15)|a<<15&(lowest<<15))
				binary.LittleEndian.PutUint64(v[8:], b>>1&^(lowest<<15)|b<<15&(lowest<<15))
				lane += octet
			}
		}
		w.next()
		rests = rests[lane:]
	}
	return n
}

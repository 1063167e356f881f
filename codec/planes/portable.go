package planes

import (
	"encoding/binary"
	"math/bits"
)

// kernels are the loops over values. All implementations give the same bytes.
// Where out is written and x and in are read, 64 bytes more are there than
// count, whose content does not matter; rests and values end where they end, and
// so do the planes of encode and decode. Behind those of the other functions may
// be more, which encode2 and encode3 may overwrite.
type kernels struct {
	name string
	// encode codes stripes, whose first row begins at src and whose rows are
	// stride bytes apart, by the first window. It fills rests and planes and
	// returns how many values it appended to out.
	encode func(src []byte, rows, stride int, s *stripe, p Params, rests, planes, out []byte) int
	// decode is its reverse; it takes values that went on from in and returns
	// how many.
	decode func(dst []byte, rows, stride int, s *stripe, p Params, rests, planes, in []byte) int
	// encode2 and encode3 code x by the second and third window. Afterwards its
	// content does not matter.
	encode2, encode3 func(x []byte, start int8, planes, out []byte) int
	// decode2 and decode3 fill x.
	decode2, decode3 func(x []byte, start int8, planes, in []byte) int
	// left counts those of n values that two planes let go on.
	left func(planes []byte, n int) int
	// apart turns the words of a row into symbols of the level small, together
	// turns them back.
	apart, together func(r *smallRow, next *turns)
	// pack and unpack put numbers of width bits together and take them apart.
	pack, unpack func(dst, src []byte, width int)
}

// portable are the kernels without assembly.
var portable = kernels{"portable", encodePortable, decodePortable, encode2Portable, encode3Portable, decode2Portable, decode3Portable, left2, apartPortable, togetherPortable, pack, unpack}

// implementations are those that this processor can run, the fastest first.
var implementations = available()

// channels keeps the window starts of a stripe's channels.
type channels struct {
	p     Params
	top   [lanes]uint8 // running maximum
	start [lanes]uint8
}

// begin sets the starts of the first group.
func (c *channels) begin() {
	c.top = [lanes]uint8{}
	for i := range c.start {
		c.start[i] = c.p.First
	}
}

// next sets the starts of width channels behind a group.
func (c *channels) next(width int) {
	for i := range c.start[:width] {
		m := c.top[i]
		m -= min(m, c.p.Down)
		c.start[i] = min(max(m, c.p.Low), c.p.Top)
	}
}

func encodePortable(src []byte, rows, stride int, s *stripe, p Params, rests, planes, out []byte) int {
	n, encode := 0, encodeStripe
	if s.width >= octet {
		encode = encodeWords
	}
	for range s.count {
		n += encode(src, rows, stride, s, p, rests, planes, out[n:])
		src, rests, planes = src[2*s.width:], rests[rows*s.width:], planes[2*planeBytes(rows*s.width):]
	}
	return n
}

func encodeStripe(src []byte, rows, stride int, s *stripe, p Params, rests, planes, out []byte) int {
	c := channels{p: p}
	c.begin()
	n := 0
	for r := 0; r < rows; {
		var code0, code1 uint64
		lane := 0
		for end := min(r+s.fold, rows); r < end; r++ {
			row := src[r*stride:][:2*s.width]
			for i := range s.width {
				v := bits.RotateLeft16(binary.LittleEndian.Uint16(row[2*i:]), 1)
				rests[lane] = byte(v)
				e := byte(v >> 8)
				c.top[i] = max(c.top[i], e)
				x := e - c.start[i]
				k := min(x, 3)
				code0 |= uint64(k&1) << lane
				code1 |= uint64(k>>1) << lane
				out[n] = x // stays if it goes on
				n += int(k+1) >> 2
				lane++
			}
		}
		c.next(s.width)
		rests = rests[lane:]
		planes = putPlane(putPlane(planes, code0, lane), code1, lane)
	}
	return n
}

func decodePortable(dst []byte, rows, stride int, s *stripe, p Params, rests, planes, in []byte) int {
	n, decode := 0, decodeStripe
	if s.width >= octet {
		decode = decodeWords
	}
	for range s.count {
		n += decode(dst, rows, stride, s, p, rests, planes, in[n:])
		dst, rests, planes = dst[2*s.width:], rests[rows*s.width:], planes[2*planeBytes(rows*s.width):]
	}
	return n
}

func decodeStripe(dst []byte, rows, stride int, s *stripe, p Params, rests, planes, in []byte) int {
	c := channels{p: p}
	c.begin()
	n := 0
	for r := 0; r < rows; {
		size := s.width * min(s.fold, rows-r)
		var code0, code1 uint64
		code0, planes = plane(planes, size)
		code1, planes = plane(planes, size)
		lane := 0
		for end := min(r+s.fold, rows); r < end; r++ {
			row := dst[r*stride:][:2*s.width]
			for i := range s.width {
				x := byte(code0&1 | code1&1<<1)
				code0, code1 = code0>>1, code1>>1
				on := (x + 1) >> 2 // 1 if it went on
				x ^= (x ^ in[n]) & -on
				n += int(on)
				e := x + c.start[i]
				c.top[i] = max(c.top[i], e)
				v := uint16(e)<<8 | uint16(rests[lane])
				binary.LittleEndian.PutUint16(row[2*i:], bits.RotateLeft16(v, -1))
				lane++
			}
		}
		c.next(s.width)
		rests = rests[lane:]
	}
	return n
}

// outside closes the hole that a window of three leaves in the values outside
// it.
func outside(x byte) byte {
	if int8(x) > 0 {
		return x - 3
	}
	return x
}

// putPlane writes the bits of n values and returns what is behind them, where it
// may write, too.
func putPlane(dst []byte, p uint64, n int) []byte {
	k := (n + 7) / 8
	if len(dst) >= 8 {
		binary.LittleEndian.PutUint64(dst, p)
		return dst[k:]
	}
	for i := range k {
		dst[i] = byte(p >> (8 * i))
	}
	return dst[k:]
}

// plane reads the bits of n values and returns what is behind them.
func plane(src []byte, n int) (uint64, []byte) {
	k := (n + 7) / 8
	if len(src) >= 8 {
		return binary.LittleEndian.Uint64(src) & (^uint64(0) >> (-n & 63)), src[k:]
	}
	var p uint64
	for i := range k {
		p |= uint64(src[i]) << (8 * i)
	}
	return p & (1<<n - 1), src[k:]
}

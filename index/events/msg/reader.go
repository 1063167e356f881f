package msg

import (
	"encoding/binary"
	"math"
)

// reader walks over msgpack. Its methods return false at what is not what they
// read, and at the end.
type reader struct {
	b  []byte
	at int
}

const nilByte = 0xc0

func be64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

// fixed is how many bytes a value takes by its first byte; 0 where that is to
// be computed, 255 for the byte that begins none.
var fixed = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c < 0x80 || c >= 0xe0 || c == nilByte || c == 0xc2 || c == 0xc3:
			t[c] = 1
		case c >= 0xa0 && c < 0xc0: // fixstr
			t[c] = uint8(1 + c&31)
		case c == 0xc1:
			t[c] = 255
		}
	}
	for c, n := range map[int]uint8{
		0xca: 5, 0xcb: 9, 0xcc: 2, 0xcd: 3, 0xce: 5, 0xcf: 9, 0xd0: 2, 0xd1: 3, 0xd2: 5, 0xd3: 9,
		0xd4: 3, 0xd5: 4, 0xd6: 6, 0xd7: 10, 0xd8: 18,
	} {
		t[c] = n
	}
	return t
}()

// skip walks over n values and what is in them.
func (r *reader) skip(n int) bool {
	b, at := r.b, r.at
	for ; n > 0; n-- {
		if at >= len(b) {
			return false
		}
		if size := fixed[b[at]]; size-1 < 254 {
			at += int(size)
			continue
		}
		r.at = at
		inside, ok := r.open()
		// Every value takes a byte at least.
		if !ok || inside > len(b)-r.at || n > len(b)-r.at+1 {
			return false
		}
		n += inside
		at = r.at
	}
	r.at = at
	return at <= len(b)
}

// open walks over a string, bin or ext, or into an array or map, and returns how
// many values are in it.
func (r *reader) open() (inside int, ok bool) {
	c := r.b[r.at]
	switch {
	case c == 0xc4 || c == 0xd9:
		return r.over(1, 0)
	case c == 0xc5 || c == 0xda:
		return r.over(2, 0)
	case c == 0xc6 || c == 0xdb:
		return r.over(4, 0)
	case c >= 0xc7 && c <= 0xc9:
		return r.over(1<<(c-0xc7), 1)
	case isMap(c):
		n, ok := r.mapping()
		return 2 * n, ok
	case isArray(c):
		return r.array()
	}
	return 0, false
}

// over walks over a length of width bytes, extra ones and as many as the length
// says.
func (r *reader) over(width, extra int) (int, bool) {
	r.at++
	n, ok := r.uint(width)
	if !ok || n+uint64(extra) > uint64(len(r.b)-r.at) {
		return 0, false
	}
	r.at += extra + int(n)
	return 0, true
}

// uint reads a big-endian number of width bytes.
func (r *reader) uint(width int) (v uint64, ok bool) {
	if len(r.b)-r.at < width {
		return 0, false
	}
	for _, c := range r.b[r.at : r.at+width] {
		v = v<<8 | uint64(c)
	}
	r.at += width
	return v, true
}

func isArray(c byte) bool { return c&0xf0 == 0x90 || c == 0xdc || c == 0xdd }
func isMap(c byte) bool   { return c&0xf0 == 0x80 || c == 0xde || c == 0xdf }
func isInt(c byte) bool   { return c < 0x80 || c >= 0xe0 || c >= 0xcc && c <= 0xd3 }
func isStr(c byte) bool   { return c&0xe0 == 0xa0 || c >= 0xd9 && c <= 0xdb }

// peek returns the first byte of the next value; 0xc1, which begins none, at
// the end.
func (r *reader) peek() byte {
	if r.at >= len(r.b) {
		return 0xc1
	}
	return r.b[r.at]
}

// array reads an array's head and returns its length, which is not more than
// what is left.
func (r *reader) array() (int, bool) {
	if r.at < len(r.b) && r.b[r.at]&0xf0 == 0x90 {
		n := int(r.b[r.at] & 15)
		r.at++
		return n, n <= len(r.b)-r.at
	}
	return r.head(0x90, 0xdc, isArray)
}

// mapping reads a map's head and returns its number of pairs.
func (r *reader) mapping() (int, bool) { return r.head(0x80, 0xde, isMap) }

func (r *reader) head(fix, wide byte, is func(byte) bool) (int, bool) {
	c := r.peek()
	if !is(c) {
		return 0, false
	}
	r.at++
	n, ok := uint64(c&15), true
	if c&0xf0 != fix {
		n, ok = r.uint(2 << (c - wide))
	}
	return int(n), ok && n <= uint64(len(r.b)-r.at)
}

// text reads a str.
func (r *reader) text() ([]byte, bool) {
	c := r.peek()
	if c&0xe0 == 0xa0 {
		if end := r.at + 1 + int(c&31); end <= len(r.b) {
			out := r.b[r.at+1 : end : end]
			r.at = end
			return out, true
		}
		return nil, false
	}
	if !isStr(c) {
		return nil, false
	}
	r.at++
	n, ok := r.uint(1 << (c - 0xd9))
	if !ok {
		return nil, false
	}
	return r.take(n)
}

// bytes reads a bin.
func (r *reader) bytes() ([]byte, bool) {
	c := r.peek()
	r.at++
	n, ok := r.uint(1 << (c - 0xc4))
	if !ok {
		return nil, false
	}
	return r.take(n)
}

func (r *reader) take(n uint64) ([]byte, bool) {
	if n > uint64(len(r.b)-r.at) {
		return nil, false
	}
	out := r.b[r.at : r.at+int(n) : r.at+int(n)]
	r.at += int(n)
	return out, true
}

// integer reads an int; a negative one as an int64's bits.
func (r *reader) integer() (v uint64, negative, ok bool) {
	c := r.peek()
	if !isInt(c) {
		return 0, false, false
	}
	r.at++
	switch {
	case c < 0x80:
		return uint64(c), false, true
	case c >= 0xe0:
		return uint64(int64(int8(c))), true, true
	case c <= 0xcf:
		v, ok = r.uint(1 << (c - 0xcc))
		return v, false, ok
	}
	width := 1 << (c - 0xd0)
	v, ok = r.uint(width)
	shift := 64 - 8*width
	v = uint64(int64(v<<shift) >> shift)
	return v, int64(v) < 0, ok
}

// number reads an int or float, as seconds may be.
func (r *reader) number() (float64, bool) {
	switch c := r.peek(); c {
	case 0xca:
		r.at++
		v, ok := r.uint(4)
		return float64(math.Float32frombits(uint32(v))), ok
	case 0xcb:
		r.at++
		v, ok := r.uint(8)
		return math.Float64frombits(v), ok
	}
	v, negative, ok := r.integer()
	if negative {
		return float64(int64(v)), ok
	}
	return float64(v), ok
}

// nothing consumes a nil, if that comes next.
func (r *reader) nothing() bool {
	if r.peek() == nilByte {
		r.at++
		return true
	}
	return false
}

// uint32 reads an int from 0 to 2^32-1.
func (r *reader) uint32() (uint32, bool) {
	if c := r.peek(); c < 0x80 {
		r.at++
		return uint32(c), true
	}
	v, negative, ok := r.integer()
	return uint32(v), ok && !negative && v <= math.MaxUint32
}

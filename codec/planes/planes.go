// Package planes codes pages of bfloat16 values without loss: the exponents as
// bit planes of windows that follow each channel, sign and mantissa as they
// are. Real keys and values shrink to about two thirds.
//
// # What it makes use of
//
// A bfloat16 value has a sign, 8 bits of exponent and 7 of mantissa. Sign and
// mantissa of keys and values are noise; the exponents of one channel lie
// within a few powers of two of the greatest that the channel has had. So a
// value's exponent is told from where a window of three exponents starts that
// follows the channel's running maximum: 2 bits, 3 if it lies outside. What
// lies outside is told by a second window of three, what lies outside that by
// a window of seven, and the rest, which is one value in a thousand, by a byte.
//
// # Walk
//
// A page is a number of segments of equal shape: rows (tokens) of cols values
// (channels), little-endian, row by row. A segment is walked in stripes of
// channels: as many of 64 as there are, then one for each binary digit of what
// remains, from 32 down to 1. A stripe of w channels is walked from the first
// row to the last, 64/w rows at a time: these at most 64 values, row by row,
// are a group. Rows of zeros at the end of a segment are counted and left out.
//
// With e the exponent (bits 7 to 14) of a value and m the greatest exponent of
// the same channel in earlier groups, all arithmetic being that of bytes:
//
//	start = b0 in the first group of a stripe, else min(max(m -sat d, lo), hi)
//	x     = e - start           code 1: x if x < 3, else 3 and x goes on
//	y     = (x > 0 as a signed byte ? x-3 : x) - lo2
//	                            code 2: y if y < 3, else 3 and y goes on
//	z     = (y > 0 as a signed byte ? y-3 : y) - lo3
//	                            code 3: z if z < 7, else 7 and z goes on
//	z                           as a byte
//
// where -sat stops at zero. Values that go on keep their order and are grouped
// by 64 again.
//
// # Payload
//
// Integers are little-endian, padding is zero.
//
//	 0  1  version         01
//	 1  1  elements        01 bfloat16; at the level small also 02 float16,
//	                       03 float8 e4m3, 04 float8 e5m2
//	 2  2  rows            of a segment
//	 4  4  cols            values of a row
//	 8  4  segments
//	12  1  level           00 fast; 01 small, whose rest is drawn below
//	13  3  reserved        00 00 00
//	16  4  per segment     bits 0 to 29 the length of its block, 30 and 31 its kind
//	 -  -  padding         to a multiple of 8
//	 -  -  blocks          one behind the other, each padded to a multiple of 8
//	 -  -  tail            plain bytes behind the last segment, as they are
//
// The length of a block is without its padding. A block of kind 0 is the
// segment's bytes as they are. A block of kind 1 is
//
//	0  1  b0
//	1  1  d
//	2  1  lo
//	3  1  hi
//	4  1  lo2
//	5  1  lo3
//	6  2  zero rows       at the segment's end, which are left out
//	8  -  rests           per value, sign in bit 0 and mantissa above it
//	-  -  codes 1         per group, bit plane 0, bit plane 1
//	-  -  codes 2         likewise
//	-  -  codes 3         per group, bit planes 0, 1, 2
//	-  -  bytes           z of the values that code 3 does not tell
//
// A bit plane of a group of n values has value i in bit i%8 of byte i/8 and
// (n+7)/8 bytes. Blocks do not depend on each other, and neither do the values
// of a group: all that a thread needs to know of others is how many values
// before its own went on, which the planes tell.
//
// # Level small
//
// Behind the head, which says so, come bundles and then the tail. A bundle is
// as many whole segments as have 65536 values at most, but one at least:
//
//	0  1  kind            00: the segments' bytes follow as they are; 01:
//	1  1  greatest        exponent of the segments' first rows
//	2  2  zero rows       at the end of each segment, which are left out
//	4  -  mantissas       of all values, 7 bits each, the first in the lowest
//	-  -  low bytes       of all values, of float16 alone
//	-  -  streams         symbols of contexts 0 to 3
//	-  -  stream          exponents that no symbol tells
//
// Values come segment by segment and row by row. Of float16 the upper byte is
// taken for a float8 of the form e5m2; the mantissas of float8 have 3 or 2 bits.
// With e the exponent of a value, m the greatest exponent of its channel in
// earlier rows of the segment, p and s exponent and sign of the row before
// (in the first row m is the bundle's greatest and s is 0), a value has
//
//	context   0 in the first row, else 1 + min(m-p, 2)
//	slot      m - e + 4; 31 if that is not from 0 to 30
//	symbol    2 slot + (sign xor s)
//
// and its symbol is the next one of its context's stream, its exponent that of
// the last stream if the slot is 31. A stream is the number of its symbols and
// chunks of 65536 of them, the last one of the rest. A chunk is its length
// times 4 plus its kind, and as many bytes:
//
//	0  the symbols as they are      2  huff0: table and one stream
//	1  one symbol, which all are    3  huff0: table and four streams
//
// Numbers are varints as of encoding/binary; huff0 is that of zstd.
package planes

import (
	"fmt"
	"math"

	"github.com/kvferry/kvferry"
)

const (
	version    = 1
	bfloat16   = 1
	headBytes  = 16
	entryBytes = 4
	paramBytes = 8
	lanes      = 64 // values of a full group

	kindRaw    = 0
	kindPlanes = 1
	kindShift  = 30
	maxBlock   = 1<<kindShift - 1
)

// Shape is that of a page: Segments times Rows rows (tokens) of Cols bfloat16
// values (channels). What the page holds behind them is kept as it is.
type Shape struct {
	Segments, Rows, Cols int
}

// segmentBytes is the length of a segment.
func (s Shape) segmentBytes() int { return 2 * s.Rows * s.Cols }

// Bytes returns the length of what the shape describes.
func (s Shape) Bytes() int { return s.Segments * s.segmentBytes() }

// Validate reports a shape without values or beyond the format, as ErrInvalid.
func (s Shape) Validate() error {
	if s.Segments < 1 || s.Rows < 1 || s.Cols < 1 {
		return fmt.Errorf("planes: shape %+v has no values: %w", s, kvferry.ErrInvalid)
	}
	if s.Rows > math.MaxUint16 || s.Cols > maxBlock/2/s.Rows || s.Segments > math.MaxInt32/s.segmentBytes() {
		return fmt.Errorf("planes: shape %+v is beyond %d rows, segments of 1 GiB or 2 GiB: %w", s, math.MaxUint16, kvferry.ErrInvalid)
	}
	return nil
}

// Params say where the windows of a segment start. The zero value is valid and
// fits hardly anything; Tune finds good ones.
type Params struct {
	First    uint8 // b0: start in the first group of a stripe
	Down     uint8 // d: the start lies that far below the channel's maximum
	Low, Top uint8 // lo, hi: between which the start stays
	Second   int8  // lo2: start of the second window
	Third    int8  // lo3: start of the third
}

func pad8(n int) int { return (n + 7) &^ 7 }

package codec

import (
	"encoding/binary"
	"math"

	"github.com/kvferry/kvferry/codec/planes"
)

// A profile is about how large the values of a blob of bf16 are: their mean
// exponent, in sixteenths, in each of some parts of its channels, 0 where all
// that was looked at are zeros. Blobs of one layer's keys have nearly the same;
// those of another layer, and values, have another.
type profile [8]uint16

// profiled is how many values of each part are looked at.
const profiled = 16

// profileOf returns the profile of blobs of shape s, which is valid; all of them
// have the shape's length.
func profileOf(s planes.Shape, blobs ...[]byte) (p profile) {
	down := stride(11, s.Rows)
	for part := range p {
		from := part * s.Cols / len(p)
		width := max((part+1)*s.Cols/len(p)-from, 1)
		right := stride(7, width)
		sum, n := 0, 0
		for _, blob := range blobs {
			row, col := 0, 0
			for j := range profiled {
				at := 2 * ((j*s.Segments/profiled*s.Rows+row)*s.Cols + from + col)
				if exponent := int(binary.LittleEndian.Uint16(blob[at:]) >> 7 & 0xff); exponent > 0 {
					sum, n = sum+exponent, n+1
				}
				if row += down; row >= s.Rows {
					row -= s.Rows
				}
				if col += right; col >= width {
					col -= width
				}
			}
		}
		if n > 0 {
			p[part] = uint16(16 * sum / n)
		}
	}
	return p
}

// stride is a step by which all of n are met, the last behind the first: odd, lest
// rows and channels that alternate are met on one side only.
func stride(prime, n int) int {
	if n%prime == 0 {
		return 1 % n
	}
	return prime % n
}

// distance says how unlike two profiles are, by the parts of which both know
// something; it is the greatest there is if there is no such part.
func (p *profile) distance(o *profile) int {
	sum, n := 0, 0
	for i, a := range p {
		if b := o[i]; a != 0 && b != 0 {
			sum += max(int(a)-int(b), int(b)-int(a))
			n++
		}
	}
	switch n {
	case len(p):
		return sum
	case 0:
		return math.MaxInt
	}
	return sum * len(p) / n
}

// nearest keeps the sets whose profiles are most like that of a blob. Of equal
// ones those that come first stay.
type nearest struct {
	n    int
	sets [tried]*set
	far  [tried]int
}

// tried is how many sets are tried on a blob, of those whose profile is known.
const tried = 4

func (l *nearest) offer(x *set, far int) {
	i := l.n
	if i < tried {
		l.n++
	} else if i--; far >= l.far[i] {
		return
	}
	for ; i > 0 && l.far[i-1] > far; i-- {
		l.sets[i], l.far[i] = l.sets[i-1], l.far[i-1]
	}
	l.sets[i], l.far[i] = x, far
}

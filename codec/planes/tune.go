package planes

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
)

// sampledChannels is how many channels of a segment are looked at, in all pages
// together, but at least sampledOfPage of each.
const (
	sampledChannels = 64
	sampledOfPage   = 24
)

// Tuner finds the windows that fit pages. Its zero value is ready for use; it
// is not safe for concurrent use. It keeps about 300 KB and allocates nothing
// after its first use.
type Tuner struct {
	h *pairs
}

// Tune returns the windows that fit the pages best, one for each segment. All
// pages have the shape s; what lies behind it is not looked at, and neither are
// pages that are shorter. It samples whole channels, an odd number apart. Pages
// of the beginning of a text are unlike others (attention sinks): some of
// elsewhere should be among them. The same pages give the same result on every
// machine. Who tunes often uses a Tuner.
func Tune(s Shape, pages ...[]byte) ([]Params, error) {
	return new(Tuner).Tune(nil, s, pages...)
}

// Tune appends to dst what the function Tune returns.
func (t *Tuner) Tune(dst []Params, s Shape, pages ...[]byte) ([]Params, error) {
	if err := s.Validate(); err != nil {
		return dst, err
	}
	size := s.segmentBytes()
	for i := range s.Segments {
		t.begin()
		for n, p := range pages {
			if len(p) >= s.Bytes() {
				t.h.add(p[i*size:][:size], s, n, len(pages))
			}
		}
		dst = append(dst, t.h.best())
	}
	return dst, nil
}

// Segment returns the windows that fit segments best, each of which is one of a
// page of shape s: the same of several pages. Their length must be that of a
// segment, as ErrInvalid.
func (t *Tuner) Segment(s Shape, segments ...[]byte) (Params, error) {
	if err := s.Validate(); err != nil {
		return Params{}, err
	}
	t.begin()
	for n, p := range segments {
		if len(p) != s.segmentBytes() {
			return Params{}, fmt.Errorf("planes: segment of %d bytes, want %d: %w", len(p), s.segmentBytes(), kvferry.ErrInvalid)
		}
		t.h.add(p, s, n, len(segments))
	}
	return t.h.best(), nil
}

func (t *Tuner) begin() {
	if t.h == nil {
		t.h = new(pairs)
	}
	t.h.clear()
}

// pairs counts which exponent a value has, by the greatest exponent of its
// channel in earlier groups; first is of values that have none above. Only what
// lies within the bounds can be other than zero, which is a small part.
type pairs struct {
	by           [256][256]uint32
	first        [256]uint32
	any          bool
	lowest, high int                            // maxima that were met
	least, great int                            // exponents that were met
	upTo         [257][below + above + 1]uint32 // scratch of clip
}

// clear forgets everything.
func (h *pairs) clear() {
	if h.any {
		for m := h.lowest; m <= h.high; m++ {
			clear(h.by[m][h.least : h.great+1])
		}
		clear(h.first[:])
	}
	h.any, h.lowest, h.high, h.least, h.great = false, 256, 0, 255, 0
}

// add counts a sample of a segment, which is that of page n of several.
func (h *pairs) add(segment []byte, s Shape, n, pages int) {
	stride := 2 * s.Cols
	rows := s.Rows - zeroRows(segment, stride)
	if rows == 0 {
		return
	}
	h.any = true
	step := max(1, s.Cols/max(sampledOfPage, sampledChannels/pages)) | 1
	c := n % step
	stripes(s.Cols, func(st stripe) {
		for end := st.col + st.width*st.count; c < end; {
			count := min(lanes, (end-c+step-1)/step)
			h.channels(segment[2*c:], rows, stride, 2*step, count, st.fold)
			c += count * step
		}
	})
}

// channels counts so many channels, at most 64. They begin at src, their values
// are stride apart and they themselves apart; fold rows are a group.
func (h *pairs) channels(src []byte, rows, stride, apart, count, fold int) {
	var above, top [lanes]uint8 // greatest exponents, of earlier groups and of all
	least := uint8(255)
	for r := range rows {
		if r < fold {
			least = h.row(src[r*stride:], apart, top[:count], least)
			continue
		}
		if r%fold == 0 { // a group begins
			above = top
			h.lowest = min(h.lowest, int(slices.Min(top[:count])))
		}
		least = h.rowBelow(src[r*stride:], apart, above[:count], top[:count], least)
	}
	h.high = max(h.high, int(slices.Max(top[:count])))
	h.great, h.least = max(h.great, h.high), min(h.least, int(least))
}

// row counts values that have none above. It returns the least of their
// exponents and least.
func (h *pairs) row(src []byte, apart int, top []uint8, least uint8) uint8 {
	for i, m := range top {
		e := byte(binary.LittleEndian.Uint16(src[i*apart:]) >> 7)
		h.first[e]++
		top[i], least = max(m, e), min(least, e)
	}
	return least
}

// rowBelow does so with values that have, the greatest in above.
func (h *pairs) rowBelow(src []byte, apart int, above, top []uint8, least uint8) uint8 {
	top = top[:len(above)]
	for i, m := range above {
		e := byte(binary.LittleEndian.Uint16(src[i*apart:]) >> 7)
		h.by[m][e]++
		top[i], least = max(top[i], e), min(least, e)
	}
	return least
}

// best finds the parameters that let the fewest values go on.
func (h *pairs) best() Params {
	if !h.any {
		return Params{}
	}
	sum := h.first
	for m := h.lowest; m <= h.high; m++ {
		for e, n := range h.by[m][h.least : h.great+1] {
			sum[h.least+e] += n
		}
	}
	first := window(&h.first, h.least, h.great, 3)
	p := Params{First: first, Low: first, Top: first}
	if h.lowest <= h.high { // there is more than one group
		h.clip(&p, int(window(&sum, h.least, h.great, 3)))
	}
	h.outer(&p)
	return p
}

// What is tried: d below mostDown, lo and hi so far from the window that holds
// most values.
const (
	mostDown  = 5
	below     = 6
	above     = 8
	lastStart = 253
)

// clip finds d, lo and hi: of the best ones the first in this order. What lo
// lets go on does not depend on hi, so each is found by itself.
func (h *pairs) clip(p *Params, centre int) {
	from, to := max(0, centre-below), min(centre+above, lastStart)
	h.sums(from, to)
	// inside is how many values of channels with a maximum up to m are told by
	// a window at start.
	inside := func(start, m int) uint32 { return h.upTo[min(max(m+1-h.lowest, 0), h.high+1-h.lowest)][start-from] }
	most := uint32(0)
	for d := range mostDown {
		var diagonal uint32 // values of m up to start+d, by the window at m-d
		var lo, hi, ofLo, ofHi = centre, centre, int64(-1 << 62), int64(-1 << 62)
		for start := from; start <= to; start++ {
			if n := int64(diagonal) + int64(inside(start, 255)-inside(start, start+d-1)); start >= centre && n > ofHi {
				hi, ofHi = start, n
			}
			diagonal += inside(start, start+d) - inside(start, start+d-1)
			if n := int64(inside(start, start+d)) - int64(diagonal); start <= centre && n > ofLo {
				lo, ofLo = start, n
			}
		}
		if n := uint32(ofLo + ofHi); n > most {
			p.Down, p.Low, p.Top, most = uint8(d), uint8(lo), uint8(hi), n
		}
	}
}

// sums fills upTo: the values of maxima before lowest+i that a window at from+j
// tells.
func (h *pairs) sums(from, to int) {
	for m := h.lowest; m <= h.high; m++ {
		i := m - h.lowest
		row := h.by[m][from : to+3]
		for j := range to - from + 1 {
			h.upTo[i+1][j] = h.upTo[i][j] + row[j] + row[j+1] + row[j+2]
		}
	}
}

// outer finds the second and third window of what the first leaves.
func (h *pairs) outer(p *Params) {
	var first, x, y [256]uint32 // x and y by the value as a signed byte, -128 first
	h.shift(&first, &h.first, p.First)
	for m := h.lowest; m <= h.high; m++ {
		h.shift(&first, &h.by[m], min(max(uint8(m)-min(uint8(m), p.Down), p.Low), p.Top))
	}
	for v, n := range first[3:] {
		x[outside(uint8(v+3))^0x80] += n
	}
	p.Second = int8(window(&x, 0, 255, 3) ^ 0x80)
	for i, n := range x {
		if v := uint8(i) ^ 0x80 - uint8(p.Second); v >= 3 {
			y[outside(v)^0x80] += n
		}
	}
	p.Third = int8(window(&y, 0, 255, 7) ^ 0x80)
}

// shift adds row to sum, by how far behind start.
func (h *pairs) shift(sum, row *[256]uint32, start uint8) {
	for e := h.least; e <= h.great; e++ {
		sum[uint8(e)-start] += row[e]
	}
}

// window returns the start of the width entries that hold most, the first of
// equal ones. Only those from least to great hold any.
func window(h *[256]uint32, least, great, width int) uint8 {
	i := max(least+1-width, 0)
	var n, most uint32
	for _, c := range h[i:][:width] {
		n += c
	}
	best := 0
	for {
		if n > most {
			best, most = i, n
		}
		if i++; i > great || i+width > len(h) {
			return uint8(best)
		}
		n += h[i+width-1] - h[i-1]
	}
}

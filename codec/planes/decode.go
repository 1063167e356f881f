package planes

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/kvferry/kvferry"
)

// Decoder decodes pages. Its zero value is ready for use; it is not safe for
// concurrent use. What it allocates is bounded by the caller's buffer.
type Decoder struct {
	k          *kernels
	plan       plan
	layout     layout // of the block at hand
	x1, x2, x3 []byte
	small      smallDecoder
}

// Decode writes the page that payload codes to dst, whose length must be the
// page's. Lengths, kinds and counts that do not fit each other are ErrCorrupt, a
// version that this build does not know ErrUnsupported; then the content of dst
// is unspecified. Nothing is written or read out of bounds, whatever payload is.
// Padding is not looked at, and that the values are those that were coded is for
// a digest to tell.
func (d *Decoder) Decode(dst, payload []byte) error {
	s, err := ParseShape(payload)
	if err != nil {
		return err
	}
	if payload[levelAt] == levelSmall {
		d.prepare(0)
		return d.small.decode(dst, payload[headBytes:], s, Elements(payload[1]), d.k)
	}
	if s.Bytes() > len(dst) {
		return fmt.Errorf("planes: shape %+v of %d bytes in a page of %d: %w", s, s.Bytes(), len(dst), kvferry.ErrCorrupt)
	}
	d.prepare(s.Rows * s.Cols)
	at := pad8(headBytes + entryBytes*s.Segments)
	if len(payload) < at {
		return cut(len(payload))
	}
	size := s.segmentBytes()
	for i := range s.Segments {
		entry := binary.LittleEndian.Uint32(payload[headBytes+entryBytes*i:])
		n := int(entry & maxBlock)
		if n > len(payload)-at || pad8(n) > len(payload)-at {
			return cut(len(payload))
		}
		if err := d.block(dst[i*size:][:size], payload[at:][:n], s, entry>>kindShift); err != nil {
			return fmt.Errorf("planes: segment %d: %w", i, err)
		}
		at += pad8(n)
	}
	if len(payload)-at != len(dst)-s.Bytes() {
		return fmt.Errorf("planes: %d bytes behind the segments, want %d: %w", len(payload)-at, len(dst)-s.Bytes(), kvferry.ErrCorrupt)
	}
	copy(dst[s.Bytes():], payload[at:])
	return nil
}

// ParseShape reads the shape of the page that payload codes. Errors are those
// of Decode.
func ParseShape(payload []byte) (Shape, error) {
	if len(payload) < headBytes {
		return Shape{}, cut(len(payload))
	}
	level, el := payload[levelAt], Elements(payload[1])
	switch {
	case payload[0] != version || el.Validate() != nil || level > levelSmall || level == levelFast && el != BFloat16:
		return Shape{}, fmt.Errorf("planes: version %d, elements %d, level %d: %w", payload[0], el, level, kvferry.ErrUnsupported)
	case payload[13]|payload[14]|payload[15] != 0:
		return Shape{}, fmt.Errorf("planes: reserved bytes %x: %w", payload[13:headBytes], kvferry.ErrUnsupported)
	}
	segments := binary.LittleEndian.Uint32(payload[8:])
	s := Shape{
		Rows: int(binary.LittleEndian.Uint16(payload[2:])),
		Cols: int(binary.LittleEndian.Uint32(payload[4:])),
	}
	if level == levelFast && uint64(segments) > uint64(len(payload)) {
		return Shape{}, cut(len(payload))
	}
	s.Segments = int(segments)
	if err := s.Validate(); err != nil {
		return Shape{}, fmt.Errorf("planes: rows %d, cols %d, segments %d: %w", s.Rows, s.Cols, s.Segments, kvferry.ErrCorrupt)
	}
	return s, nil
}

func cut(n int) error {
	return fmt.Errorf("planes: payload of %d bytes is cut: %w", n, kvferry.ErrCorrupt)
}

func (d *Decoder) prepare(n int) {
	if d.k == nil {
		d.k = implementations[0]
	}
	if len(d.x1) < n+lanes {
		d.x1, d.x2, d.x3 = make([]byte, n+lanes), make([]byte, n+lanes), make([]byte, n+lanes)
	}
}

// block decodes one block to segment.
func (d *Decoder) block(segment, block []byte, s Shape, kind uint32) error {
	switch kind {
	case kindRaw:
		if len(block) != len(segment) {
			return fmt.Errorf("%d bytes as they are, want %d: %w", len(block), len(segment), kvferry.ErrCorrupt)
		}
		copy(segment, block)
		return nil
	case kindPlanes:
		return d.planes(segment, block, s)
	}
	return fmt.Errorf("block of kind %d: %w", kind, kvferry.ErrUnsupported)
}

// planes decodes a block of kind 1: lengths first, then values from the last
// window to the first.
func (d *Decoder) planes(segment, block []byte, s Shape) error {
	if len(block) < paramBytes {
		return fmt.Errorf("block of %d bytes: %w", len(block), kvferry.ErrCorrupt)
	}
	p := Params{block[0], block[1], block[2], block[3], int8(block[4]), int8(block[5])}
	zero := int(binary.LittleEndian.Uint16(block[6:]))
	if zero > s.Rows {
		return fmt.Errorf("%d rows of zeros of %d: %w", zero, s.Rows, kvferry.ErrCorrupt)
	}
	w := d.plan.of(s.Rows-zero, s.Cols)
	if err := d.layout.of(block[paramBytes:], w, d.k); err != nil {
		return err
	}
	l := &d.layout
	if l.r2 > 0 {
		copy(d.x3, l.bytes)
		d.k.decode3(d.x2[:l.r2], p.Third, l.planes3, d.x3)
	}
	if l.r1 > 0 {
		d.k.decode2(d.x1[:l.r1], p.Second, l.planes2, d.x2)
	}
	if w.rows > 0 {
		d.first(segment, w, p)
	}
	clear(segment[2*w.values:])
	return nil
}

// first decodes the values of a segment by the first window and x1.
func (d *Decoder) first(segment []byte, w *plan, p Params) {
	r1, rests, planes := 0, d.layout.rests, d.layout.planes1
	for i := range w.parts() {
		s := &w.all[i]
		r1 += d.k.decode(segment[2*s.col:], w.rows, 2*w.cols, &s.stripe, p, rests[:s.values], planes[:s.planes], d.x1[r1:])
		rests, planes = rests[s.values:], planes[s.planes:]
	}
}

// layout are the parts of a block; behind planes 2 and 3 follows the rest of it.
type layout struct {
	rests, planes1, planes2, planes3, bytes []byte
	r1, r2                                  int // values that the first and second window left
}

// of finds the parts of body, a block without its parameters. Every part
// but the first two is as long as the one before says.
func (l *layout) of(body []byte, w *plan, k *kernels) error {
	if w.values+w.planes > len(body) {
		return cutBlock(len(body), w.values+w.planes)
	}
	l.rests, l.planes1, l.planes2 = body[:w.values], body[w.values:][:w.planes], body[w.values+w.planes:]
	if w.even {
		l.r1 = k.left(l.planes1, w.values)
	} else {
		l.r1 = leftOfParts(l.planes1, w, k)
	}
	n := 2 * planeBytes(l.r1)
	if n > len(l.planes2) {
		return cutBlock(len(l.planes2), n)
	}
	l.r2, l.planes3 = k.left(l.planes2, l.r1), l.planes2[n:]
	if n = 3 * planeBytes(l.r2); n > len(l.planes3) {
		return cutBlock(len(l.planes3), n)
	}
	l.bytes = l.planes3[n:]
	if r3 := left3(l.planes3, l.r2); len(l.bytes) != r3 {
		return fmt.Errorf("%d bytes at the end of a block for %d values: %w", len(l.bytes), r3, kvferry.ErrCorrupt)
	}
	return nil
}

func cutBlock(n, want int) error {
	return fmt.Errorf("block is cut: %d bytes of %d: %w", n, want, kvferry.ErrCorrupt)
}

// leftOfParts counts the values that the first window left, part by part.
func leftOfParts(planes []byte, w *plan, k *kernels) (count int) {
	for i := range w.parts() {
		s := &w.all[i]
		count += k.left(planes, s.values) // groups are whole where there are several stripes
		planes = planes[s.planes:]
	}
	return count
}

// left2 counts the values of n whose code of two bits says that they went on,
// both being set.
func left2(planes []byte, n int) (count int) {
	p := planes[:n/lanes*16]
	for ; len(p) >= 16; p = p[16:] {
		count += bits.OnesCount64(binary.LittleEndian.Uint64(p) & binary.LittleEndian.Uint64(p[8:]))
	}
	return count + leftOfLast(planes[n/lanes*16:], n%lanes, 2)
}

// left3 does so for a code of three.
func left3(planes []byte, n int) (count int) {
	p := planes[:n/lanes*24]
	for ; len(p) >= 24; p = p[24:] {
		count += bits.OnesCount64(binary.LittleEndian.Uint64(p) & binary.LittleEndian.Uint64(p[8:]) & binary.LittleEndian.Uint64(p[16:]))
	}
	return count + leftOfLast(planes[n/lanes*24:], n%lanes, 3)
}

// leftOfLast does so for a group that is not full.
func leftOfLast(planes []byte, n, depth int) int {
	if n == 0 {
		return 0
	}
	all := ^uint64(0)
	for range depth {
		var one uint64
		one, planes = plane(planes, n)
		all &= one
	}
	return bits.OnesCount64(all)
}

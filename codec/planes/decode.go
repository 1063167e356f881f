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
	x1, x2, x3 []byte
}

// Decode writes the page that payload codes to dst, whose length must be the
// page's. Anything that Append does not write is ErrCorrupt, a version that
// this build does not know ErrUnsupported; then the content of dst is
// unspecified. Nothing is written or read out of bounds, whatever payload is.
// That the values are those that were coded is for a digest to tell.
func (d *Decoder) Decode(dst, payload []byte) error {
	s, err := ParseShape(payload)
	if err != nil {
		return err
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
	if payload[0] != version || payload[1] != bfloat16 {
		return Shape{}, fmt.Errorf("planes: version %d, elements %d: %w", payload[0], payload[1], kvferry.ErrUnsupported)
	}
	segments := binary.LittleEndian.Uint64(payload[8:])
	s := Shape{
		Rows: int(binary.LittleEndian.Uint16(payload[2:])),
		Cols: int(binary.LittleEndian.Uint32(payload[4:])),
	}
	if segments > uint64(len(payload)) {
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
	rows := s.Rows - zero
	l, err := layoutOf(block[paramBytes:], rows, s.Cols)
	if err != nil {
		return err
	}
	copy(d.x3, l.bytes)
	d.k.decode3(d.x2[:l.r2], p.Third, l.planes3, d.x3)
	d.k.decode2(d.x1[:l.r1], p.Second, l.planes2, d.x2)
	r1, rests, planes := 0, l.rests, l.planes1
	stripes(s.Cols, func(st stripe) {
		n := rows * st.width * st.count
		r1 += d.k.decode(segment[2*st.col:], rows, 2*s.Cols, st, p, rests[:n], planes, d.x1[r1:])
		rests, planes = rests[n:], planes[2*st.count*planeBytes(rows*st.width):]
	})
	clear(segment[2*rows*s.Cols:])
	return nil
}

// layout are the parts of a block.
type layout struct {
	rests, planes1, planes2, planes3, bytes []byte
	r1, r2                                  int // values that the first and second window left
}

// layoutOf finds the parts of body, a block without its parameters. Every part
// but the first two is as long as the one before says.
func layoutOf(body []byte, rows, cols int) (l layout, err error) {
	take := func(n int) (part []byte) {
		if n > len(body) {
			err = fmt.Errorf("block is cut: %w", kvferry.ErrCorrupt)
			return nil
		}
		part, body = body[:n], body[n:]
		return part
	}
	if l.rests = take(rows * cols); err != nil {
		return l, err
	}
	if l.planes1 = take(2 * stripesPlane(rows, cols)); err != nil {
		return l, err
	}
	planes := l.planes1
	stripes(cols, func(s stripe) {
		n := rows * s.width * s.count // groups are whole where there are several stripes
		l.r1 += left(planes, n, 2)
		planes = planes[2*planeBytes(n):]
	})
	if l.planes2 = take(2 * planeBytes(l.r1)); err != nil {
		return l, err
	}
	l.r2 = left(l.planes2, l.r1, 2)
	if l.planes3 = take(3 * planeBytes(l.r2)); err != nil {
		return l, err
	}
	if l.bytes = body; len(body) != left(l.planes3, l.r2, 3) {
		return l, fmt.Errorf("%d bytes at the end of a block for %d values: %w", len(body), left(l.planes3, l.r2, 3), kvferry.ErrCorrupt)
	}
	return l, nil
}

// left counts the values of n whose code says that they went on, all of its
// depth bits being set.
func left(planes []byte, n, depth int) (count int) {
	whole := n / lanes * depth * 8
	switch p := planes[:whole]; depth {
	case 2:
		for ; len(p) >= 16; p = p[16:] {
			count += bits.OnesCount64(binary.LittleEndian.Uint64(p) & binary.LittleEndian.Uint64(p[8:]))
		}
	case 3:
		for ; len(p) >= 24; p = p[24:] {
			count += bits.OnesCount64(binary.LittleEndian.Uint64(p) & binary.LittleEndian.Uint64(p[8:]) & binary.LittleEndian.Uint64(p[16:]))
		}
	}
	if n %= lanes; n > 0 {
		all, p := ^uint64(0), planes[whole:]
		for range depth {
			var one uint64
			one, p = plane(p, n)
			all &= one
		}
		count += bits.OnesCount64(all)
	}
	return count
}

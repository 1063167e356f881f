package planes

import (
	"encoding/binary"
	"fmt"

	"github.com/kvferry/kvferry"
)

// Encoder codes pages. Its zero value is ready for use; it is not safe for
// concurrent use. It allocates nothing once its buffers are as large as the
// largest segment needs.
type Encoder struct {
	k          *kernels
	x1, x2, x3 []byte // what the windows leave
	scratch    []byte // what an estimate codes
}

// MaxBytes is the length that the payload of a page of n bytes does not exceed.
func MaxBytes(s Shape, n int) int {
	return pad8(headBytes+entryBytes*s.Segments) + s.Segments*pad8(s.segmentBytes()) + n - s.Bytes()
}

// Append codes page, whose values lie as s says, with the windows of params,
// one for each segment or one for all, and appends the payload to dst. A
// segment that would not shrink is stored as it is. The same arguments give
// the same bytes on every machine. A page shorter than its shape, and another
// number of params, are ErrInvalid.
func (e *Encoder) Append(dst, page []byte, s Shape, params []Params) ([]byte, error) {
	if err := s.Validate(); err != nil {
		return dst, err
	}
	if len(page) < s.Bytes() {
		return dst, fmt.Errorf("planes: page of %d bytes for a shape of %d: %w", len(page), s.Bytes(), kvferry.ErrInvalid)
	}
	if len(params) != 1 && len(params) != s.Segments {
		return dst, fmt.Errorf("planes: %d parameters for %d segments, not 1 or as many: %w", len(params), s.Segments, kvferry.ErrInvalid)
	}
	e.prepare(s.Rows * s.Cols)
	base := len(dst)
	dst = appendHead(dst, s)
	entries := base + headBytes
	size := s.segmentBytes()
	for i := range s.Segments {
		p := params[0]
		if len(params) > 1 {
			p = params[i]
		}
		from := len(dst)
		var kind uint32
		dst, kind = e.block(dst, page[i*size:][:size], s, p)
		binary.LittleEndian.PutUint32(dst[entries+entryBytes*i:], uint32(len(dst)-from)|kind<<kindShift)
		dst = pad(dst, base)
	}
	return append(dst, page[s.Bytes():]...), nil
}

// prepare makes room for what n values may leave.
func (e *Encoder) prepare(n int) {
	if e.k == nil {
		e.k = implementations[0]
	}
	if len(e.x1) < n+lanes {
		e.x1, e.x2, e.x3 = make([]byte, n+lanes), make([]byte, n+lanes), make([]byte, n+lanes)
	}
}

// appendHead appends the payload's head with empty entries.
func appendHead(dst []byte, s Shape) []byte {
	base := len(dst)
	dst = append(dst, version, bfloat16)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(s.Rows))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(s.Cols))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.Segments))
	for range s.Segments {
		dst = binary.LittleEndian.AppendUint32(dst, 0)
	}
	return pad(dst, base)
}

// pad fills dst up to a multiple of 8 behind base.
func pad(dst []byte, base int) []byte {
	for (len(dst)-base)%8 != 0 {
		dst = append(dst, 0)
	}
	return dst
}

// block appends the block of a segment and says of which kind it is.
func (e *Encoder) block(dst, segment []byte, s Shape, p Params) ([]byte, uint32) {
	from, stride := len(dst), 2*s.Cols
	zero := zeroRows(segment, stride)
	rows := s.Rows - zero
	n, planes1 := rows*s.Cols, 2*stripesPlane(rows, s.Cols)
	if paramBytes+n+planes1 >= len(segment) {
		return append(dst, segment...), kindRaw
	}
	dst = append(dst, p.First, p.Down, p.Low, p.Top, byte(p.Second), byte(p.Third), byte(zero), byte(zero>>8))
	dst = extend(dst, n+planes1)
	r1 := e.first(dst[from+paramBytes:], segment, rows, s.Cols, p)
	planes2 := 2 * planeBytes(r1)
	if len(dst)-from+planes2 >= len(segment) {
		return append(dst[:from], segment...), kindRaw
	}
	dst = extend(dst, planes2)
	r2 := e.k.encode2(e.x1[:r1], p.Second, dst[len(dst)-planes2:], e.x2)
	planes3 := 3 * planeBytes(r2)
	if len(dst)-from+planes3 >= len(segment) {
		return append(dst[:from], segment...), kindRaw
	}
	dst = extend(dst, planes3)
	r3 := e.k.encode3(e.x2[:r2], p.Third, dst[len(dst)-planes3:], e.x3)
	if len(dst)-from+r3 >= len(segment) {
		return append(dst[:from], segment...), kindRaw
	}
	return append(dst, e.x3[:r3]...), kindPlanes
}

// first codes a segment by the first window: the rests of all its values to
// body, the planes behind them. It returns how many values went on.
func (e *Encoder) first(body, segment []byte, rows, cols int, p Params) int {
	rests, planes := body[:rows*cols], body[rows*cols:]
	r1 := 0
	stripes(cols, func(s stripe) {
		n := rows * s.width * s.count
		r1 += e.k.encode(segment[2*s.col:], rows, 2*cols, s, p, rests[:n], planes, e.x1[r1:])
		rests, planes = rests[n:], planes[2*s.count*planeBytes(rows*s.width):]
	})
	return r1
}

// stripesPlane is the length of one bit plane of the first window.
func stripesPlane(rows, cols int) int {
	n := 0
	stripes(cols, func(s stripe) { n += s.count * planeBytes(rows*s.width) })
	return n
}

// zeroRows counts the rows at the segment's end that hold nothing but zeros.
func zeroRows(segment []byte, stride int) int {
	end := len(segment)
	for end > 0 && segment[end-1] == 0 {
		end--
	}
	return (len(segment) - end) / stride
}

// extend makes dst longer by n bytes, whose content does not matter.
func extend(dst []byte, n int) []byte {
	if cap(dst)-len(dst) < n {
		dst = append(dst, make([]byte, n)...)
		return dst
	}
	return dst[:len(dst)+n]
}

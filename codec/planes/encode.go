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
	plan       plan
	x1, x2, x3 []byte // what the windows leave
	scratch    []byte // what an estimate codes
	small      smallEncoder
}

// MaxBytes is the length that the payload of a page of n bytes does not exceed.
func MaxBytes(s Shape, n int) int {
	return pad8(headBytes+entryBytes*s.Segments) + s.Segments*pad8(s.segmentBytes()) + n - s.Bytes()
}

// Append codes page, whose values lie as s says, with the windows of params,
// one for each segment or one for all, and appends the payload to dst, behind
// which the bytes up to MaxBytes may be written too. A segment that would not
// shrink is stored as it is. The same arguments give
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
	return append(dst, "\x00\x00\x00\x00\x00\x00\x00"[:(base-len(dst))&7]...)
}

// block appends the block of a segment and says of which kind it is.
func (e *Encoder) block(dst, segment []byte, s Shape, p Params) ([]byte, uint32) {
	from := len(dst)
	dst = extend(dst, len(segment))
	if n, shrank := e.planes(dst[from:], segment, s, p); shrank {
		return dst[:from+n], kindPlanes
	}
	copy(dst[from:], segment)
	return dst, kindRaw
}

// planes writes a block of kind 1 to block, which is as long as the segment, and
// returns its length if that is less. The rest of block is scratch.
func (e *Encoder) planes(block, segment []byte, s Shape, p Params) (n int, shrank bool) {
	zero := zeroRows(segment, 2*s.Cols)
	w := e.plan.of(s.Rows-zero, s.Cols)
	at := paramBytes + w.values + w.planes
	if at >= len(block) {
		return 0, false
	}
	copy(block, []byte{p.First, p.Down, p.Low, p.Top, byte(p.Second), byte(p.Third), byte(zero), byte(zero >> 8)})
	r1 := e.first(block[paramBytes:at], segment, w, p)
	planes2 := block[at:]
	if at += 2 * planeBytes(r1); at >= len(block) {
		return 0, false
	}
	r2 := e.k.encode2(e.x1[:r1], p.Second, planes2, e.x2)
	planes3 := block[at:]
	if at += 3 * planeBytes(r2); at >= len(block) {
		return 0, false
	}
	r3 := e.k.encode3(e.x2[:r2], p.Third, planes3, e.x3)
	if at+r3 >= len(block) {
		return 0, false
	}
	return at + copy(block[at:], e.x3[:r3]), true
}

// first codes a segment by the first window: the rests of all its values to
// body, the planes behind them. It returns how many values went on.
func (e *Encoder) first(body, segment []byte, w *plan, p Params) int {
	rests, planes := body[:w.values], body[w.values:]
	r1 := 0
	if w.rows == 0 {
		return 0
	}
	for i := range w.parts() {
		s := &w.all[i]
		r1 += e.k.encode(segment[2*s.col:], w.rows, 2*w.cols, &s.stripe, p, rests[:s.values], planes[:s.planes], e.x1[r1:])
		rests, planes = rests[s.values:], planes[s.planes:]
	}
	return r1
}

// zeroRows counts the rows at the segment's end that hold nothing but zeros.
func zeroRows(segment []byte, stride int) int {
	end := len(segment)
	for end >= 8 && binary.LittleEndian.Uint64(segment[end-8:]) == 0 {
		end -= 8
	}
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

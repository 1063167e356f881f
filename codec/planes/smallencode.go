package planes

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/huff0"

	"github.com/kvferry/kvferry"
)

// AppendSmall is Append at the level small: the payload is smaller and takes
// ten times as long. It knows more elements than Append. For page and s hold
// the same conditions, the lengths being those of el; MaxBytes bounds the
// payload.
func (e *Encoder) AppendSmall(dst, page []byte, s Shape, el Elements) ([]byte, error) {
	if err := errors.Join(s.Validate(), el.Validate()); err != nil {
		return dst, err
	}
	size := el.Bytes() * s.Rows * s.Cols
	if len(page) < s.Segments*size {
		return dst, fmt.Errorf("planes: page of %d bytes for %d segments of %d: %w", len(page), s.Segments, size, kvferry.ErrInvalid)
	}
	e.prepare(0)
	dst = append(dst, version, byte(el))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(s.Rows))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(s.Cols))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(s.Segments))
	dst = append(dst, levelSmall, 0, 0, 0)
	per := perBundle(s)
	for i := 0; i < s.Segments; i += per {
		n := min(per, s.Segments-i)
		dst = e.small.bundle(dst, page[:n*size], n, s, el, e.k)
		page = page[n*size:]
	}
	return append(dst, page...), nil
}

// smallEncoder codes bundles.
type smallEncoder struct {
	smallBuffers
	h huff0.Scratch
}

// bundle appends segments as one bundle.
func (c *smallEncoder) bundle(dst, segments []byte, count int, s Shape, el Elements, kern *kernels) []byte {
	from := len(dst)
	zero := zeroRowsOf(segments, count, el.Bytes()*s.Cols)
	rows := s.Rows - zero
	n := count * rows * s.Cols
	c.prepare(n, s.Cols)
	greatest := c.greatest(segments, count, rows, s, el)
	used := c.collect(segments, count, rows, s, el, greatest, kern)

	dst = append(dst, bundleCoded, greatest, byte(zero), byte(zero>>8))
	packed := packedBytes(n, el.mantissa())
	clear(c.mantissas[n:][:8])
	dst = extend(dst, packed+16)
	kern.pack(dst[len(dst)-packed-16:], c.mantissas[:n], el.mantissa())
	dst = dst[:len(dst)-16]
	if el == Float16 {
		dst = append(dst, c.low[:n]...)
	}
	for k := range contexts {
		dst = c.stream(dst, c.symbols[k*c.room:][:used[k]])
	}
	dst = c.stream(dst, c.escapes[:used[contexts]])
	if len(dst)-from >= len(segments) {
		dst = append(dst[:from], bundleRaw)
		return append(dst, segments...)
	}
	return dst
}

// zeroRowsOf counts the rows at the end of each of count segments that hold
// nothing but zeros.
func zeroRowsOf(segments []byte, count, stride int) int {
	size := len(segments) / count
	zero := size / stride
	for ; len(segments) > 0 && zero > 0; segments = segments[size:] {
		zero = min(zero, zeroRows(segments[:size], stride))
	}
	return zero
}

// greatest is the greatest exponent of the first rows.
func (c *smallEncoder) greatest(segments []byte, count, rows int, s Shape, el Elements) byte {
	var most uint16
	if rows == 0 {
		return 0
	}
	size := len(segments) / count
	for i := range count {
		words := el.widen(c.words[:2*s.Cols], c.low, segments[i*size:])
		for ; len(words) > 0; words = words[2:] {
			most = max(most, binary.LittleEndian.Uint16(words)>>7&0xff)
		}
	}
	return byte(most)
}

// collect fills the buffers with the parts of all values and says how many
// symbols each context has, and how many escapes there are.
func (c *smallEncoder) collect(segments []byte, count, rows int, s Shape, el Elements, greatest byte, kern *kernels) turns {
	stride := el.Bytes() * s.Cols
	c.next = turns{}
	for k := range contexts {
		c.next[k] = k * c.room
	}
	at := 0
	for i := range count {
		c.begin(s.Cols, greatest)
		segment := segments[i*s.Rows*stride:]
		for r := range rows {
			c.r.words = el.widen(c.words[:2*s.Cols], c.low[at:], segment[r*stride:])
			c.r.mantissas = c.mantissas[at:][:s.Cols]
			kern.apart(&c.r, &c.next)
			c.r.keep = 0xff
			at += s.Cols
		}
	}
	used := c.next
	for k := range contexts {
		used[k] -= k * c.room
	}
	return used
}

// stream appends symbols: their number, and chunks.
func (c *smallEncoder) stream(dst, symbols []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(symbols)))
	for len(symbols) > 0 {
		n := min(len(symbols), chunkSymbols)
		dst = c.chunk(dst, symbols[:n])
		symbols = symbols[n:]
	}
	return dst
}

// chunk appends symbols as the smallest kind of chunk.
func (c *smallEncoder) chunk(dst, symbols []byte) []byte {
	c.h.Reuse = huff0.ReusePolicyNone
	kind, compress := uint64(chunkOne), huff0.Compress1X
	if len(symbols) >= fourStreams {
		kind, compress = chunkFour, huff0.Compress4X
	}
	out, _, err := compress(symbols, &c.h)
	switch {
	case errors.Is(err, huff0.ErrUseRLE):
		kind, out = chunkSame, symbols[:1]
	case err != nil || len(out) >= len(symbols):
		kind, out = chunkRaw, symbols
	}
	dst = binary.AppendUvarint(dst, uint64(len(out))<<2|kind)
	return append(dst, out...)
}

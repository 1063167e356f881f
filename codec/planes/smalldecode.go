package planes

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/huff0"

	"github.com/kvferry/kvferry"
)

// smallDecoder decodes bundles.
type smallDecoder struct {
	smallBuffers
	h *huff0.Scratch
}

// decode decodes what is behind the head of a payload at the level small.
func (d *smallDecoder) decode(dst, body []byte, s Shape, el Elements, kern *kernels) error {
	size, per := el.Bytes()*s.Rows*s.Cols, perBundle(s)
	if len(dst)/size < s.Segments {
		return fmt.Errorf("planes: %d segments of %d bytes in a page of %d: %w", s.Segments, size, len(dst), kvferry.ErrCorrupt)
	}
	for i := 0; i < s.Segments; i += per {
		n := min(per, s.Segments-i)
		var err error
		if body, err = d.bundle(dst[:n*size], body, n, s, el, kern); err != nil {
			return fmt.Errorf("planes: segment %d: %w", i, err)
		}
		dst = dst[n*size:]
	}
	if len(body) != len(dst) {
		return fmt.Errorf("planes: %d bytes behind the segments, want %d: %w", len(body), len(dst), kvferry.ErrCorrupt)
	}
	copy(dst, body)
	return nil
}

var errShort = fmt.Errorf("bundle is cut: %w", kvferry.ErrCorrupt)

// bundle decodes count segments and returns what is behind them.
func (d *smallDecoder) bundle(segments, body []byte, count int, s Shape, el Elements, kern *kernels) (rest []byte, err error) {
	if len(body) > len(segments) && body[0] == bundleRaw {
		copy(segments, body[1:])
		return body[1+len(segments):], nil
	}
	if len(body) < bundleHead {
		return nil, errShort
	}
	zero := int(binary.LittleEndian.Uint16(body[2:]))
	if body[0] != bundleCoded || zero > s.Rows {
		return nil, fmt.Errorf("bundle of kind %d, %d rows of zeros of %d: %w", body[0], zero, s.Rows, kvferry.ErrCorrupt)
	}
	greatest := body[1]
	rows := s.Rows - zero
	n := count * rows * s.Cols
	packed := packedBytes(n, el.mantissa())
	if body = body[bundleHead:]; len(body) < packed {
		return nil, errShort
	}
	d.prepare(n, s.Cols)
	kern.unpack(d.mantissas[:n], body[:packed], el.mantissa())
	body = body[packed:]
	low := body
	if el == Float16 {
		if len(body) < n {
			return nil, errShort
		}
		body = body[n:]
	}
	ends, body, err := d.streams(body, n)
	if err != nil {
		return nil, err
	}
	d.spread(segments, low, count, rows, s, el, greatest, kern)
	if d.next != ends {
		return nil, fmt.Errorf("symbols and escapes end at %v, want %v: %w", d.next, ends, kvferry.ErrCorrupt)
	}
	return body, nil
}

// streams decodes the symbols of n values, those of each context behind the
// others, and the escapes. d.next is then where each begins, ends where it does.
// Behind the last there is room for as many again, so that no order of contexts
// runs out.
func (d *smallDecoder) streams(body []byte, n int) (ends turns, rest []byte, err error) {
	d.next = turns{}
	at := 0
	for k := range contexts {
		var count int
		if count, body, err = d.stream(d.symbols[at:n], body); err != nil {
			return ends, nil, err
		}
		d.next[k], at = at, at+count
		ends[k] = at
	}
	if at != n {
		return ends, nil, fmt.Errorf("%d symbols for %d values: %w", at, n, kvferry.ErrCorrupt)
	}
	ends[contexts], rest, err = d.stream(d.escapes[:n], body)
	return ends, rest, err
}

// spread puts values together.
func (d *smallDecoder) spread(segments, low []byte, count, rows int, s Shape, el Elements, greatest byte, kern *kernels) {
	stride := el.Bytes() * s.Cols
	at := 0
	for i := range count {
		d.begin(s.Cols, greatest)
		segment := segments[i*s.Rows*stride:][:s.Rows*stride]
		for r := range rows {
			dst := segment[r*stride:][:stride]
			if d.r.words = dst; el != BFloat16 {
				d.r.words = d.words[:2*s.Cols]
			}
			d.r.mantissas = d.mantissas[at:][:s.Cols]
			kern.together(&d.r, &d.next)
			d.r.keep = 0xff
			if el != BFloat16 {
				el.narrow(dst, d.r.words, low[min(at, len(low)):])
			}
			at += s.Cols
		}
		clear(segment[rows*stride:])
	}
}

// stream decodes a stream to dst, which it may not fill, and returns how many
// symbols it has and what is behind it.
func (d *smallDecoder) stream(dst, body []byte) (count int, rest []byte, err error) {
	total, body, err := number(body)
	if err != nil {
		return 0, nil, err
	}
	if total > uint64(len(dst)) {
		return 0, nil, fmt.Errorf("stream of %d symbols, want %d at most: %w", total, len(dst), kvferry.ErrCorrupt)
	}
	for dst = dst[:total]; len(dst) > 0; {
		n := min(len(dst), chunkSymbols)
		var head uint64
		if head, body, err = number(body); err != nil {
			return 0, nil, err
		}
		if head>>2 > uint64(len(body)) {
			return 0, nil, errShort
		}
		if err := d.chunk(dst[:n], body[:head>>2], head&3); err != nil {
			return 0, nil, err
		}
		dst, body = dst[n:], body[head>>2:]
	}
	return int(total), body, nil
}

// overrun is how far huff0's assembly may write behind what four streams are to
// fill, if these are not as long as they should be. It is an error then, but
// what is there is lost.
const overrun = 8

// chunk decodes a chunk to dst, behind which there is room for overrun more,
// whose content does not matter.
func (d *smallDecoder) chunk(dst, src []byte, kind uint64) error {
	switch kind {
	case chunkRaw:
		if len(src) != len(dst) {
			return errShort
		}
		copy(dst, src)
		return nil
	case chunkSame:
		if len(src) != 1 {
			return errShort
		}
		for i := range dst {
			dst[i] = src[0]
		}
		return nil
	}
	return d.huffman(dst, src, kind)
}

// huffman decodes what huff0 coded.
func (d *smallDecoder) huffman(dst, src []byte, kind uint64) error {
	room := dst[:len(dst)+overrun][:len(dst):len(dst)] // panics if it is not there
	h, data, err := huff0.ReadTable(src, d.h)
	if err != nil {
		return fmt.Errorf("table of a chunk: %w: %w", kvferry.ErrCorrupt, err)
	}
	d.h = h
	var out []byte
	if kind == chunkFour {
		out, err = h.Decoder().Decompress4X(room, data)
	} else {
		out, err = h.Decoder().Decompress1X(room[:0], data)
	}
	if err == nil && len(out) != len(dst) {
		err = errShort
	}
	if err != nil {
		return fmt.Errorf("chunk of %d symbols: %w: %w", len(dst), kvferry.ErrCorrupt, err)
	}
	return nil
}

// number reads a number and returns what is behind it.
func number(body []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(body)
	if n <= 0 {
		return 0, nil, errShort
	}
	return v, body[n:], nil
}

package codecs

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/huff0"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/bench/pages"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/codec/planes"
)

// coder codes blobs of one set: the K (part 0) or V (part 1) of a page.
type coder interface {
	// encode appends to dst, which is empty.
	encode(dst, blob []byte, part int) ([]byte, error)
	// decode fills dst.
	decode(dst, stored []byte, part int) error
}

// method is a way to code.
type method struct {
	name string
	role harness.Role
	note string
	make func(s *pages.Set) (coder, error)
}

// The names of methods that others are held against.
const (
	memcpy = "memcpy"
	fast   = "fast"
	alone  = "fast-untuned"
	small  = "small"
	auto   = "auto"
	huff   = "exponents+huff0"
)

// methods are those in this process.
func methods() []method {
	return []method{
		{memcpy, harness.Limit, "", func(*pages.Set) (coder, error) { return plain{}, nil }},
		{fast, harness.Ours, "windows from four pages", newFast},
		{alone, harness.Ours, "windows found in each blob, with its frame", newAlone},
		{small, harness.Ours, "", newSmall},
		{auto, harness.Ours, "with its frame's checksum", newAuto},
		{huff, harness.Peer, "exponents of a blob by klauspost's huff0, the rest as it is", newHuff},
		{"zstd-klauspost", harness.Peer, "fastest level", func(*pages.Set) (coder, error) { return newZstd(zstd.SpeedFastest) }},
		{"s2", harness.Peer, "", func(*pages.Set) (coder, error) { return snappy{}, nil }},
	}
}

// shape is that of a blob.
func shape(s *pages.Set) planes.Shape {
	return planes.Shape{Segments: s.Layers, Rows: s.Tokens, Cols: s.Channels()}
}

// tunePages is how many pages windows are found in. They are not the first of
// the set, which is unlike others, where there are enough.
const tunePages = 4

// tune finds windows for K and V.
func tune(s *pages.Set) (params [2][]planes.Params, err error) {
	from := min(1, len(s.Pages)-1)
	some := s.Pages[from:min(from+tunePages, len(s.Pages))]
	for part := range params {
		blobs := make([][]byte, len(some))
		for i, p := range some {
			blobs[i] = p[part*len(p)/2:][:len(p)/2]
		}
		if params[part], err = planes.Tune(shape(s), blobs...); err != nil {
			return params, err
		}
	}
	return params, nil
}

type plain struct{}

func (plain) encode(dst, blob []byte, _ int) ([]byte, error) { return append(dst, blob...), nil }

func (plain) decode(dst, stored []byte, _ int) error {
	copy(dst, stored)
	return nil
}

// window is the level fast.
type window struct {
	shape  planes.Shape
	params [2][]planes.Params
	e      planes.Encoder
	d      planes.Decoder
}

func newFast(s *pages.Set) (coder, error) {
	params, err := tune(s)
	return &window{shape: shape(s), params: params}, err
}

func (w *window) encode(dst, blob []byte, part int) ([]byte, error) {
	return w.e.Append(dst, blob, w.shape, w.params[part])
}

func (w *window) decode(dst, stored []byte, _ int) error { return w.d.Decode(dst, stored) }

// entropy is the level small.
type entropy struct {
	shape    planes.Shape
	elements planes.Elements
	e        planes.Encoder
	d        planes.Decoder
}

func newSmall(s *pages.Set) (coder, error) {
	return &entropy{shape: shape(s), elements: planes.BFloat16}, nil
}

func (c *entropy) encode(dst, blob []byte, _ int) ([]byte, error) {
	return c.e.AppendSmall(dst, blob, c.shape, c.elements)
}

func (c *entropy) decode(dst, stored []byte, _ int) error { return c.d.Decode(dst, stored) }

// frames is what a store does.
type frames struct {
	hint codec.Hint
	e    codec.Encoder
	d    codec.Decoder
}

// newAuto is a store's default.
func newAuto(s *pages.Set) (coder, error) {
	params, err := tune(s)
	if err != nil {
		return nil, err
	}
	f := &frames{hint: codec.Hint{Elem: codec.BF16, ElemBytes: 2, RowElems: s.Channels(), Segments: s.Layers, Tuning: new(codec.Tuning)}}
	for part, name := range []string{"k", "v"} {
		if err := f.hint.Tuning.Add(name, shape(s), params[part]); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// newAlone is the level fast for a writer that tells stores only what elements
// its blobs have.
func newAlone(s *pages.Set) (coder, error) {
	return &frames{hint: codec.Hint{Mode: codec.Fast, Elem: codec.BF16, ElemBytes: 2, RowElems: s.Channels(), Segments: s.Layers}}, nil
}

func (f *frames) encode(dst, blob []byte, _ int) ([]byte, error) {
	frame, err := f.e.Encode(f.hint, blob)
	if err != nil {
		return nil, err
	}
	return frame.AppendTo(dst), nil
}

func (f *frames) decode(dst, stored []byte, _ int) error {
	_, err := f.d.Decode(dst, stored)
	return err
}

// huffman codes exponents as they are met by huff0, in pieces of at most its
// limit, and keeps signs and mantissas.
type huffman struct {
	e, d huff0.Scratch
	exps []byte
}

func newHuff(s *pages.Set) (coder, error) {
	h := &huffman{exps: make([]byte, s.PageBytes()/4)}
	h.e.Reuse = huff0.ReusePolicyNone
	return h, nil
}

func (h *huffman) encode(dst, blob []byte, _ int) ([]byte, error) {
	n := len(blob) / 2
	for i := range n {
		v := binary.LittleEndian.Uint16(blob[2*i:])
		h.exps[i] = byte(v >> 7)
		dst = append(dst, byte(v>>15<<7|v&0x7f))
	}
	for at := 0; at < n; at += huff0.BlockSizeMax {
		piece := h.exps[at:min(at+huff0.BlockSizeMax, n)]
		out, _, err := huff0.Compress4X(piece, &h.e)
		if err != nil { // as they are; one byte less than they have cannot be coded
			out = piece
		}
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(out)))
		dst = append(dst, out...)
	}
	return dst, nil
}

func (h *huffman) decode(dst, stored []byte, _ int) error {
	n := len(dst) / 2
	rests, stored := stored[:n], stored[n:]
	for at := 0; at < n; at += huff0.BlockSizeMax {
		piece := h.exps[at:min(at+huff0.BlockSizeMax, n)]
		size := int(binary.LittleEndian.Uint32(stored))
		if err := h.piece(piece, stored[4:][:size]); err != nil {
			return err
		}
		stored = stored[4+size:]
	}
	for i, e := range h.exps[:n] {
		r := uint16(rests[i])
		binary.LittleEndian.PutUint16(dst[2*i:], r>>7<<15|uint16(e)<<7|r&0x7f)
	}
	return nil
}

func (h *huffman) piece(dst, src []byte) error {
	if len(src) == len(dst) {
		copy(dst, src)
		return nil
	}
	t, data, err := huff0.ReadTable(src, &h.d)
	if err != nil {
		return fmt.Errorf("codecs: %w: %w", kvferry.ErrCorrupt, err)
	}
	if _, err := t.Decoder().Decompress4X(dst[:len(dst):len(dst)], data); err != nil {
		return fmt.Errorf("codecs: %w: %w", kvferry.ErrCorrupt, err)
	}
	return nil
}

// standard is zstd as klauspost has it.
type standard struct {
	e *zstd.Encoder
	d *zstd.Decoder
}

func newZstd(level zstd.EncoderLevel) (coder, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(level), zstd.WithEncoderCRC(false))
	d, err2 := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.IgnoreChecksum(true))
	return &standard{e, d}, errors.Join(err, err2)
}

func (z *standard) encode(dst, blob []byte, _ int) ([]byte, error) {
	return z.e.EncodeAll(blob, dst), nil
}

func (z *standard) decode(dst, stored []byte, _ int) error {
	out, err := z.d.DecodeAll(stored, dst[:0])
	return full(dst, out, err)
}

type snappy struct{}

func (snappy) encode(dst, blob []byte, _ int) ([]byte, error) {
	return s2.Encode(dst[:cap(dst)], blob), nil
}

func (snappy) decode(dst, stored []byte, _ int) error {
	out, err := s2.Decode(dst, stored)
	return full(dst, out, err)
}

// full checks that a library decoded to dst.
func full(dst, out []byte, err error) error {
	if err != nil {
		return fmt.Errorf("codecs: %w: %w", kvferry.ErrCorrupt, err)
	}
	if len(out) != len(dst) || &out[0] != &dst[0] {
		return fmt.Errorf("codecs: %d bytes, want %d: %w", len(out), len(dst), kvferry.ErrCorrupt)
	}
	return nil
}

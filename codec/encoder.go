package codec

import (
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/codec/planes"
)

// Encoder turns plain bytes into frames. Its zero value is ready for use. It
// is not safe for concurrent use: each worker owns one. It keeps a buffer as
// long as the greatest blob that it compressed and allocates nothing once that
// buffer is large enough.
type Encoder struct {
	z     *zstd.Encoder // nil until something is compressed
	p     planes.Encoder
	tuner planes.Tuner
	own   [1]planes.Params // windows found in the blob itself
	tries []*set           // on the blob at hand
	buf   []byte
	// head is built here because the checksum's code lets its argument escape:
	// in a frame on the stack it would cost an allocation each time.
	head [HeaderBytes]byte
}

// Encode returns the frame of plain, coded as h asks for. The payload is part
// of plain or of the encoder's own buffer and valid until the next call or
// until plain changes. A frame is never longer than plain and the header. An
// unknown mode is ErrInvalid.
func (e *Encoder) Encode(h Hint, plain []byte) (Frame, error) {
	switch h.Mode {
	case OnlyRaw:
		return e.seal(Raw, len(plain), plain), nil
	case Auto, PreferZstd, Fast, Small:
	default:
		return Frame{}, fmt.Errorf("codec: encode with mode %d: %w", h.Mode, kvferry.ErrInvalid)
	}
	if p := period(plain); p > 0 {
		return e.seal(Constant, len(plain), plain[:p]), nil
	}
	p, err := e.planes(&h, plain)
	if err != nil {
		return Frame{}, err
	}
	if p != nil {
		return e.seal(Planes, len(plain), p), nil
	}
	z, err := e.shrink(h.Mode, plain)
	if err != nil {
		return Frame{}, err
	}
	if z != nil {
		return e.seal(Zstd, len(plain), z), nil
	}
	return e.seal(Raw, len(plain), plain), nil
}

// worthwhile is the part of a blob that Auto wants to save.
const worthwhile = 16

// seal returns the frame of payload.
func (e *Encoder) seal(id ID, plainBytes int, payload []byte) Frame {
	sealTo(&e.head, id, plainBytes, payload)
	return Frame{Header: e.head, Payload: payload}
}

// shrink returns plain as one zstd frame, or nil if the mode does not want it
// compressed. Auto and Fast want a saving for which a reader pays with decoding
// at a fraction of the speed of a copy.
func (e *Encoder) shrink(m Mode, plain []byte) ([]byte, error) {
	limit := len(plain)
	if m == Auto || m == Fast {
		if !compressible(plain) {
			return nil, nil
		}
		limit -= len(plain) / worthwhile
	}
	if len(plain) == 0 {
		return nil, nil
	}
	if e.z == nil {
		// One goroutine, no checksum: the frame header or the digest of the
		// plain bytes guards them. The level's window is 4 MiB.
		z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
			zstd.WithAllLitEntropyCompression(true), // shrinks values of a KV cache by a quarter, though they hold no matches
			zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return nil, fmt.Errorf("codec: zstd encoder: %w", err)
		}
		e.z = z
	}
	// The compressor may write a block before it finds that it did not shrink.
	e.reserve(len(plain) + len(plain)/1024 + 256<<10)
	out := e.z.EncodeAll(plain, e.buf)
	if len(out) >= limit {
		return nil, nil
	}
	return out, nil
}

// reserve makes the buffer hold at least n bytes.
func (e *Encoder) reserve(n int) {
	if cap(e.buf) < n {
		e.buf = make([]byte, 0, n)
	}
}

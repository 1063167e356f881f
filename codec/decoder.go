package codec

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/klauspost/compress/zstd"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/codec/planes"
)

// Decoder turns frames back into plain bytes. Its zero value is ready for use.
// It is not safe for concurrent use: each worker owns one.
type Decoder struct {
	z *zstd.Decoder // nil until something compressed is met
	p planes.Decoder
}

// Decode writes the plain bytes of frame, which is a header and exactly its
// payload, to dst and returns their length. Plain bytes longer than dst are
// ErrShortBuffer, and then n is their length; a damaged, cut or extended frame
// is ErrCorrupt; a version or codec that this build lacks is ErrUnsupported.
// Nothing is written past dst; on an error its content is unspecified.
func (d *Decoder) Decode(dst, frame []byte) (n int, err error) {
	h, err := ParseHeader(frame)
	if err != nil {
		return 0, err
	}
	payload := frame[HeaderBytes:]
	if int64(len(payload)) != h.StoredBytes {
		return 0, fmt.Errorf("codec: frame has %d of %d payload bytes: %w", len(payload), h.StoredBytes, kvferry.ErrCorrupt)
	}
	if h.PlainBytes > int64(len(dst)) {
		return clampInt(h.PlainBytes), shortBuffer(h.PlainBytes, len(dst))
	}
	if crc32.Checksum(payload, castagnoli) != h.PayloadCRC {
		return 0, fmt.Errorf("codec: frame payload checksum: %w", kvferry.ErrCorrupt)
	}
	if err := d.decodePayload(h, dst[:h.PlainBytes], payload); err != nil {
		return 0, err
	}
	return int(h.PlainBytes), nil
}

// decodePayload fills plain, whose length is the announced one.
func (d *Decoder) decodePayload(h Header, plain, payload []byte) error {
	switch h.Codec {
	case Raw:
		if len(payload) != len(plain) {
			return fmt.Errorf("codec: raw frame of %d bytes announces %d: %w", len(payload), len(plain), kvferry.ErrCorrupt)
		}
		copy(plain, payload)
	case Constant:
		if len(payload) == 0 || len(payload) > min(maxPattern, len(plain)) {
			return fmt.Errorf("codec: constant frame with a pattern of %d bytes: %w", len(payload), kvferry.ErrCorrupt)
		}
		fill(plain, payload)
	case Zstd:
		n, err := d.DecodeZstd(plain, payload)
		if errors.Is(err, kvferry.ErrShortBuffer) || err == nil && n != len(plain) {
			return fmt.Errorf("codec: zstd frame does not have the announced %d bytes: %w", len(plain), kvferry.ErrCorrupt)
		}
		return err
	case Planes:
		if err := d.p.Decode(plain, payload); err != nil {
			return fmt.Errorf("codec: %w", err)
		}
	default: // ParseHeader lets no other codec through
		return fmt.Errorf("codec: decode %v: %w", h.Codec, kvferry.ErrUnsupported)
	}
	return nil
}

func shortBuffer(plain int64, have int) error {
	return fmt.Errorf("codec: %d plain bytes into a buffer of %d: %w", plain, have, kvferry.ErrShortBuffer)
}

func clampInt(n int64) int { return int(min(n, math.MaxInt)) }

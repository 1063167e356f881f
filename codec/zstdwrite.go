package codec

import (
	"encoding/binary"
	"fmt"

	"github.com/kvferry/kvferry"
)

// Limits and fields of the zstd format (RFC 8878).
const (
	zstdMagic     = "\x28\xb5\x2f\xfd"
	zstdBlockMax  = 128 << 10
	zstdBlockHead = 3

	blockRaw        = 0
	blockRLE        = 1
	blockCompressed = 2

	// Content up to this length goes into single-segment frames; 8 MiB is the
	// least that every zstd reader takes. Beyond it the header asks for a
	// window of one block, which is all that raw and RLE blocks need.
	singleSegmentMax = 8 << 20
	oneBlockWindow   = (17 - 10) << 3
)

// EncodeZstd returns plain as one standard zstd frame, coded as h asks for:
// raw blocks for OnlyRaw and for what does not shrink, RLE blocks for one
// repeated byte, compressed blocks else. Fast is as Auto here, Small as PreferZstd. The frame carries the content's
// length, unless it is compressed and shorter than 256 bytes, and no checksum,
// because its readers hash the plain bytes anyway; its window is at most
// 8 MiB. It lies in the encoder's buffer and is valid until
// the next call. An unknown mode is ErrInvalid.
func (e *Encoder) EncodeZstd(h Hint, plain []byte) ([]byte, error) {
	switch h.Mode {
	case OnlyRaw:
		return e.storeZstd(plain), nil
	case Auto, PreferZstd, Fast, Small:
	default:
		return nil, fmt.Errorf("codec: encode zstd with mode %d: %w", h.Mode, kvferry.ErrInvalid)
	}
	switch p := period(plain); {
	case p == 1:
		return e.repeatZstd(plain), nil
	case p > 1:
		h.Mode = PreferZstd // a longer pattern has no block of its own
	}
	z, err := e.shrink(h.Mode, plain)
	if err != nil {
		return nil, err
	}
	if z != nil {
		return z, nil
	}
	return e.storeZstd(plain), nil
}

// storeZstd returns a frame of raw blocks.
func (e *Encoder) storeZstd(plain []byte) []byte {
	e.reserve(18 + len(plain) + (len(plain)/zstdBlockMax+1)*zstdBlockHead)
	b := appendZstdHeader(e.buf[:0], len(plain))
	for {
		n := min(len(plain), zstdBlockMax)
		b = appendBlockHeader(b, blockRaw, n, n == len(plain))
		b = append(b, plain[:n]...)
		if plain = plain[n:]; len(plain) == 0 {
			return b
		}
	}
}

// repeatZstd returns a frame of RLE blocks for plain, which is at least two
// equal bytes. The first byte is a raw block of its own: the zstd command up
// to 1.4.3 fails on frames that begin with an RLE block.
func (e *Encoder) repeatZstd(plain []byte) []byte {
	e.reserve(18 + (len(plain)/zstdBlockMax+2)*(zstdBlockHead+1))
	b := appendZstdHeader(e.buf[:0], len(plain))
	b = appendBlockHeader(b, blockRaw, 1, false)
	b = append(b, plain[0])
	for left := len(plain) - 1; left > 0; {
		n := min(left, zstdBlockMax)
		left -= n
		b = appendBlockHeader(b, blockRLE, n, left == 0)
		b = append(b, plain[0])
	}
	return b
}

// appendZstdHeader appends the header of a frame with n bytes of content:
//
//	magic 28 b5 2f fd
//	descriptor: bits 7-6 width of the content size (1, 2, 4, 8), bit 5 single
//	segment, bit 2 checksum, bits 1-0 width of the dictionary id
//	window descriptor, unless single segment
//	content size (less 256 in the width of 2)
func appendZstdHeader(b []byte, n int) []byte {
	b = append(b, zstdMagic...)
	const single = 1 << 5
	switch {
	case n < 256:
		return append(b, single, byte(n))
	case n < 256+1<<16:
		return binary.LittleEndian.AppendUint16(append(b, 1<<6|single), uint16(n-256))
	case n <= singleSegmentMax:
		return binary.LittleEndian.AppendUint32(append(b, 2<<6|single), uint32(n))
	}
	return binary.LittleEndian.AppendUint64(append(b, 3<<6, oneBlockWindow), uint64(n))
}

// appendBlockHeader appends 3 bytes: bit 0 last, bits 2-1 type, then the size.
func appendBlockHeader(b []byte, kind, n int, last bool) []byte {
	v := uint32(n)<<3 | uint32(kind)<<1
	if last {
		v |= 1
	}
	return append(b, byte(v), byte(v>>8), byte(v>>16))
}

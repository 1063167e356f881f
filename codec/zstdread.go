package codec

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/kvferry/kvferry"
)

// DecodeZstd writes the content of the zstd file src to dst and returns its
// length: any number of frames and skippable frames, with or without content
// sizes and checksums, within ProcessFork's limits (a window of 2^27 bytes,
// 2^27+1 in a single segment) and without a dictionary. Content longer than
// dst is ErrShortBuffer, and then n is its length, or 0 if the frames do not
// tell; everything else that is wrong is ErrCorrupt, trailing bytes and the
// empty file included. Nothing is written past dst; on an error its content is
// unspecified.
func (d *Decoder) DecodeZstd(dst, src []byte) (n int, err error) {
	o, err := scanZstd(src)
	if err != nil {
		return 0, err
	}
	if o.plain > int64(len(dst)) {
		return clampInt(o.plain), shortBuffer(o.plain, len(dst))
	}
	if o.stored {
		return copyStored(dst, src), nil
	}
	if d.z == nil {
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true),
			zstd.WithDecoderMaxWindow(maxSingleSegment))
		if err != nil {
			return 0, fmt.Errorf("codec: zstd decoder: %w", err)
		}
		d.z = z
	}
	out, err := d.z.DecodeAll(src, dst[:0:len(dst)])
	if err == nil {
		return copy(dst, out), nil // in place already: copy moves nothing
	}
	if d.overruns(o, len(dst), src, err) {
		return 0, fmt.Errorf("codec: zstd content into a buffer of %d: %w", len(dst), kvferry.ErrShortBuffer)
	}
	return 0, fmt.Errorf("codec: zstd: %w: %w", err, kvferry.ErrCorrupt)
}

// overruns tells whether decoding failed because the content is longer than
// size. The decoder does not say so clearly when a compressed block crosses
// the end of its buffer, so the content is decoded once more into one that
// takes another block: if more than size bytes come out, it was too long.
func (d *Decoder) overruns(o outline, size int, src []byte, cause error) bool {
	switch {
	case errors.Is(cause, zstd.ErrDecoderSizeExceeded):
		return true
	case o.plain >= 0 || o.most <= int64(size):
		return false
	}
	out, _ := d.z.DecodeAll(src, make([]byte, 0, size+zstdBlockMax))
	return len(out) > size
}

// copyStored decodes frames of raw and RLE blocks, whose structure scanZstd
// has checked and whose content fits dst.
func copyStored(dst, src []byte) int {
	n := 0
	for len(src) > 0 {
		if skipped, ok := skippable(src); ok {
			src = src[skipped:]
			continue
		}
		f, _ := parseZstdHeader(src)
		src = src[f.headBytes:]
		for last := false; !last; {
			v := uint32(src[0]) | uint32(src[1])<<8 | uint32(src[2])<<16
			last = v&1 != 0
			size := int(v >> 3)
			src = src[zstdBlockHead:]
			if v>>1&3 == blockRLE {
				fill(dst[n:n+size], src[:1])
				src = src[1:]
			} else {
				copy(dst[n:], src[:size])
				src = src[size:]
			}
			n += size
		}
	}
	return n
}

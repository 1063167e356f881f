package codec

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/kvferry/kvferry"
)

// The limits of ProcessFork's reader, which are libzstd's defaults.
const (
	maxWindow        = 1 << 27
	maxSingleSegment = 1<<27 + 1
)

// outline is what the structure of a zstd file tells without decoding: it
// costs one look at each frame and block header.
type outline struct {
	frames int
	// plain is the length of the content, -1 if some frame does not tell.
	plain int64
	// most bounds the length of the content from above.
	most int64
	// stored says that all blocks are raw or RLE and no frame has a checksum,
	// so that decoding is copying.
	stored bool
}

// scanZstd walks all frames and blocks of src. Everything that cannot be the
// structure of a whole zstd file within ProcessFork's limits is ErrCorrupt:
// truncation, trailing bytes, no frame at all, reserved bits, a dictionary,
// a window that is too large, a content size that the blocks cannot have.
func scanZstd(src []byte) (outline, error) {
	o := outline{stored: true}
	known := true
	for len(src) > 0 {
		if skipped, ok := skippable(src); ok {
			if skipped > len(src) {
				return o, corruptZstd("skippable frame is cut")
			}
			src = src[skipped:]
			continue
		}
		f, err := parseZstdHeader(src)
		if err != nil {
			return o, err
		}
		rest, err := f.walk(src[f.headBytes:])
		if err != nil {
			return o, err
		}
		src = rest
		o.frames++
		o.stored = o.stored && f.stored && !f.checksum
		if f.stored {
			f.content, f.hasContent = f.least, true
		}
		known = known && f.hasContent
		if f.hasContent {
			f.most = f.content
			o.plain += f.content
		}
		o.most += f.most // no overflow: a block header of 3 bytes stands for at most 128 KiB
	}
	if o.frames == 0 {
		return o, corruptZstd("no frame")
	}
	if !known {
		o.plain = -1
	}
	return o, nil
}

// skippable returns the length of the skippable frame at the beginning of b.
// Its magic is 5x 2a 4d 18, its length follows.
func skippable(b []byte) (int, bool) {
	if len(b) < 8 || binary.LittleEndian.Uint32(b)&^0xf != 0x184d2a50 {
		return 0, false
	}
	n := int64(binary.LittleEndian.Uint32(b[4:])) + 8
	return int(min(n, math.MaxInt)), true
}

// zstdFrame is one frame's header, and what its blocks tell.
type zstdFrame struct {
	headBytes  int
	window     int64
	content    int64
	hasContent bool
	checksum   bool

	stored      bool  // raw and RLE blocks only
	least, most int64 // bounds of the content
}

// parseZstdHeader reads the frame header at the beginning of b; see
// appendZstdHeader for its fields.
func parseZstdHeader(b []byte) (zstdFrame, error) {
	var f zstdFrame
	if len(b) < 5 || string(b[:4]) != zstdMagic {
		return f, corruptZstd("no frame magic")
	}
	d := b[4]
	if d&(1<<3) != 0 {
		return f, corruptZstd("reserved bit is set")
	}
	single := d&(1<<5) != 0
	f.checksum = d&(1<<2) != 0
	dictBytes := [4]int{0, 1, 2, 4}[d&3]
	sizeBytes := [4]int{0, 2, 4, 8}[d>>6]
	windowBytes := 1
	if single {
		windowBytes = 0
		sizeBytes = max(sizeBytes, 1)
	}
	f.headBytes = 5 + windowBytes + dictBytes + sizeBytes
	if len(b) < f.headBytes {
		return f, corruptZstd("frame header is cut")
	}
	b = b[5:]
	if !single {
		base := int64(1) << (10 + b[0]>>3)
		f.window = base + base/8*int64(b[0]&7)
		b = b[1:]
	}
	for _, c := range b[:dictBytes] {
		if c != 0 {
			return f, corruptZstd("needs a dictionary")
		}
	}
	if err := f.setContent(b[dictBytes:][:sizeBytes], single); err != nil {
		return f, err
	}
	return f, nil
}

// setContent reads the field of the content size and checks the window.
func (f *zstdFrame) setContent(field []byte, single bool) error {
	var n uint64
	for i, c := range field {
		n |= uint64(c) << (8 * i)
	}
	if len(field) == 2 {
		n += 256
	}
	f.hasContent = len(field) > 0
	limit := uint64(math.MaxInt64)
	if single {
		limit = maxSingleSegment
	}
	if n > limit {
		return corruptZstd("content size is too large")
	}
	f.content = int64(n)
	if single {
		f.window = f.content
	}
	if f.window > maxWindow && !single {
		return corruptZstd("window is too large")
	}
	return nil
}

// walk goes over the blocks and the checksum of a frame, whose header was
// already cut off b, and returns what follows the frame.
func (f *zstdFrame) walk(b []byte) ([]byte, error) {
	f.stored = true
	blockMax := min(f.window, zstdBlockMax)
	for last := false; !last; {
		if len(b) < zstdBlockHead {
			return nil, corruptZstd("block header is cut")
		}
		v := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		last = v&1 != 0
		size := int64(v >> 3)
		if size > blockMax {
			return nil, corruptZstd("block is too large")
		}
		b = b[zstdBlockHead:]
		bytes := size
		switch v >> 1 & 3 {
		case blockRaw:
			f.least += size
			f.most += size
		case blockRLE:
			bytes = 1
			f.least += size
			f.most += size
		case blockCompressed:
			f.stored = false
			f.most += blockMax
		default:
			return nil, corruptZstd("reserved block type")
		}
		if int64(len(b)) < bytes {
			return nil, corruptZstd("block is cut")
		}
		b = b[bytes:]
	}
	if f.hasContent && (f.content < f.least || f.content > f.most) {
		return nil, corruptZstd("content size is not that of the blocks")
	}
	if f.checksum {
		if len(b) < 4 {
			return nil, corruptZstd("checksum is cut")
		}
		b = b[4:]
	}
	return b, nil
}

func corruptZstd(why string) error {
	return fmt.Errorf("codec: zstd: %s: %w", why, kvferry.ErrCorrupt)
}

// Package codec turns the plain bytes of a blob into a self-describing frame
// and back, without loss. It also writes and reads the pure zstd frames in
// which ProcessFork keeps its blobs.
//
// A frame is a header of 32 bytes and the payload, with nothing after it.
// Integers are little-endian; CRC-32C is the Castagnoli polynomial.
//
//	 0  4  magic            4b 56 46 52 ("KVFR")
//	 4  1  version          01
//	 5  1  codec            1 raw, 2 constant, 3 zstd, 4 planes (reserved)
//	 6  2  reserved         00 00
//	 8  8  plain length     bytes after decoding
//	16  8  stored length    bytes of the payload
//	24  4  payload CRC-32C
//	28  4  header CRC-32C   of bytes 0 to 27
//	32  -  payload
//
// The payload is, by codec:
//
//	raw       the plain bytes
//	constant  1 to 8 bytes, no more than the plain length, that repeat from
//	          the start to the plain length; the last repetition may be cut
//	zstd      one standard zstd frame without dictionary or checksum
//	planes    reserved; decoding it is kvferry.ErrUnsupported
//
// The empty blob is a raw frame without a payload. Lengths are below 2^63.
//
// Decoding is bounded by the caller's buffer: nothing is written past it, and
// no memory is allocated by the lengths that stored bytes announce.
package codec

import (
	"fmt"

	"github.com/kvferry/kvferry"
)

// ID is a codec's number as it stands in a frame.
type ID uint8

// The codecs. The zero value is invalid. The numbers are stored and must not
// change; Planes is reserved for the lossless bf16 codec.
const (
	Raw      ID = 1
	Constant ID = 2
	Zstd     ID = 3
	Planes   ID = 4
)

// String returns the codec's name.
func (id ID) String() string {
	switch id {
	case Raw:
		return "raw"
	case Constant:
		return "constant"
	case Zstd:
		return "zstd"
	case Planes:
		return "planes"
	}
	return fmt.Sprintf("codec %d", uint8(id))
}

// Mode says how an encoder chooses a codec per blob.
type Mode uint8

// The modes.
const (
	// Auto stores constant data as Constant, data that a sample shows to
	// shrink compressed, and everything else raw. It never grows a blob by
	// more than the frame header.
	Auto Mode = iota
	// OnlyRaw stores everything raw.
	OnlyRaw
	// PreferZstd compresses everything that shrinks.
	PreferZstd
)

// String returns the mode's name as the command line spells it.
func (m Mode) String() string {
	switch m {
	case Auto:
		return "auto"
	case OnlyRaw:
		return "raw"
	case PreferZstd:
		return "zstd"
	}
	return "invalid"
}

// ParseMode reads the name of a mode: auto, raw or zstd.
func ParseMode(s string) (Mode, error) {
	for m := Auto; m <= PreferZstd; m++ {
		if m.String() == s {
			return m, nil
		}
	}
	return 0, fmt.Errorf("codec: mode %q is not one of auto, raw, zstd: %w", s, kvferry.ErrInvalid)
}

// Hint tells an encoder what the plain bytes are; the zero Hint is "bytes".
// It guides the choice of a codec and is never needed to decode.
type Hint struct {
	Mode Mode
	// ElemBytes is the size of one element, 0 if unknown; RowElems the number
	// of elements after which the same channel comes again; Segments the
	// number of equally long independent pieces (layers).
	ElemBytes, RowElems, Segments int
}

// Package codec turns the plain bytes of a blob into a self-describing frame
// and back, without loss. See frame.go for the bytes of a frame.
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

// Package codec turns the plain bytes of a blob into a self-describing frame
// and back, without loss. It also writes and reads the pure zstd frames in
// which ProcessFork keeps its blobs.
//
// A frame is a header of 32 bytes and the payload, with nothing after it.
// Integers are little-endian; CRC-32C is the Castagnoli polynomial.
//
//	 0  4  magic            4b 56 46 52 ("KVFR")
//	 4  1  version          01
//	 5  1  codec            1 raw, 2 constant, 3 zstd, 4 planes
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
//	planes    a payload of package codec/planes, for bfloat16 and other
//	          floating-point types; it tells its own version, and one that is
//	          unknown is kvferry.ErrUnsupported
//
// The empty blob is a raw frame without a payload. Lengths are below 2^63.
//
// Decoding is bounded by the caller's buffer: nothing is written past it, and
// no memory is allocated by the lengths that stored bytes announce.
package codec

import (
	"fmt"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/codec/planes"
)

// ID is a codec's number as it stands in a frame.
type ID uint8

// The codecs. The zero value is invalid. The numbers are stored and must not
// change.
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
	// Auto stores constant data as Constant, bf16 as Planes and other data as
	// Zstd where a sample shows that this saves a sixteenth or more, and
	// everything else raw. It never grows a blob by more than the frame header.
	Auto Mode = iota
	// OnlyRaw stores everything raw.
	OnlyRaw
	// PreferZstd compresses everything that shrinks, with Zstd.
	PreferZstd
	// Fast is Auto without a sample of bf16: whatever shrinks is stored as
	// Planes.
	Fast
	// Small compresses everything that shrinks: elements that encoders know as
	// Planes of the level small, everything else with Zstd. It takes ten times
	// as long as Fast.
	Small
)

var modes = [...]string{Auto: "auto", OnlyRaw: "raw", PreferZstd: "zstd", Fast: "fast", Small: "small"}

// Modes returns all modes.
func Modes() []Mode { return []Mode{Auto, OnlyRaw, Fast, Small, PreferZstd} }

// ModeNames returns the names of all modes, as ParseMode reads them.
func ModeNames() string {
	names := make([]string, 0, len(modes))
	for _, m := range Modes() {
		names = append(names, m.String())
	}
	return strings.Join(names, ", ")
}

// valid reports whether m is a mode.
func (m Mode) valid() bool { return int(m) < len(modes) }

// String returns the mode's name as the command line spells it.
func (m Mode) String() string {
	if !m.valid() {
		return "invalid"
	}
	return modes[m]
}

// ParseMode reads the name of a mode.
func ParseMode(s string) (Mode, error) {
	for _, m := range Modes() {
		if m.String() == s {
			return m, nil
		}
	}
	return 0, fmt.Errorf("codec: mode %q is not one of %s: %w", s, ModeNames(), kvferry.ErrInvalid)
}

// Elem is the type of the elements of a blob.
type Elem uint8

// The types that encoders know; all others are Bytes. Auto and Fast make use of
// BF16 alone.
const (
	Bytes Elem = iota
	BF16
	F16
	FP8E4M3
	FP8E5M2
)

// elements returns the type as package planes knows it.
func (e Elem) elements() (planes.Elements, bool) {
	switch e {
	case BF16:
		return planes.BFloat16, true
	case F16:
		return planes.Float16, true
	case FP8E4M3:
		return planes.E4M3, true
	case FP8E5M2:
		return planes.E5M2, true
	}
	return 0, false
}

// bytesOf returns the length of what s describes, of elements e, which are
// known.
func (e Elem) bytesOf(s planes.Shape) int {
	el, _ := e.elements()
	return s.Segments * s.Rows * s.Cols * el.Bytes()
}

// Hint tells an encoder what the plain bytes are; the zero Hint is "bytes".
// It guides the choice of a codec and is never needed to decode.
type Hint struct {
	Mode Mode
	Elem Elem
	// ElemBytes is the size of one element, 0 if unknown; RowElems the number
	// of elements after which the same channel comes again; Segments the
	// number of equally long independent pieces (layers).
	ElemBytes, RowElems, Segments int
	// Tuning, if set, is what is known of the data. The same hint with the
	// same sets of windows and the same plain bytes give the same frame on
	// every machine.
	Tuning *Tuning
}

// shape returns that of a blob of n bytes, if it is one of elements that h
// describes.
func (h *Hint) shape(n int) (s planes.Shape, ok bool) {
	el, ok := h.Elem.elements()
	if !ok || h.RowElems <= 0 || h.Segments <= 0 || n == 0 {
		return s, false
	}
	rows := n / el.Bytes() / h.RowElems / h.Segments
	s = planes.Shape{Segments: h.Segments, Rows: rows, Cols: h.RowElems}
	return s, s.Validate() == nil && h.Elem.bytesOf(s) == n
}

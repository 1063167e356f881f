package codec

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/kvferry/kvferry"
)

// HeaderBytes is the length of a frame's header.
const HeaderBytes = 32

const (
	frameMagic   = "KVFR"
	frameVersion = 1
	maxPattern   = 8 // bytes of a constant payload
)

// castagnoli is read-only; MakeTable returns the one that selects the
// processor's CRC instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header describes a frame.
type Header struct {
	Codec       ID
	PlainBytes  int64  // length after decoding
	StoredBytes int64  // length of the payload, without the header
	PayloadCRC  uint32 // CRC-32C of the payload
}

// Frame is an encoded blob: the header's bytes and the payload that follows
// them.
type Frame struct {
	Header  [HeaderBytes]byte
	Payload []byte
}

// Size returns the bytes that the frame takes, header included.
func (f *Frame) Size() int { return HeaderBytes + len(f.Payload) }

// Codec returns the codec of the frame's payload.
func (f *Frame) Codec() ID { return ID(f.Header[5]) }

// AppendTo appends the frame's bytes to dst.
func (f *Frame) AppendTo(dst []byte) []byte {
	dst = append(dst, f.Header[:]...)
	return append(dst, f.Payload...)
}

// sealTo writes the header of payload, which decodes to plain bytes of the
// given length, to h.
func sealTo(h *[HeaderBytes]byte, id ID, plainBytes int, payload []byte) {
	*h = [HeaderBytes]byte{}
	copy(h[:], frameMagic)
	h[4] = frameVersion
	h[5] = byte(id)
	binary.LittleEndian.PutUint64(h[8:], uint64(plainBytes))
	binary.LittleEndian.PutUint64(h[16:], uint64(len(payload)))
	binary.LittleEndian.PutUint32(h[24:], crc32.Checksum(payload, castagnoli))
	binary.LittleEndian.PutUint32(h[28:], crc32.Checksum(h[:28], castagnoli))
}

// ParseHeader reads the header at the beginning of b, which may be longer. A
// header that is cut or damaged is ErrCorrupt; one of a version or codec that
// this build does not know is ErrUnsupported, and then the result holds what
// could be read. Whether the codec can decode the lengths is left to Decode.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderBytes {
		return Header{}, fmt.Errorf("codec: frame of %d bytes has no header: %w", len(b), kvferry.ErrCorrupt)
	}
	if string(b[:4]) != frameMagic {
		return Header{}, fmt.Errorf("codec: frame magic %x: %w", b[:4], kvferry.ErrCorrupt)
	}
	if binary.LittleEndian.Uint32(b[28:]) != crc32.Checksum(b[:28], castagnoli) {
		return Header{}, fmt.Errorf("codec: frame header checksum: %w", kvferry.ErrCorrupt)
	}
	if b[4] != frameVersion || b[6] != 0 || b[7] != 0 {
		return Header{}, fmt.Errorf("codec: frame version %d.%d.%d: %w", b[4], b[6], b[7], kvferry.ErrUnsupported)
	}
	plain, stored := binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
	if plain > math.MaxInt64 || stored > math.MaxInt64-HeaderBytes {
		return Header{}, fmt.Errorf("codec: frame of %d plain, %d stored bytes: %w", plain, stored, kvferry.ErrCorrupt)
	}
	h := Header{
		Codec:       ID(b[5]),
		PlainBytes:  int64(plain),
		StoredBytes: int64(stored),
		PayloadCRC:  binary.LittleEndian.Uint32(b[24:]),
	}
	if h.Codec < Raw || h.Codec > Planes {
		return h, fmt.Errorf("codec: frame of %v: %w", h.Codec, kvferry.ErrUnsupported)
	}
	return h, nil
}

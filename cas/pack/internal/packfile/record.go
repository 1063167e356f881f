package packfile

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas/pack/internal/table"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
)

const (
	recordHeaderBytes = 48
	recordMagic       = 'K' | 'V'<<8 | 'R'<<16 | 'C'<<24
	recordVersion     = 1

	// unitBytes is the alignment of records and the unit of their sizes.
	unitBytes = 64
)

// OverheadBytes is what a record needs besides its payload, without padding.
const OverheadBytes = recordHeaderBytes + codec.HeaderBytes

// castagnoli is read-only; MakeTable returns the one that selects the
// processor's CRC instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Record describes a record.
type Record struct {
	Digest  digest.Digest
	Written uint32 // Unix time in seconds
	Frame   codec.Header
}

// Bytes returns the record's size in its pack, padding included; 0 if no record
// can be as long as its header says.
func (r *Record) Bytes() int64 {
	if r.Frame.StoredBytes < 0 || r.Frame.StoredBytes > math.MaxInt64/2 {
		return 0
	}
	return recordBytes(codec.HeaderBytes + r.Frame.StoredBytes)
}

// RecordBytes returns the size of the record of a codec frame of the given
// length: its place in a pack.
func RecordBytes(frameBytes int) int64 { return recordBytes(int64(frameBytes)) }

func recordBytes(frameBytes int64) int64 { return table.RoundSize(recordHeaderBytes + frameBytes) }

// PutRecord writes the record of frame f, whose plain bytes have digest d, to
// dst, which is RecordBytes(f.Size()) long.
func PutRecord(dst []byte, d digest.Digest, written uint32, f *codec.Frame) {
	if int64(len(dst)) != RecordBytes(f.Size()) {
		panic(fmt.Sprintf("packfile: room of %d bytes for a record of %d", len(dst), RecordBytes(f.Size())))
	}
	le := binary.LittleEndian
	le.PutUint32(dst, recordMagic)
	dst[4], dst[5], dst[6], dst[7] = recordVersion, byte(d.Algorithm()), 0, 0
	sum := d.Sum()
	copy(dst[8:], sum[:])
	le.PutUint32(dst[40:], written)
	le.PutUint32(dst[44:], crc32.Checksum(dst[:44], castagnoli))
	copy(dst[recordHeaderBytes:], f.Header[:])
	n := copy(dst[OverheadBytes:], f.Payload)
	clear(dst[OverheadBytes+n:])
}

// ParseRecord reads the headers at the beginning of b, which holds at least the
// first OverheadBytes of a record. Damage is ErrCorrupt; a version or codec that
// this build does not know is ErrUnsupported, and then the result holds what
// could be read.
func ParseRecord(b []byte) (Record, error) {
	d, written, err := parseRecordHeader(b)
	if err != nil {
		return Record{}, err
	}
	h, err := codec.ParseHeader(b[recordHeaderBytes:OverheadBytes])
	rec := Record{Digest: d, Written: written, Frame: h}
	if err != nil {
		return rec, fmt.Errorf("packfile: record of %v: %w", d, err)
	}
	if rec.Bytes() == 0 {
		return rec, fmt.Errorf("packfile: record of %v with %d stored bytes: %w", d, h.StoredBytes, kvferry.ErrCorrupt)
	}
	return rec, nil
}

// parseRecordHeader reads the part before the codec frame.
func parseRecordHeader(b []byte) (d digest.Digest, written uint32, err error) {
	le := binary.LittleEndian
	if len(b) < OverheadBytes {
		return d, 0, fmt.Errorf("packfile: record of %d bytes: %w", len(b), kvferry.ErrCorrupt)
	}
	if le.Uint32(b) != recordMagic {
		return d, 0, fmt.Errorf("packfile: record magic %x: %w", b[:4], kvferry.ErrCorrupt)
	}
	if le.Uint32(b[44:]) != crc32.Checksum(b[:44], castagnoli) {
		return d, 0, fmt.Errorf("packfile: record header checksum: %w", kvferry.ErrCorrupt)
	}
	if b[4] != recordVersion || b[6] != 0 || b[7] != 0 {
		return d, 0, fmt.Errorf("packfile: record version %d.%d.%d: %w", b[4], b[6], b[7], kvferry.ErrUnsupported)
	}
	if !digest.Algorithm(b[5]).Valid() {
		return d, 0, fmt.Errorf("packfile: record with digest algorithm %d: %w", b[5], kvferry.ErrUnsupported)
	}
	return digest.New(digest.Algorithm(b[5]), [digest.Size]byte(b[8:40])), le.Uint32(b[40:]), nil
}

// whole parses rec, a record from its first to its last byte, and holds it
// against the digest that it is expected to have. What it cannot decode is
// ErrUnsupported, after everything else was found in order.
func whole(rec []byte, want digest.Digest) (Record, error) {
	r, err := ParseRecord(rec)
	switch {
	case !r.Digest.Valid():
		return r, err
	case r.Digest != want:
		return r, fmt.Errorf("packfile: record of %v where %v was expected: %w", r.Digest, want, kvferry.ErrCorrupt)
	case err == nil && r.Bytes() != int64(len(rec)):
		return r, fmt.Errorf("packfile: record of %v has %d bytes, not %d: %w", want, len(rec), r.Bytes(), kvferry.ErrCorrupt)
	}
	return r, err
}

// Decode writes the plain bytes of rec, which is a whole record, to dst and
// returns their length. The record must be that of want; whether the bytes have
// this digest is the caller's to check. Errors are those of codec.Decoder.
func Decode(dst, rec []byte, want digest.Digest, dec *codec.Decoder) (n int, err error) {
	r, err := whole(rec, want)
	if err != nil {
		return 0, err
	}
	n, err = dec.Decode(dst, rec[recordHeaderBytes:OverheadBytes+r.Frame.StoredBytes])
	if err != nil {
		return n, fmt.Errorf("packfile: record of %v: %w", want, err)
	}
	return n, nil
}

// CheckStored tells whether every stored byte of rec, which is a whole record,
// is what was written for want: headers, payload and padding. Nothing is
// decoded.
func CheckStored(rec []byte, want digest.Digest) error {
	if err := CheckBlob(rec, want); err != nil {
		return err
	}
	if r, err := whole(rec, want); err != nil || !zeros(rec[OverheadBytes+r.Frame.StoredBytes:]) {
		return fmt.Errorf("packfile: record of %v: padding: %w", want, kvferry.ErrCorrupt)
	}
	return nil
}

// CheckBlob is CheckStored but for the padding: a blob is not lost because of
// that.
func CheckBlob(rec []byte, want digest.Digest) error {
	r, err := whole(rec, want)
	if err != nil {
		return err
	}
	if payload := rec[OverheadBytes : OverheadBytes+r.Frame.StoredBytes]; crc32.Checksum(payload, castagnoli) != r.Frame.PayloadCRC {
		return fmt.Errorf("packfile: record of %v: payload checksum: %w", want, kvferry.ErrCorrupt)
	}
	return nil
}

// zeros tells whether b holds nothing but zeros.
func zeros(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

//go:build unix

package dir

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
)

// finding says what lies at a blob's path.
type finding int

const (
	absent  finding = iota
	damaged         // not a blob, or one that is evidently not whole
	whole           // as far as its size and structure tell
)

// inspect looks at the blob d without reading its content, so that a file
// which was cut by a crash, or is something else altogether, is not taken for
// the blob. plainBytes is what its length must be, -1 if that is not known.
func (s *Store) inspect(d digest.Digest, plainBytes int64) (finding, error) {
	rel := blobPath(d)
	fd, size, err := s.fs.openRegular(rel)
	switch {
	case errors.Is(err, kvferry.ErrNotFound):
		return absent, nil
	case errors.Is(err, kvferry.ErrCorrupt):
		return damaged, nil
	case err != nil:
		return absent, err
	}
	defer func() { _ = unix.Close(fd) }() // read only
	var ok bool
	if d.Algorithm() == digest.SHA256 {
		ok, err = s.wholeZstd(fd, rel, size)
	} else {
		ok, err = s.wholeFrame(fd, rel, size, plainBytes)
	}
	if err != nil {
		return absent, failed("inspect", rel, err)
	}
	if !ok {
		return damaged, nil
	}
	return whole, nil
}

func (s *Store) wholeFrame(fd int, rel string, size, plainBytes int64) (bool, error) {
	t := s.borrow()
	defer s.giveBack(t)
	n, err := s.fs.read(fd, rel, 0, t.head[:])
	if err != nil {
		return false, err
	}
	h, err := codec.ParseHeader(t.head[:n])
	if errors.Is(err, kvferry.ErrUnsupported) {
		return true, nil // of a newer kvferry: not ours to judge
	}
	if err != nil || h.StoredBytes != size-codec.HeaderBytes {
		return false, nil
	}
	return plainBytes < 0 || h.PlainBytes == plainBytes, nil
}

// wholeZstd walks the headers of a zstd file's frames and blocks (RFC 8878)
// and tells whether the last one ends with the file.
func (s *Store) wholeZstd(fd int, rel string, size int64) (bool, error) {
	t := s.borrow()
	defer s.giveBack(t)
	b := t.head[:18] // the longest header
	for off, frames := int64(0), 0; ; {
		if off == size {
			return frames > 0, nil
		}
		n, err := s.fs.read(fd, rel, off, b)
		if err != nil || n < 8 || off > size {
			return false, err
		}
		magic := binary.LittleEndian.Uint32(b)
		if magic&^0xf == 0x184d2a50 { // a frame to skip
			off += 8 + int64(binary.LittleEndian.Uint32(b[4:]))
			continue
		}
		if magic != 0xfd2fb528 {
			return false, nil
		}
		desc := b[4]
		off += zstdHeaderBytes(desc)
		for last := false; !last; {
			n, err := s.fs.read(fd, rel, off, b[:3])
			if err != nil || n < 3 {
				return false, err
			}
			v := int64(b[0]) | int64(b[1])<<8 | int64(b[2])<<16
			last = v&1 != 0
			kind, length := v>>1&3, v>>3
			if kind == 3 {
				return false, nil
			}
			if kind == 1 { // one byte that is repeated
				length = 1
			}
			off += 3 + length
		}
		if desc&4 != 0 {
			off += 4 // checksum
		}
		frames++
	}
}

// zstdHeaderBytes returns the length of a frame's header, magic included, by
// its descriptor.
func zstdHeaderBytes(desc byte) int64 {
	n := 5 + [4]int64{0, 1, 2, 4}[desc&3] + [4]int64{0, 2, 4, 8}[desc>>6]
	if desc&0x20 == 0 {
		return n + 1 // window
	}
	if desc>>6 == 0 {
		return n + 1 // content size of one byte
	}
	return n
}

//go:build unix

package dir

import (
	"bytes"
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
// the blob.
func (s *Store) inspect(d digest.Digest) (finding, error) {
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
		ok, err = s.wholeFrame(fd, rel, size)
	}
	if err != nil {
		return absent, failed("inspect", rel, err)
	}
	if !ok {
		return damaged, nil
	}
	return whole, nil
}

func (s *Store) wholeFrame(fd int, rel string, size int64) (bool, error) {
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
	return err == nil && h.StoredBytes == size-codec.HeaderBytes, nil
}

// compare reads the file rel of the blob d and tells whether it decodes to
// exactly plain. From the page cache that costs little more than the copy, and
// it is the only way to see that a file rotted.
func (s *Store) compare(rel string, d digest.Digest, plain []byte) (finding, error) {
	found, err := damaged, kvferry.ErrUnsupported
	if d.Algorithm() != digest.SHA256 {
		found, err = s.compareRaw(rel, plain)
	}
	if errors.Is(err, kvferry.ErrUnsupported) {
		found, err = s.compareDecoded(rel, d, plain)
	}
	switch {
	case errors.Is(err, kvferry.ErrNotFound):
		return absent, nil
	case errors.Is(err, kvferry.ErrUnsupported):
		return whole, nil // of a newer kvferry: not ours to judge
	case errors.Is(err, kvferry.ErrCorrupt), errors.Is(err, kvferry.ErrShortBuffer):
		return damaged, nil
	}
	return found, err
}

// compareStep is how many bytes are read and compared at a time, so that they
// are still in cache.
const compareStep = 32 << 10

// compareRaw compares a raw frame, piece by piece; another frame is
// ErrUnsupported. The checksum of the payload adds nothing to the comparison.
func (s *Store) compareRaw(rel string, plain []byte) (finding, error) {
	fd, size, err := s.fs.openRegular(rel)
	if err != nil {
		return absent, err
	}
	defer func() { _ = unix.Close(fd) }() // read only
	t := s.borrow()
	defer s.giveBack(t)
	buf := t.scratch(compareStep)
	step := min(compareStep, len(plain))
	n, err := s.fs.read(fd, rel, 0, t.head[:], buf[:step])
	if err != nil {
		return absent, failed("read", rel, err)
	}
	h, err := codec.ParseHeader(t.head[:min(n, codec.HeaderBytes)])
	if err != nil || h.Codec != codec.Raw {
		return absent, errors.Join(err, kvferry.ErrUnsupported)
	}
	if h.StoredBytes != size-codec.HeaderBytes || h.StoredBytes != h.PlainBytes || h.PlainBytes != int64(len(plain)) {
		return damaged, nil
	}
	n -= codec.HeaderBytes
	for off := 0; n == step && bytes.Equal(buf[:step], plain[off:off+step]); {
		if off += step; off == len(plain) {
			return whole, nil
		}
		step = min(compareStep, len(plain)-off)
		if n, err = s.fs.read(fd, rel, int64(codec.HeaderBytes+off), buf[:step]); err != nil {
			return absent, failed("read", rel, err)
		}
	}
	return damaged, nil
}

func (s *Store) compareDecoded(rel string, d digest.Digest, plain []byte) (finding, error) {
	t := s.borrow()
	defer s.giveBack(t)
	got := t.scratch(int64(len(plain)))
	n, err := s.readBlob(rel, d, got)
	if err != nil {
		return absent, err
	}
	if !bytes.Equal(got[:n], plain) {
		return damaged, nil
	}
	return whole, nil
}

// judgeMax is the length from which nobody reads a blob to judge it.
const judgeMax = 1 << 30

// judge reads the file rel of the blob d and tells whether it decodes, and to
// bytes that have the digest where that can be told without a key. A blob
// longer than judgeMax, or of a newer kvferry, is damaged if somebody says so.
func (s *Store) judge(rel string, d digest.Digest) (finding, error) {
	for size := 64 << 10; ; size = min(4*size, judgeMax) {
		buf := make([]byte, size)
		n, err := s.readBlob(rel, d, buf)
		switch {
		case errors.Is(err, kvferry.ErrNotFound):
			return absent, nil
		case errors.Is(err, kvferry.ErrShortBuffer) && size < judgeMax && n <= judgeMax:
			size = max(size, n/4)
			continue
		case errors.Is(err, kvferry.ErrCorrupt), errors.Is(err, kvferry.ErrUnsupported), errors.Is(err, kvferry.ErrShortBuffer):
			return damaged, nil
		case err != nil:
			return absent, err
		case d.Algorithm() == digest.KeyedBLAKE3:
			return whole, nil
		}
		h, err := digest.NewHasher(d.Algorithm(), nil)
		if err != nil {
			return absent, err
		}
		if h.Check(d, buf[:n]) != nil {
			return damaged, nil //nolint:nilerr // this is the answer
		}
		return whole, nil
	}
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

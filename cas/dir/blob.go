//go:build unix

package dir

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
)

// tools are what one worker needs at a time.
type tools struct {
	enc  codec.Encoder
	dec  codec.Decoder
	head [codec.HeaderBytes]byte
	buf  []byte
}

// keepBuffer is the greatest buffer that is kept for the next blob.
const keepBuffer = 32 << 20

func (s *Store) borrow() *tools {
	if t, ok := s.tools.Get().(*tools); ok {
		return t
	}
	return new(tools)
}

func (s *Store) giveBack(t *tools) {
	if cap(t.buf) > keepBuffer {
		t.buf = nil
	}
	s.tools.Put(t)
}

func (t *tools) scratch(n int64) []byte {
	if int64(cap(t.buf)) < n {
		t.buf = make([]byte, n)
	}
	return t.buf[:n]
}

// Get implements cas.Store.
func (s *Store) Get(ctx context.Context, d digest.Digest, dst []byte) (int, error) {
	if err := s.start(ctx); err != nil {
		return 0, err
	}
	defer s.stop()
	return s.get(d, dst)
}

// get reads d where it lies now. A blob on its way from its temporary file to
// its place is looked for again.
func (s *Store) get(d digest.Digest, dst []byte) (int, error) {
	if !d.Valid() {
		return 0, fmt.Errorf("dir: get of an invalid digest: %w", kvferry.ErrInvalid)
	}
	for {
		temp, waiting := s.pending.written(d)
		n, err := 0, kvferry.ErrNotFound
		if waiting {
			n, err = s.readBlob(temp, d, dst)
		}
		if errors.Is(err, kvferry.ErrNotFound) {
			n, err = s.readBlob(blobPath(d), d, dst)
		}
		if errors.Is(err, kvferry.ErrNotFound) {
			if now, ok := s.pending.written(d); ok && (!waiting || now != temp) {
				continue
			}
		}
		if err != nil {
			err = fmt.Errorf("dir: get %v: %w", d, err)
		}
		return n, err
	}
}

func (s *Store) readBlob(rel string, d digest.Digest, dst []byte) (int, error) {
	fd, size, err := s.fs.openRegular(rel)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }() // read only
	t := s.borrow()
	defer s.giveBack(t)
	if d.Algorithm() == digest.SHA256 {
		return s.readZstd(t, fd, rel, size, dst)
	}
	return s.readFrame(t, fd, rel, size, dst)
}

// zstdCap bounds the length of the zstd file of n plain bytes. No encoder
// comes near it, and it keeps a bloated file out of memory.
func zstdCap(n int) int64 { return int64(n) + int64(n)/16 + 64<<10 }

func (s *Store) readZstd(t *tools, fd int, rel string, size int64, dst []byte) (int, error) {
	if size > zstdCap(len(dst)) {
		return 0, fmt.Errorf("%s has %d bytes, too many for a buffer of %d: %w", rel, size, len(dst), kvferry.ErrShortBuffer)
	}
	src := t.scratch(size)
	n, err := s.fs.read(fd, rel, 0, src)
	if err != nil {
		return 0, failed("read", rel, err)
	}
	return t.dec.DecodeZstd(dst, src[:n])
}

// castagnoli is read-only; MakeTable returns the shared table.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// readFrame reads the payload to dst at once, where raw bytes belong; others
// are decoded from a copy.
func (s *Store) readFrame(t *tools, fd int, rel string, size int64, dst []byte) (int, error) {
	if size < codec.HeaderBytes {
		return 0, fmt.Errorf("%s has %d bytes: %w", rel, size, kvferry.ErrCorrupt)
	}
	payload := dst[:min(size-codec.HeaderBytes, int64(len(dst)))]
	n, err := s.fs.read(fd, rel, 0, t.head[:], payload)
	if err != nil {
		return 0, failed("read", rel, err)
	}
	h, err := codec.ParseHeader(t.head[:])
	switch {
	case err != nil:
		return 0, err
	case h.StoredBytes != size-codec.HeaderBytes || h.StoredBytes > h.PlainBytes:
		return 0, fmt.Errorf("%s has %d bytes, not those of its frame: %w", rel, size, kvferry.ErrCorrupt)
	case h.PlainBytes > int64(len(dst)):
		return int(h.PlainBytes), fmt.Errorf("%d plain bytes into a buffer of %d: %w", h.PlainBytes, len(dst), kvferry.ErrShortBuffer)
	case n != codec.HeaderBytes+len(payload):
		return 0, fmt.Errorf("%s is cut: %w", rel, kvferry.ErrCorrupt)
	}
	if h.Codec != codec.Raw {
		frame := t.scratch(size)
		copy(frame, t.head[:])
		copy(frame[codec.HeaderBytes:], payload)
		return t.dec.Decode(dst, frame)
	}
	if h.PlainBytes != h.StoredBytes || crc32.Checksum(payload, castagnoli) != h.PayloadCRC {
		return 0, fmt.Errorf("%s: raw payload: %w", rel, kvferry.ErrCorrupt)
	}
	return len(payload), nil
}

// Has implements cas.Store.
func (s *Store) Has(ctx context.Context, d digest.Digest) (bool, error) {
	if err := s.start(ctx); err != nil {
		return false, err
	}
	defer s.stop()
	if !d.Valid() {
		return false, fmt.Errorf("dir: has of an invalid digest: %w", kvferry.ErrInvalid)
	}
	if temp, ok := s.pending.written(d); ok {
		if _, err := s.fs.lstat(temp); !missing(err) {
			return err == nil, failed("stat", temp, err)
		}
	}
	found, err := s.inspect(d)
	return found == whole, err
}

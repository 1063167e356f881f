package journal

import (
	"bytes"
	"context"
	"errors"
	"io"
)

// windowBytes is how much of a log is read at a time; a payload that is larger
// is read whole, which the file's own length bounds.
const windowBytes = 256 << 10

// scanner reads the transactions of one file, as far as end.
type scanner struct {
	r    io.ReaderAt
	salt uint32
	end  int64
	buf  []byte
	at   int64 // where buf begins in the file
}

// found is a valid transaction. Its payload is valid until the next one.
type found struct {
	txHead
	payload []byte
	next    cursor
}

// bytes returns n bytes at off, which end before s.end.
func (s *scanner) bytes(off, n int64) ([]byte, error) {
	if from := off - s.at; from >= 0 && from+n <= int64(len(s.buf)) {
		return s.buf[from : from+n], nil
	}
	want := min(max(n, windowBytes), s.end-off)
	if int64(cap(s.buf)) < want || int64(cap(s.buf)) > 4*max(want, windowBytes) {
		s.buf = make([]byte, want)
	}
	s.buf, s.at = s.buf[:want], off
	if err := readFull(s.r, s.buf, off); err != nil {
		s.buf = s.buf[:0]
		return nil, err
	}
	return s.buf[:n], nil
}

// forget drops what was read, since the file may have changed.
func (s *scanner) forget() { s.buf = s.buf[:0] }

// next reads the transaction after c. A formatError says that there is none.
func (s *scanner) next(c cursor) (found, error) {
	if c.off+txHeader > s.end {
		return found{}, errEnd
	}
	b, err := s.bytes(c.off, txHeader)
	if err != nil {
		return found{}, err
	}
	t, err := decodeTx(b, s.salt)
	if err != nil {
		return found{}, err
	}
	if !t.follows(c) {
		return found{}, errOrder
	}
	return s.body(c.off, t)
}

// body reads and checks the payload of the transaction t, which begins at off.
func (s *scanner) body(off int64, t txHead) (found, error) {
	size := span(t.bytes)
	if off+size > s.end {
		return found{}, errLength
	}
	b, err := s.bytes(off, size)
	if err != nil {
		return found{}, err
	}
	payload := b[txHeader : txHeader+t.bytes]
	if crc(0, payload) != t.sum {
		return found{}, errChecksum
	}
	next := cursor{off: off + size, seq: t.seq, link: linkOf(b, s.salt)}
	return found{txHead: t, payload: payload, next: next}, nil
}

// heads calls visit for each transaction header from off on, in whatever order
// and with whatever payload, until visit returns true.
func (s *scanner) heads(ctx context.Context, off int64, visit func(off int64, t txHead) (bool, error)) error {
	for off+txHeader <= s.end {
		if err := ctx.Err(); err != nil {
			return err
		}
		// Windows overlap so that a header is never cut in two.
		n := min(windowBytes, s.end-off)
		b, err := s.bytes(off, n)
		if err != nil {
			return err
		}
		at := nextMagic(b, 0)
		for ; at+txHeader <= len(b); at = nextMagic(b, at+8) {
			t, err := decodeTx(b[at:at+txHeader], s.salt)
			if err != nil {
				continue
			}
			if done, err := visit(off+int64(at), t); done || err != nil {
				return err
			}
			if b, err = s.bytes(off, n); err != nil { // visit may have read elsewhere
				return err
			}
		}
		off += int64(len(b)-txHeader)&^7 + 8
	}
	return nil
}

// nextMagic returns the first multiple of 8, from at on, where a transaction
// may begin, or the length of b.
func nextMagic(b []byte, at int) int {
	for at < len(b) {
		i := bytes.Index(b[at:], txMagic)
		if i < 0 {
			break
		}
		if at += i; at%8 == 0 {
			return at
		}
		at = (at + 7) &^ 7
	}
	return len(b)
}

// zeros tells whether nothing but zeros follows from off on.
func (s *scanner) zeros(ctx context.Context, off int64) (bool, error) {
	for off < s.end {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		b, err := s.bytes(off, min(int64(len(aheadZeros)), s.end-off))
		if err != nil {
			return false, err
		}
		if !bytes.Equal(b, aheadZeros[:len(b)]) {
			return false, nil
		}
		off += int64(len(b))
	}
	return true, nil
}

// readFull reads all of b; a file that ends before is io.ErrUnexpectedEOF.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

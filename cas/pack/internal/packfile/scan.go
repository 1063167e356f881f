package packfile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
)

// DamageError says which bytes of a pack are no records, though records are
// expected there.
type DamageError struct {
	Pack  uint64
	Off   int64
	Bytes int64
	Err   error // wraps ErrCorrupt, or ErrUnsupported for what is of a newer version
}

// Error implements error.
func (e *DamageError) Error() string {
	return fmt.Sprintf("packfile: %d bytes at %d of pack %016x: %v", e.Bytes, e.Off, e.Pack, e.Err)
}

// Unwrap returns what is wrong.
func (e *DamageError) Unwrap() error { return e.Err }

// Scan visits everything that is in the pack between two offsets, in order, with
// long reads; to is the end of the file if it is 0 or less. For each record whose
// headers are sound it calls visit with the record and the result of CheckStored;
// a record that cannot be read comes as nil. For a range that is no record it
// calls visit with nil and a *DamageError, and goes on at the next record that it
// finds: which may be one that somebody stored within a record, so what comes
// after damage is worth only what its digest says. Zeros are no damage: the ends
// of blocks and the room that is reserved ahead.
//
// The record is valid during the call. visit returns false to end the scan.
func (r *Reader) Scan(ctx context.Context, pack uint64, from, to int64, visit func(off int64, rec []byte, err error) bool) error {
	if err := r.scan(ctx, pack, from, to, visit); err != nil {
		return fmt.Errorf("packfile: scan pack %016x: %w", pack, err)
	}
	return nil
}

func (r *Reader) scan(ctx context.Context, pack uint64, from, to int64, visit func(off int64, rec []byte, err error) bool) error {
	from = max(from, firstOff)
	if from%unitBytes != 0 {
		return fmt.Errorf("from offset %d: %w", from, kvferry.ErrInvalid)
	}
	p, err := r.acquire(pack)
	if err != nil {
		return err
	}
	defer r.release(p)
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	if to <= 0 {
		to = info.Size
	}
	s := &scanner{pack: pack, pos: from, end: min(to, info.Size), visit: visit, w: window{r: r, p: p, size: info.Size}}
	defer s.w.close()
	for s.pos < s.end && !s.stopped {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.step()
	}
	s.settle(s.end)
	if gap := to - max(from, info.Size); gap > 0 && !s.stopped {
		s.tell(max(from, info.Size), gap, fmt.Errorf("the pack is too short: %w", kvferry.ErrCorrupt))
	}
	return nil
}

// scanner is a scan in progress.
type scanner struct {
	pack     uint64
	pos, end int64
	visit    func(off int64, rec []byte, err error) bool
	w        window
	stopped  bool

	bad     error // of the damage before pos, nil if there is none
	badFrom int64
	badTo   int64 // behind the last byte that is not zero
}

// step goes on by a record, a gap or a unit of damage.
func (s *scanner) step() {
	next := min(s.pos&^(blockBytes-1)+blockBytes, s.end)
	head, err := s.w.bytes(s.pos, min(max(next-s.pos, OverheadBytes), s.end-s.pos))
	if err != nil {
		s.spoil(next, fmt.Errorf("%w: %w", kvferry.ErrCorrupt, err))
		return
	}
	if len(head) >= OverheadBytes && binary.LittleEndian.Uint32(head) == recordMagic {
		if s.record(head) {
			return
		}
	} else if s.bad == nil && zeros(head[:next-s.pos]) {
		s.pos = next // a gap
		return
	}
	s.damage(head)
}

// record visits the record at pos if there is one.
func (s *scanner) record(head []byte) bool {
	rec, err := ParseRecord(head)
	if err != nil && rec.Frame.Codec == 0 || rec.Bytes() == 0 || rec.Bytes() > s.end-s.pos {
		return false
	}
	s.settle(s.pos)
	if s.stopped {
		return true
	}
	n := rec.Bytes()
	body, err := s.w.bytes(s.pos, n)
	if err != nil {
		s.tell(s.pos, n, fmt.Errorf("record of %v: %w: %w", rec.Digest, kvferry.ErrCorrupt, err))
	} else {
		s.stopped = !s.visit(s.pos, body, CheckStored(body, rec.Digest))
	}
	s.pos += n
	return true
}

// damage counts the unit at pos as damaged.
func (s *scanner) damage(head []byte) {
	next := min(s.pos+unitBytes, s.end)
	if s.bad != nil && zeros(head[:next-s.pos]) {
		s.pos = next // damage perhaps, or the gap behind it
		return
	}
	err := fmt.Errorf("no record: %w", kvferry.ErrCorrupt)
	if len(head) >= OverheadBytes {
		if _, perr := ParseRecord(head); errors.Is(perr, kvferry.ErrUnsupported) {
			err = perr
		}
	}
	s.spoil(next, err)
}

// spoil counts everything from pos up to next as damaged.
func (s *scanner) spoil(next int64, err error) {
	if s.bad == nil {
		s.bad, s.badFrom = err, s.pos
	}
	s.pos, s.badTo = next, next
}

// settle tells of the damage before off, if there is any.
func (s *scanner) settle(off int64) {
	if s.bad == nil || s.stopped {
		return
	}
	err := s.bad
	s.bad = nil
	s.tell(s.badFrom, min(s.badTo, off)-s.badFrom, err)
}

func (s *scanner) tell(off, bytes int64, err error) {
	s.stopped = !s.visit(off, nil, &DamageError{Pack: s.pack, Off: off, Bytes: bytes, Err: err})
}

// windowBytes is how much a scan reads at a time.
const windowBytes = 4 << 20

// window is the part of a pack that a scan has in memory.
type window struct {
	r    *Reader
	p    *openPack
	size int64 // of the file

	b   *block
	off int64 // of the block, a multiple of blockBytes
	n   int64 // how much of it is read
}

// bytes returns n bytes at off, which lie within the file, valid until the next
// call.
func (w *window) bytes(off, n int64) ([]byte, error) {
	if off < w.off || off+n > w.off+w.n {
		if err := w.slide(off, n); err != nil {
			return nil, err
		}
	}
	at := off - w.off
	return w.b.mem[at : at+n], nil
}

// slide moves the window so that it begins in off's block and holds n bytes from
// off, and more if that can be read.
func (w *window) slide(off, n int64) error {
	start := off &^ (blockBytes - 1)
	need := roundUp(off+n) - start
	length := max(need, min(windowBytes, roundUp(w.size)-start))
	kept := w.move(start, length)
	if err := w.fill(start, kept, length, off+n); err != nil {
		if length == need {
			return err
		}
		return w.fill(start, kept, need, off+n) // perhaps it is only what lies behind
	}
	return nil
}

// move makes a block of the given length that begins at start, and returns how
// much of it is there from before.
func (w *window) move(start, length int64) (kept int64) {
	old := w.b
	if old == nil || int64(len(old.mem)) < length {
		w.b = w.r.memory.borrow(length)
	}
	if old != nil && start >= w.off && start < w.off+w.n {
		kept = int64(copy(w.b.mem, old.mem[start-w.off:w.n])) &^ (blockBytes - 1)
	}
	if old != nil && old != w.b {
		w.r.memory.giveBack(old)
	}
	w.off, w.n = start, kept
	return kept
}

// fill reads what is missing of the window, which is at least up to end.
func (w *window) fill(start, kept, length, end int64) error {
	n, err := w.p.file.ReadAt(w.b.mem[kept:length], start+kept)
	w.n = kept + int64(n)
	if start+w.n < end {
		w.n = kept
		return short(err)
	}
	return nil
}

func (w *window) close() {
	if w.b != nil {
		w.r.memory.giveBack(w.b)
	}
}

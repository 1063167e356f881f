package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry/internal/vfs"
)

// survey is what a whole generation was found to hold.
type survey struct {
	end   cursor
	words words
	// confirmed is where the words say that it ended, or the place before.
	confirmed cursor
	dropped   map[int64]bool // transactions that Verify does not vouch for
	cut       bool           // the log goes on behind end with what nobody had confirmed
	lost      []error
	tidy      bool // nothing but the durable word, or a successor that was not made, is wrong
}

// survey reads all transactions of a generation.
func (j *Journal) survey(ctx context.Context, f vfs.File, h header) (*survey, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("journal: log %016x: %w", h.generation, err)
	}
	var s survey
	whole := false
	if info.Size >= wordsAt+wordsBytes {
		if s.words, whole, err = readWords(f); err != nil {
			return nil, fmt.Errorf("journal: log %016x: %w", h.generation, err)
		}
		// Who does not lock it may see it grow: it is as long as the words say.
		if info, err = f.Stat(); err != nil {
			return nil, fmt.Errorf("journal: log %016x: %w", h.generation, err)
		}
	}
	var open []cursor // unordered ones that may be the last before a crash
	w := j.walker(f, h, info.Size, s.words.durable)
	w.lost = func(l *LostError, _ bool) { s.lost = append(s.lost, l) }
	s.confirmed = h.start()
	s.end, err = w.walk(ctx, h.start(), func(c cursor, f found) error {
		if f.next.off <= s.words.committed {
			s.confirmed = f.next
		}
		for len(open) > 0 && open[0].off < f.durable {
			open = open[1:]
		}
		if f.flags&Unordered != 0 && c.off >= s.words.durable {
			open = append(open, c)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !whole && s.end == h.start() && info.Size >= wordsAt+wordsBytes {
		if err := j.emptied(f, info.Size, h, &s); err != nil {
			return nil, err
		}
	}
	zeros, err := w.zeros(ctx, s.end.off)
	if err != nil {
		return nil, w.unreadable(s.end.off, err)
	}
	if err := j.verify(ctx, w, open, &s); err != nil {
		return nil, err
	}
	s.tidy = whole && zeros && !s.words.suspect && s.words.committed == s.end.off &&
		s.words.durable <= s.end.off && len(s.dropped) == 0 && !s.cut && len(s.lost) == 0
	return &s, nil
}

// emptied looks at a log in which nothing was found. Its words were written
// before it got its name, and no crash makes zeros of them.
func (j *Journal) emptied(f vfs.File, size int64, h header, s *survey) error {
	var b [wordsBytes]byte
	if err := readFull(f, b[:], wordsAt); err != nil {
		return fmt.Errorf("journal: log %016x: %w", h.generation, err)
	}
	if b != [wordsBytes]byte{} {
		return nil
	}
	l := &LostError{Generation: h.generation, Offset: wordsAt, End: size, First: h.first, Last: h.first, Reason: errEmptied}
	if !j.lenient() {
		return fmt.Errorf("journal: run check --repair: %w", l)
	}
	s.lost = append(s.lost, l)
	return nil
}

func (j *Journal) walker(f vfs.File, h header, end, intact int64) *walker {
	return &walker{scanner: scanner{r: f, salt: h.salt(), end: end}, generation: h.generation,
		intact: intact, skip: j.lenient(), lost: func(*LostError, bool) {}}
}

// verify asks about the transactions at open. One behind the committed ones that
// Verify does not vouch for was never confirmed, and so was nothing after it: the
// log ends before it. It may also be one that a living process is about to
// complete; then who only reads comes to it once it is.
func (j *Journal) verify(ctx context.Context, w *walker, open []cursor, s *survey) error {
	if j.o.Verify == nil {
		return nil
	}
	for _, c := range open {
		f, err := w.next(c)
		if err != nil {
			return w.unreadable(c.off, err)
		}
		good, err := j.o.Verify(ctx, Tx{Seq: f.seq, Flags: f.flags, Payload: f.payload})
		if err != nil {
			return fmt.Errorf("journal: verify transaction %d: %w", f.seq, err)
		}
		if !good && c.off >= s.words.committed {
			s.end, s.cut = c, true
			return nil
		}
		if !good {
			if s.dropped == nil {
				s.dropped = make(map[int64]bool)
			}
			s.dropped[c.off] = true
		}
	}
	return nil
}

// recover makes durable what the locked file f holds. If it is not tidy, it is
// replaced by a copy, which is returned locked: bytes that somebody may have
// been told to be durable are not written a second time, and a page of which
// the system wrongly believes that the disk has it is not relied on.
func (j *Journal) recover(ctx context.Context, f vfs.File, h header, s *survey) (*builder, error) {
	if !s.tidy {
		return j.replace(ctx, f, h, s)
	}
	if s.words.durable == s.end.off && s.words.successor == 0 {
		return nil, nil
	}
	w := words{committed: s.end.off, durable: s.end.off}
	if s.words.durable < s.end.off {
		if err := f.Sync(); err != nil {
			s.words.suspect = true
			_, werr := f.WriteAt(s.words.encode(), wordsAt)
			return nil, errors.Join(fmt.Errorf("journal: sync log %016x: %w", h.generation, err), werr)
		}
	}
	if _, err := f.WriteAt(w.encode(), wordsAt); err != nil {
		return nil, fmt.Errorf("journal: log %016x: %w", h.generation, err)
	}
	s.words = w
	return nil, nil
}

// replace makes a copy of what is sound the successor.
func (j *Journal) replace(ctx context.Context, f vfs.File, h header, s *survey) (*builder, error) {
	to := header{generation: h.generation + 1, base: h.base, first: h.first, id: h.id}
	b, err := build(ctx, j.o.FS, to)
	if err != nil {
		return nil, err
	}
	if err := j.salvage(ctx, b, f, h, s); err != nil {
		return nil, b.discard(j.o.FS, err)
	}
	// Nobody shall look for more in the old log than there is.
	s.words.committed = min(s.words.committed, s.end.off)
	if err := j.install(f, s.words, b); err != nil {
		return nil, errors.Join(err, b.f.Close())
	}
	return b, nil
}

// salvage copies what the survey found. Void transactions take the places of
// those that are lost or dropped.
func (j *Journal) salvage(ctx context.Context, b *builder, f vfs.File, h header, s *survey) error {
	var failed error
	info, err := f.Stat()
	if err != nil {
		return err
	}
	end := info.Size
	if s.cut {
		end = s.end.off
	}
	w := j.walker(f, h, end, s.words.durable)
	w.lost = func(l *LostError, _ bool) {
		if l.Last >= l.First && failed == nil {
			failed = b.add(txHead{seq: l.Last, flags: void}, nil)
		}
	}
	_, err = w.walk(ctx, h.start(), func(c cursor, f found) error {
		if s.dropped[c.off] {
			return errors.Join(failed, b.add(txHead{seq: f.seq, flags: void}, nil))
		}
		return errors.Join(failed, b.add(txHead{seq: f.seq, flags: f.flags}, f.payload))
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	return b.finish()
}

// install makes the complete generation b the successor of the locked file f,
// whose words are w. The word comes first: if this process ends between the two
// steps, then whoever gets the lock knows where to look.
func (j *Journal) install(f vfs.File, w words, b *builder) error {
	w.successor = b.generation.generation
	if w.committed < firstTx {
		w.committed = firstTx
	}
	if _, err := f.WriteAt(w.encode(), wordsAt); err != nil {
		return fmt.Errorf("journal: name the successor: %w", err)
	}
	if err := b.publish(j.o.FS); err != nil {
		return fmt.Errorf("journal: replace the log: %w", err)
	}
	return nil
}

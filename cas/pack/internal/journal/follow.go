package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/kvferry/kvferry"
)

// Follow applies what was committed since, in order, and moves on to successor
// generations. It never waits for those who append; calls wait for each other.
// An error of apply is returned as it is, and its transaction comes again. What
// this journal's own Writer appended is not applied here.
func (j *Journal) Follow(ctx context.Context, apply func(Tx) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.followLocked(ctx, apply)
}

func (j *Journal) followLocked(ctx context.Context, apply func(Tx) error) error {
	if j.closed {
		return fmt.Errorf("journal: follow: %w", kvferry.ErrClosed)
	}
	return again(func() error {
		word := j.g.watched()
		w, whole, next, err := j.look()
		if err != nil {
			return err
		}
		if err := j.applyLocked(ctx, word, w, apply); err != nil {
			return closing(next, err)
		}
		switch {
		case next != nil:
			return j.moveLocked(next)
		case w.successor != 0 || !whole:
			// There will be a successor, and the word may stay as it is: damaged
			// words are not mended, and what made them may have named one already.
			word = ^word
		}
		j.view.Load().seen.Store(word)
		return nil
	})
}

// look reads the words, and opens the successor if there is one. In that case
// nobody appends to this generation any more, and the words are its last.
func (j *Journal) look() (w words, whole bool, next *generation, err error) {
	w, whole, err = j.words()
	if err != nil || w.successor == 0 && whole {
		return w, whole, nil, err
	}
	next, err = j.successor()
	if err != nil || next == nil {
		return w, whole, nil, err
	}
	if w, whole, err = j.words(); err != nil {
		return w, whole, nil, closing(next, err)
	}
	return w, whole, next, nil
}

// words reads the words of the generation that is followed, and tells whether
// all are sound. A file that has none, as only a damaged one, has nothing new.
func (j *Journal) words() (words, bool, error) {
	w, whole, err := readWords(j.g.f)
	if errors.Is(err, io.ErrUnexpectedEOF) && j.lenient() {
		return w, true, nil
	}
	if err == nil {
		return w, whole, nil
	}
	return w, false, fmt.Errorf("journal: log %016x: %w", j.g.generation, err)
}

// successor opens the newest generation, if it is newer than the one that is
// followed.
func (j *Journal) successor() (g *generation, err error) {
	err = again(func() error {
		n, err := newest(j.o.FS)
		if err != nil || n <= j.g.generation {
			return err
		}
		g, err = openGeneration(&j.o, n, j.lenient())
		if errors.Is(err, fs.ErrNotExist) {
			return errAgain
		}
		return err
	})
	return g, err
}

// limitLocked is how far transactions count.
func (j *Journal) limitLocked(word uint64, w words) int64 {
	if j.o.ReadOnly && j.tail.end != 0 && j.tail.word == word {
		return j.tail.end
	}
	return max(w.committed, j.cur.off)
}

// applyLocked applies the transactions that count.
func (j *Journal) applyLocked(ctx context.Context, word uint64, now words, apply func(Tx) error) error {
	limit := j.limitLocked(word, now)
	w := &walker{scanner: j.scan, generation: j.g.generation, intact: limit, skip: j.lenient()}
	w.r, w.salt, w.end = j.g.f, j.g.salt(), limit
	w.lost = func(l *LostError, _ bool) { j.noteLocked(l) }
	err := j.confirmLocked(w, now.committed)
	if err != nil {
		return err
	}
	if j.cur.off < limit {
		j.cur, err = w.walk(ctx, j.cur, func(c cursor, f found) error { return j.takeLocked(c, f, apply) })
	}
	j.scan = w.scanner
	j.bytes.Store(limit - firstTx)
	return err
}

// confirmLocked looks at a tail that nobody had confirmed once more was committed
// than before: what was applied of it may be what was committed then, or have
// been taken back.
func (j *Journal) confirmLocked(w *walker, committed int64) error {
	from := j.tail.confirmed
	if !j.tail.loose || committed <= from.off {
		return nil
	}
	if j.cur.off > from.off {
		w.forget()
		same, err := w.passes(from, j.cur, committed)
		if err != nil {
			return err
		}
		if !same {
			return ErrRebased
		}
	}
	j.tail = tail{dropped: j.tail.dropped}
	return nil
}

// takeLocked applies one transaction, unless it is known: a successor begins
// with some that its predecessor held.
func (j *Journal) takeLocked(c cursor, f found, apply func(Tx) error) error {
	if f.seq <= j.applied {
		return nil
	}
	if f.flags&void == 0 && !j.tail.dropped[c.off] {
		if err := apply(Tx{Seq: f.seq, Flags: f.flags, Payload: f.payload}); err != nil {
			return err
		}
	}
	j.applied = f.seq
	return nil
}

// moveLocked goes on with the successor.
func (j *Journal) moveLocked(next *generation) error {
	if j.applied+1 < next.first || j.tail.loose {
		return closing(next, ErrRebased)
	}
	j.enterLocked(next)
	return errAgain
}

// Rebase moves to the beginning of the newest generation after ErrRebased, or
// when the checkpoint Base is gone because it was replaced meanwhile. The
// caller makes its state anew: from the checkpoint base, then with Follow. No
// Writer may be held.
func (j *Journal) Rebase(ctx context.Context) (base uint64, err error) {
	err = again(func() error {
		n, err := newest(j.o.FS)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("journal: %w: the log is gone", kvferry.ErrCorrupt)
		}
		g, err := openGeneration(&j.o, n, j.lenient())
		if errors.Is(err, fs.ErrNotExist) {
			return errAgain
		}
		if err != nil {
			return err
		}
		if j.o.ReadOnly {
			err = j.openTail(ctx, g)
		} else {
			err = j.restart(g)
		}
		if err != nil {
			return closing(g, err)
		}
		base = g.base
		return nil
	})
	return base, err
}

func (j *Journal) restart(g *generation) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return fmt.Errorf("journal: rebase: %w", kvferry.ErrClosed)
	}
	j.enterLocked(g)
	j.applied = g.first - 1
	return nil
}

// closing closes g, if there is one, and returns err.
func closing(g *generation, err error) error {
	if g == nil {
		return err
	}
	return errors.Join(err, g.f.Close())
}

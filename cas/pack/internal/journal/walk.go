package journal

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/kvferry/kvferry"
)

// LostError tells of transactions that are damaged. It wraps kvferry.ErrCorrupt.
type LostError struct {
	Generation uint64
	// Offset is where the damage begins, End where sound transactions go on.
	Offset, End int64
	// First and Last are the sequence numbers that are lost; the last one is
	// a guess where the log ends with the damage.
	First, Last uint64
	// Reason is what is wrong at Offset.
	Reason error
}

// Error says what is lost, and where.
func (l *LostError) Error() string {
	return fmt.Sprintf("%v: log %016x: bytes %d to %d: %v: transactions %d to %d are lost",
		kvferry.ErrCorrupt, l.Generation, l.Offset, l.End, l.Reason, l.First, l.Last)
}

// Unwrap returns kvferry.ErrCorrupt.
func (l *LostError) Unwrap() error { return kvferry.ErrCorrupt }

// walker reads the transactions of a generation and tells damage from the end
// that a crash left: where the next transaction is not valid, the log is
// damaged if it is known to have been durable beyond that place, by the words
// or by a transaction that was written later.
type walker struct {
	scanner
	generation uint64
	intact     int64 // the log is known to have been whole up to here
	skip       bool  // go on past damage, which is then told to lost
	lost       func(l *LostError, last bool)
	holes      int
	spent      int64 // bytes that were read in vain, to go on past holes
}

// maxHoles is how many damaged places are skipped: a log with more is no log.
const maxHoles = 1000

// walk visits the transactions after c and returns where they end. If visit
// fails, that is before the transaction that it failed with.
func (w *walker) walk(ctx context.Context, c cursor, visit func(c cursor, f found) error) (cursor, error) {
	for {
		if err := ctx.Err(); err != nil {
			return c, err
		}
		f, err := w.next(c)
		if err == nil {
			if err := visit(c, f); err != nil {
				return c, err
			}
			c = f.next
			continue
		}
		var flaw formatError
		if !errors.As(err, &flaw) {
			return c, w.unreadable(c.off, err)
		}
		resume, err := w.hole(ctx, c, flaw)
		if err != nil || resume == nil {
			return c, err
		}
		c = *resume
	}
}

// passes tells whether the transactions from c up to end lead to the place to.
func (w *walker) passes(c, to cursor, end int64) (bool, error) {
	for c.off < end && c != to {
		f, err := w.next(c)
		var flaw formatError
		if errors.As(err, &flaw) {
			return false, nil
		}
		if err != nil {
			return false, w.unreadable(c.off, err)
		}
		c = f.next
	}
	return c == to, nil
}

func (w *walker) unreadable(off int64, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("journal: %w: log %016x was cut off before %d", kvferry.ErrCorrupt, w.generation, w.end)
	}
	return fmt.Errorf("journal: read log %016x at %d: %w", w.generation, off, err)
}

// hole judges the place c, where no valid transaction begins: nil is the end of
// the log, else it goes on elsewhere.
func (w *walker) hole(ctx context.Context, c cursor, flaw formatError) (*cursor, error) {
	evidence := max(w.intact, 0)
	err := w.heads(ctx, c.off+8, func(_ int64, t txHead) (bool, error) {
		if t.seq > c.seq {
			evidence = max(evidence, t.durable)
		}
		return evidence > c.off, nil
	})
	if err != nil {
		return nil, w.unreadable(c.off, err)
	}
	if evidence <= c.off {
		return nil, nil
	}
	// Somebody who was appending may have gone on meanwhile.
	w.forget()
	if _, err := w.next(c); err == nil {
		return &c, nil
	}
	l := &LostError{Generation: w.generation, Offset: c.off, End: evidence, First: c.seq + 1, Last: c.seq + 1, Reason: flaw}
	if !w.skip {
		return nil, fmt.Errorf("journal: run check --repair: %w", l)
	}
	var resume *cursor
	if w.holes++; w.holes < maxHoles {
		if resume, err = w.resume(ctx, c); err != nil {
			return nil, err
		}
	}
	if resume != nil {
		l.End, l.Last = resume.off, resume.seq
	}
	w.lost(l, resume == nil)
	return resume, nil
}

// resume finds the first sound transaction behind the damage at c. Headers may
// be made up, each announcing a payload that would have to be read, so what is
// read in all is bounded.
func (w *walker) resume(ctx context.Context, c cursor) (*cursor, error) {
	var at *cursor
	err := w.heads(ctx, c.off+8, func(off int64, t txHead) (bool, error) {
		if t.seq <= c.seq+1 && t.flags&void == 0 || t.seq <= c.seq {
			return false, nil
		}
		_, err := w.body(off, t)
		var flaw formatError
		if errors.As(err, &flaw) {
			w.spent += max(t.bytes, windowBytes)
			return w.spent > 4*w.end+64*windowBytes, nil
		}
		at = &cursor{off: off, seq: t.seq - 1, link: t.link}
		return true, err
	})
	if err != nil {
		return nil, w.unreadable(c.off, err)
	}
	return at, nil
}

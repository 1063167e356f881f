package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
)

// Switch replaces the log by generation base, which starts from the checkpoint
// of that number and holds the transactions after from, and removes what is not
// needed any more. The Writer then appends to the new generation.
//
// The checkpoint is written beside everything else: take a Position while the
// log is locked, unlock, save the state, sync it, lock again and Switch. Its
// state has at least the transactions up to from, and may have later ones. So
// that two processes do not exchange each other's checkpoints, it is written
// under a temporary name and gets its own while the log is locked and
// Position().Generation is still that of from. Numbers grow; those between may
// be left out.
//
// ErrMoved says that another checkpoint came between. If the successor could
// not be made durable, the error wraps kvferry.ErrPoisoned; after any other
// error nothing has changed.
func (w *Writer) Switch(ctx context.Context, base uint64, from Position) error {
	if w.dead != nil {
		return w.dead
	}
	j := w.j
	if err := w.checkSwitch(base, from); err != nil {
		return err
	}
	b, err := build(ctx, j.o.FS, header{generation: base, base: base, first: from.Seq + 1, id: j.o.StoreID})
	if err != nil {
		return err
	}
	if err := w.copyAfter(ctx, b, from); err != nil {
		return b.discard(j.o.FS, err)
	}
	if err := j.install(j.w.f, w.words, b); err != nil {
		w.dead = j.poison(errors.Join(err, b.f.Close()))
		return w.dead
	}
	tidyUp(ctx, j.o.FS, b.header)
	j.adopt(b)
	w.end, w.size, w.held = b.end, b.end.off, 0
	w.words = words{committed: b.end.off, durable: b.end.off}
	// Everything that it holds was applied, so this only moves on. The work is
	// done: ctx is not asked any more.
	err = j.Follow(context.WithoutCancel(ctx), func(t Tx) error {
		return fmt.Errorf("journal: %w: transaction %d comes twice", kvferry.ErrCorrupt, t.Seq)
	})
	if err != nil {
		w.dead = j.poison(err)
		return w.dead
	}
	return nil
}

func (w *Writer) checkSwitch(base uint64, from Position) error {
	now := w.Position()
	switch {
	case from.Generation != now.Generation:
		return ErrMoved
	case base <= now.Generation || base > maxOffset || from.Offset < firstTx || from.Offset > now.Offset || from.Seq > now.Seq:
		return fmt.Errorf("journal: switch: %w: to %d from %+v at %+v", kvferry.ErrInvalid, base, from, now)
	}
	info, err := w.j.o.FS.Stat(indexName(base))
	if err != nil {
		return fmt.Errorf("journal: switch: checkpoint %d: %w", base, err)
	}
	if !info.Regular {
		return fmt.Errorf("journal: switch: checkpoint %d: %w: no file", base, kvferry.ErrInvalid)
	}
	if err := w.j.o.FS.SyncDir(indexDir); err != nil {
		return fmt.Errorf("journal: switch: checkpoint %d: %w", base, err)
	}
	return nil
}

// copyAfter copies what follows from, which must come to exactly the end.
func (w *Writer) copyAfter(ctx context.Context, b *builder, from Position) error {
	l := w.j.w
	c := cursor{off: from.Offset, seq: from.Seq}
	if c.off < w.end.off {
		var head [txHeader]byte
		if err := readFull(l.f, head[:], c.off); err != nil {
			return err
		}
		c.link = binary.LittleEndian.Uint32(head[4:])
	} else {
		c.link = w.end.link
	}
	after := w.j.walker(l.f, l.header, w.end.off, w.end.off)
	after.skip = false
	end, err := after.walk(ctx, c, func(_ cursor, f found) error {
		return b.add(txHead{seq: f.seq, flags: f.flags}, f.payload)
	})
	if err != nil {
		return err
	}
	if end != w.end {
		return fmt.Errorf("%w: from %+v the log goes on to %+v, not %+v", kvferry.ErrInvalid, from, end, w.end)
	}
	return b.finish()
}

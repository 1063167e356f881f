package lsm

import (
	"context"
	"errors"
)

// reserved is how many changes are numbered before the row of the index is
// written anew. After a power failure that many numbers may be skipped, but none
// is used twice: whoever watches the changes would take one for another.
const reserved = 1 << 20

// number notes durably that the newest change is seq, and that no change beyond
// limit is made before the next such note.
func (x *Index) number(seq, limit uint64) error {
	b := x.db.NewBatch()
	err := b.Set(metaKey(), metaRow(x.o.Rules, seq, limit), nil)
	if err == nil {
		err = x.apply(b, true)
	}
	if err = x.settle("numbering", b, err, true, seq); err == nil {
		x.limit = limit
	}
	return err
}

// reserve makes sure that the next change has a number. It is the writer's.
func (x *Index) reserve() error {
	if seq := x.feed.Seq(); seq >= x.limit {
		return x.number(seq, seq+reserved)
	}
	return nil
}

// finish makes all durable, and notes that no number beyond the newest was used.
func (x *Index) finish() error {
	if err := x.lock(context.Background()); err != nil {
		return err
	}
	defer x.unlock()
	seq := x.feed.Seq()
	err := errors.Join(x.number(seq, seq), x.fs.failed())
	if err == nil && x.db.Metrics().WAL.Size > uint64(x.o.MemTableBytes/logShare) {
		err = x.toTables()
	}
	return err
}

// logShare is the part of a table in memory beyond which the log is not left to be
// read by the next Open, which takes longer than to write the table.
const logShare = 32

// toTables has all written into tables that the log has so far.
func (x *Index) toTables() error {
	done, err := x.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-done:
	case <-x.fs.broken: // Pebble tries again for ever
	}
	return x.fs.failed()
}

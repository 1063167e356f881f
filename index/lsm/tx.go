package lsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/wire"
)

// maxSeen is how large a map of identities is kept for the next write.
const maxSeen = 1 << 12

// identity is what makes two records one.
type identity struct {
	key    index.Key // as the rules have it
	worker string
	tier   index.Tier
}

// tx is a write that is being put together. Whoever has one is the only writer.
type tx struct {
	x       *Index
	b       *pebble.Batch
	changed map[string]*worker
	wiped   map[string]struct{} // workers whose volatile records it removes
	parts   int                 // batches that are handed over
	revived bool                // stale records are live again
}

// begin waits until nobody else writes.
func (x *Index) begin(ctx context.Context) (*tx, error) {
	if err := x.lock(ctx); err != nil {
		return nil, err
	}
	if err := x.reserve(); err != nil {
		x.unlock()
		return nil, err
	}
	return &tx{x: x, b: x.db.NewBatch(), changed: map[string]*worker{}}, nil
}

func (x *Index) lock(ctx context.Context) error {
	select {
	case <-x.writer:
	case <-ctx.Done():
		return ctx.Err()
	}
	err := x.fs.refuse()
	if err == nil {
		err = x.wait(ctx)
	}
	if err != nil {
		x.unlock()
		return x.failure("writing", err)
	}
	return nil
}

func (x *Index) unlock() { x.writer <- struct{}{} }

// close ends a write, and returns err.
func (t *tx) close(err error) error {
	t.release()
	return errors.Join(err, t.b.Close())
}

// release lets others write.
func (t *tx) release() {
	if len(t.x.seen) > maxSeen {
		t.x.seen = map[identity]struct{}{}
	}
	clear(t.x.seen) // it holds the caller's strings
	t.x.unlock()
}

// commit makes a write seen, and ends it. It is of c.
func (t *tx) commit(op string, c *index.Change) error {
	x := t.x
	seq := x.feed.Seq() + 1
	err := t.rows(c.Kind, seq)
	if err == nil {
		err = x.apply(t.b, x.o.Sync)
	}
	if err != nil {
		return x.failure(op, t.cancel(err))
	}
	x.workers.set(t.changed)
	t.tell(c)
	t.release()
	return x.settle(op, t.b, nil, x.o.Sync, seq)
}

// tell numbers a change, for watchers with the records that are live again.
func (t *tx) tell(c *index.Change) {
	if t.revived {
		if t.x.feed.AddUnwatched() {
			return
		}
		var err error
		if c.Records, err = t.x.volatileOf(context.Background(), c.Worker); err != nil {
			t.x.fs.fail(fmt.Errorf("reading what is live again: %w", err)) // no watcher may miss it
			return
		}
	}
	t.x.feed.Add(c)
}

// rows writes what changed besides the records.
func (t *tx) rows(kind index.ChangeKind, seq uint64) error {
	var errs []error
	for name, w := range t.changed {
		key := appendRowKey(t.x.scratch[:0], name)
		if w.known() {
			errs = append(errs, t.b.Set(key, appendRow(nil, seq, w), nil))
		} else {
			errs = append(errs, t.b.Delete(key, nil))
		}
		t.x.scratch = key
	}
	if kind != index.DidPut { // whose row is always there
		errs = append(errs, t.b.Set(metaKey(), metaRow(t.x.o.Rules, seq, t.x.limit), nil))
	}
	return errors.Join(errs...)
}

// apply hands a batch to Pebble. Settle is called later; if the log is to be
// synchronised for it, with the same durable.
func (x *Index) apply(b *pebble.Batch, durable bool) error {
	if durable {
		x.fs.durable.Add(1)
	}
	err := x.db.ApplyNoSyncWait(b, pebble.Sync)
	if err != nil && durable {
		x.fs.durable.Add(-1)
	}
	return err
}

// settle waits until a batch that apply took has reached the system, or is
// durable, as all changes up to seq are then.
func (x *Index) settle(op string, b *pebble.Batch, err error, durable bool, seq uint64) error {
	if err != nil {
		return x.failure(op, errors.Join(err, b.Close()))
	}
	err = b.SyncWait()
	if err == nil {
		err = x.fs.failed()
	}
	if durable {
		x.fs.durable.Add(-1)
		if err == nil {
			err = x.flushed.set(seq, 0)
		}
	}
	if err == nil {
		err = b.Close()
	}
	if err != nil {
		x.fs.fail(err)
		return x.failure(op, fmt.Errorf("the change may be seen, and may be there at the next opening: %w", err))
	}
	return nil
}

// worker returns what the write makes of a worker, to be changed.
func (t *tx) worker(name string) *worker {
	w := t.changed[name]
	if w == nil {
		known := t.x.workers.get(name)
		w = &known
		t.changed[name] = w
	}
	return w
}

// first notes an identity and reports whether it is the first time.
func (t *tx) first(r *index.Record) bool {
	id := identity{r.Key, r.Worker, r.Tier}
	if _, ok := t.x.seen[id]; ok {
		return false
	}
	t.x.seen[id] = struct{}{}
	return true
}

// put adds a record, of whose identity there is one in the write. What is there
// already, as it is, is not written again.
func (t *tx) put(r *index.Record) error {
	x := t.x
	k, w := x.o.Rules.Key(r.Key), t.worker(r.Worker)
	primary := wire.AppendPrimary(x.scratch[:0], &k, r.Worker, r.Tier)
	n := len(primary)
	buf := wire.AppendValue(primary, r, x.o.Rules)
	was, same, err := t.was(buf[:n], r, buf[n:])
	x.scratch = buf
	if err != nil || same {
		return err
	}
	err = t.b.Set(buf[:n], buf[n:], nil)
	if was.blocks > 0 {
		w.of(r.Tier).take(was.bytes)
	} else if err == nil {
		buf = wire.AppendByHash(buf[:0], &k, r.Worker, r.Tier)
		err = t.b.Set(buf, nil, nil)
		if err == nil {
			buf = wire.AppendByWorker(buf[:0], &k, r.Worker, r.Tier)
			err = t.b.Set(buf, nil, nil)
		}
	}
	w.of(r.Tier).add(r.Bytes)
	x.scratch = buf
	return err
}

// bytesOf returns the Bytes of the record that a new one replaces.
func (t *tx) bytesOf(primary []byte, r *index.Record) (bytes uint64, there bool, err error) {
	was, _, err := t.was(primary, r, nil)
	return was.bytes, was.blocks > 0, err
}

// was returns what there is under the primary key of r, one record or none, and
// whether it has a value.
func (t *tx) was(primary []byte, r *index.Record, value []byte) (l load, same bool, err error) {
	if _, wiped := t.wiped[r.Worker]; wiped && r.Tier.Volatile() {
		return load{}, false, nil
	}
	is, closer, err := t.x.db.Get(primary)
	if errors.Is(err, pebble.ErrNotFound) {
		return load{}, false, nil
	}
	if err != nil {
		return load{}, false, err
	}
	l.blocks, same = 1, bytes.Equal(is, value)
	l.bytes, err = wire.ValueBytes(is)
	return l, same, errors.Join(err, closer.Close())
}

// drop removes the entries of a record, whose Key is as the rules have it.
func (t *tx) drop(r *index.Record) error {
	buf := wire.AppendPrimary(t.x.scratch[:0], &r.Key, r.Worker, r.Tier)
	err := t.b.Delete(buf, nil)
	if err == nil {
		buf = wire.AppendByHash(buf[:0], &r.Key, r.Worker, r.Tier)
		err = t.b.Delete(buf, nil)
	}
	if err == nil {
		buf = wire.AppendByWorker(buf[:0], &r.Key, r.Worker, r.Tier)
		err = t.b.Delete(buf, nil)
	}
	t.x.scratch = buf
	return err
}

// wipe removes what a worker has in volatile tiers, and says how much it was.
// The worker is not unconfirmed any more.
func (t *tx) wipe(name string) (int, error) {
	n := 0
	for tier := index.Tier(1); tier < index.Tiers; tier++ {
		if !tier.Volatile() {
			continue
		}
		dropped, err := t.dropAll(wire.AppendWorkerTier(nil, name, tier))
		if err != nil {
			return 0, err
		}
		n += dropped
	}
	w := t.worker(name)
	w.volatile, w.unconfirmed = load{}, false
	if t.wiped == nil {
		t.wiped = map[string]struct{}{}
	}
	t.wiped[name] = struct{}{}
	return n, nil
}

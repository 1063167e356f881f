package lsm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/wire"
)

// maxPutBytes bounds the strings of a Put, which is one batch with each of them up
// to three times, and their NULs twice. Pebble's own limit is 4 GiB.
const maxPutBytes = 512 << 20

// recordBytes is what a record has besides its strings.
const recordBytes = 64

// Put implements index.Writer.
func (x *Index) Put(ctx context.Context, rs []index.Record) error {
	if err := x.enter(ctx); err != nil {
		return err
	}
	defer x.gate.leave()
	if err := checkPut(rs); err != nil {
		return err
	}
	if len(rs) == 0 {
		return nil
	}
	t, err := x.begin(ctx)
	if err != nil {
		return err
	}
	// From the last to the first, of which only the first of an identity counts: but
	// a worker's volatile records go before what is put.
	for i := range rs {
		if err := t.confirm(&rs[i]); err != nil {
			return x.failure("put", t.cancel(err))
		}
	}
	for i := len(rs) - 1; i >= 0; i-- {
		if err := t.putLast(&rs[i], len(rs) > 1); err != nil {
			return x.failure("put", t.cancel(err))
		}
	}
	if err := t.commit("put", &index.Change{Kind: index.DidPut, Records: rs}); err != nil {
		return err
	}
	x.counts.puts.Add(uint64(len(rs)))
	return nil
}

// checkPut checks all that can be wrong with a Put: when it has begun to remove
// stale records it cannot be refused any more.
func checkPut(rs []index.Record) error {
	sum := 0
	for i := range rs {
		r := &rs[i]
		if err := r.Check(); err != nil {
			return err
		}
		adapter, _ := r.Adapter.Name()
		sum += recordBytes + len(r.Model) + len(r.Tokenizer) + len(adapter) + len(r.Tenant) + len(r.Prefix) + len(r.Hash) + len(r.Worker)
	}
	if sum > maxPutBytes {
		return fmt.Errorf("lsm: a put of %d bytes, at most %d: %w", sum, maxPutBytes, kvferry.ErrInvalid)
	}
	return nil
}

// confirm makes a worker's stale records go if it puts one in a volatile tier.
func (t *tx) confirm(r *index.Record) error {
	if !r.Tier.Volatile() || !t.worker(r.Worker).unconfirmed {
		return nil
	}
	_, err := t.wipe(r.Worker)
	return err
}

// putLast puts a record unless one behind it in the write has its identity.
func (t *tx) putLast(r *index.Record, several bool) error {
	if several {
		named := index.Record{Key: t.x.o.Rules.Key(r.Key), Worker: r.Worker, Tier: r.Tier}
		if !t.first(&named) {
			return nil
		}
	}
	return t.put(r)
}

// Remove implements index.Writer.
func (x *Index) Remove(ctx context.Context, rs []index.Removal) (int, error) {
	if err := x.enter(ctx); err != nil {
		return 0, err
	}
	defer x.gate.leave()
	t, err := x.begin(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for i := range rs {
		removed, err := t.remove(ctx, rs[i])
		if err != nil {
			return 0, x.failure("remove", t.cancel(err))
		}
		n += removed
	}
	return t.finish("remove", n, &index.Change{Kind: index.DidRemove, Removals: rs}, x.counts.removes.Add)
}

// finish ends a write that removed n records, which may be none.
func (t *tx) finish(op string, n int, c *index.Change, count func(uint64) uint64) (int, error) {
	if n == 0 {
		return 0, t.cancel(nil)
	}
	if err := t.commit(op, c); err != nil {
		return 0, err
	}
	count(uint64(n))
	return n, nil
}

// remove removes what one removal selects.
func (t *tx) remove(ctx context.Context, sel index.Removal) (n int, err error) {
	sel.Scope = t.x.o.Rules.Scope(sel.Scope)
	err = t.each(ctx, wire.AppendRemoval(nil, &sel), func(key, _ []byte) error {
		var r index.Record
		if err := wire.ParseByHash(key, &r); err != nil || !wire.Selected(&sel, &r) || !t.first(&r) {
			return err
		}
		n++
		if err := t.take(&r); err != nil {
			return err
		}
		return t.split()
	})
	return n, err
}

// take removes a record that is counted.
func (t *tx) take(r *index.Record) error {
	primary := wire.AppendPrimary(nil, &r.Key, r.Worker, r.Tier)
	bytes, there, err := t.bytesOf(primary, r)
	if err == nil && !there {
		err = fmt.Errorf("an entry by hash has no record: %w", kvferry.ErrCorrupt)
	}
	if err != nil {
		return err
	}
	t.worker(r.Worker).of(r.Tier).take(bytes)
	return t.drop(r)
}

// ClearWorker implements index.Writer.
func (x *Index) ClearWorker(ctx context.Context, worker string) (int, error) {
	if err := x.enter(ctx); err != nil {
		return 0, err
	}
	defer x.gate.leave()
	t, err := x.begin(ctx)
	if err != nil {
		return 0, err
	}
	n, err := t.dropAll(wire.AppendWorker(nil, worker))
	if err != nil {
		return 0, x.failure("clear_worker", t.cancel(err))
	}
	w := t.worker(worker)
	w.lasting, w.volatile = load{}, load{}
	return t.finish("clear_worker", n, &index.Change{Kind: index.DidClearWorker, Worker: worker}, x.counts.cleared.Add)
}

// Clear implements index.Writer.
func (x *Index) Clear(ctx context.Context) error {
	if err := x.enter(ctx); err != nil {
		return err
	}
	defer x.gate.leave()
	t, err := x.begin(ctx)
	if err != nil {
		return err
	}
	n := 0
	for _, name := range x.workers.names() {
		w := t.worker(name)
		n += int(w.lasting.blocks + w.volatile.blocks)
		w.lasting, w.volatile = load{}, load{}
	}
	first, last := []byte{wire.Version, wire.TagPrimary}, []byte{wire.Version, wire.TagWorker + 1}
	if err := t.b.DeleteRange(first, last, nil); err != nil {
		return x.failure("clear", t.cancel(err))
	}
	_, err = t.finish("clear", n, &index.Change{Kind: index.DidClear}, x.counts.cleared.Add)
	return err
}

// Expire implements index.Writer. It looks at every record.
func (x *Index) Expire(ctx context.Context, before uint64) (int, error) {
	if err := x.enter(ctx); err != nil {
		return 0, err
	}
	defer x.gate.leave()
	t, err := x.begin(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	err = t.each(ctx, []byte{wire.Version, wire.TagPrimary}, func(key, value []byte) error {
		var data index.Record
		data.Adapter = index.Named("") // any value fits it
		if err := wire.ParseValue(value, &data); err != nil || data.LastAccess >= before || data.Pinned || data.Refs > 0 {
			return err
		}
		var r index.Record
		if err := wire.ParsePrimary(key, &r); err != nil {
			return err
		}
		n++
		t.worker(r.Worker).of(r.Tier).take(data.Bytes)
		if err := t.drop(&r); err != nil {
			return err
		}
		return t.split()
	})
	if err != nil {
		return 0, x.failure("expire", t.cancel(err))
	}
	return t.finish("expire", n, &index.Change{Kind: index.DidExpire, Before: before}, x.counts.expired.Add)
}

// Announce implements index.Announcer.
func (x *Index) Announce(ctx context.Context, worker string, incarnation uint64) error {
	if err := x.enter(ctx); err != nil {
		return err
	}
	defer x.gate.leave()
	if incarnation == 0 {
		return fmt.Errorf("lsm: incarnation 0: %w", kvferry.ErrInvalid)
	}
	if len(worker) > index.MaxFieldBytes { // which no later opening would read
		return fmt.Errorf("lsm: worker's name of %d bytes, at most %d: %w", len(worker), index.MaxFieldBytes, kvferry.ErrInvalid)
	}
	t, err := x.begin(ctx)
	if err != nil {
		return err
	}
	w := t.worker(worker)
	if w.incarnation == incarnation && !w.unconfirmed {
		return t.cancel(nil)
	}
	c := &index.Change{Kind: index.DidAnnounce, Worker: worker, Incarnation: incarnation}
	n := 0
	switch {
	case w.incarnation != incarnation && (w.incarnation != 0 || w.unconfirmed):
		c.Gone = true
		n, err = t.wipe(worker)
	case w.unconfirmed:
		t.revived = true
	}
	if err != nil {
		return x.failure("announce", t.cancel(err))
	}
	w.incarnation, w.unconfirmed = incarnation, false
	if err := t.commit("announce", c); err != nil {
		return err
	}
	x.counts.cleared.Add(uint64(n))
	return nil
}

// volatileOf returns what a worker has in volatile tiers, stale or not.
func (x *Index) volatileOf(ctx context.Context, worker string) (rs []index.Record, err error) {
	for tier := index.Tier(1); tier < index.Tiers; tier++ {
		if !tier.Volatile() {
			continue
		}
		err = errors.Join(err, x.each(ctx, wire.AppendWorkerTier(nil, worker, tier), func(key, _ []byte) error {
			var r index.Record
			if err := wire.ParseByWorker(key, &r); err != nil {
				return err
			}
			if err := x.fill(x.db, &r); err != nil {
				return err
			}
			rs = append(rs, r)
			return nil
		}))
	}
	index.Sort(rs)
	return slices.Clip(rs), err
}

// fill sets the data of a record whose identity, as the rules have it, was found
// under another key.
func (x *Index) fill(from pebble.Reader, r *index.Record) error {
	value, closer, err := from.Get(wire.AppendPrimary(nil, &r.Key, r.Worker, r.Tier))
	if errors.Is(err, pebble.ErrNotFound) {
		return fmt.Errorf("an entry has no record: %w", kvferry.ErrCorrupt)
	}
	if err != nil {
		return err
	}
	return errors.Join(wire.ParseValue(value, r), closer.Close())
}

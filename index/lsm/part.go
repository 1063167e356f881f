package lsm

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/wire"
)

// partBytes is how large the batch of a removal gets before it goes on in another
// one. Pebble panics at 4 GiB, and holds all of a batch in memory.
const partBytes = 64 << 20

// each is the index's for a write, which must not end early once a part of it is
// done.
func (t *tx) each(ctx context.Context, prefix []byte, visit func(key, value []byte) error) error {
	it, err := t.x.over(t.x.db, prefix)
	if err != nil {
		return err
	}
	return walk(it, func() error {
		if t.parts > 0 {
			return nil
		}
		return t.x.mayGoOn(ctx)
	}, visit)
}

// full reports whether it is time for part.
func (t *tx) full() bool { return t.b.Len() >= t.x.partBytes }

// split is part if the batch is full. What is known of workers must be that of
// the removals in it.
func (t *tx) split() error {
	if !t.full() {
		return nil
	}
	return t.part()
}

// part hands the removals over that there are so far, with the rows of their
// workers, and begins another batch.
func (t *tx) part() error {
	x := t.x
	t.parts++ // from here on what fails leaves something behind
	err := t.rows(index.DidRemove, x.feed.Seq()+1)
	if err == nil {
		err = x.apply(t.b, false)
	}
	if err != nil {
		return err
	}
	b := t.b
	t.b = x.db.NewBatch()
	if err = b.SyncWait(); err == nil {
		err = x.fs.failed()
	}
	if err != nil {
		return err // b may be in use still
	}
	x.workers.set(t.changed)
	if err := b.Close(); err != nil {
		return err
	}
	return x.wait(context.Background())
}

// pay counts the records of which the batch removes the entries behind the first
// few. It has to be done before they are handed over.
func (t *tx) pay(behind uint32) error {
	reader := t.b.Reader()
	for i := uint32(0); ; i++ {
		kind, key, _, ok, err := reader.Next()
		if !ok || err != nil {
			return err
		}
		if i < behind || kind != pebble.InternalKeyKindDelete || key[1] != wire.TagPrimary {
			continue
		}
		var r index.Record
		if err := wire.ParsePrimary(key, &r); err != nil {
			return err
		}
		bytes, _, err := t.bytesOf(key, &r)
		if err != nil {
			return err
		}
		t.worker(r.Worker).of(r.Tier).take(bytes)
	}
}

// dropAll removes the records whose keys by worker begin with prefix. The caller
// sets the worker's counts.
func (t *tx) dropAll(prefix []byte) (n int, err error) {
	behind := t.b.Count()
	err = t.each(context.Background(), prefix, func(key, _ []byte) error {
		var r index.Record
		if err := wire.ParseByWorker(key, &r); err != nil {
			return err
		}
		n++
		if err := t.drop(&r); err != nil || !t.full() {
			return err
		}
		if err := t.pay(behind); err != nil {
			return err
		}
		behind = 0
		return t.part()
	})
	return n, err
}

// cancel ends a write of which nothing is to be seen, and returns err. Where a part
// of it is, no other write may build on that.
func (t *tx) cancel(err error) error {
	if t.parts > 0 && err != nil {
		err = fmt.Errorf("a part of what it removes is gone: %w", err)
		t.x.fs.fail(err)
	}
	return t.close(err)
}

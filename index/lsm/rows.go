package lsm

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/wire"
)

// The tags of rows, behind the version of package wire.
const (
	tagRow  = 4
	tagMeta = 5
)

func appendRowKey(dst []byte, name string) []byte {
	dst = wire.AppendWorker(dst, name)
	dst[1] = tagRow
	return dst
}

func appendRow(dst []byte, seq uint64, w *worker) []byte {
	for _, v := range [...]uint64{seq, w.incarnation, w.lasting.blocks, w.lasting.bytes, w.volatile.blocks, w.volatile.bytes} {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}

func parseRow(value []byte) (seq uint64, w worker, err error) {
	for _, to := range [...]*uint64{&seq, &w.incarnation, &w.lasting.blocks, &w.lasting.bytes, &w.volatile.blocks, &w.volatile.bytes} {
		v, n := binary.Uvarint(value)
		if n <= 0 {
			return 0, w, fmt.Errorf("lsm: row of a worker ends early: %w", kvferry.ErrCorrupt)
		}
		*to, value = v, value[n:]
	}
	if len(value) > 0 || !w.known() {
		return 0, w, fmt.Errorf("lsm: row of a worker goes on behind its end, or has nothing: %w", kvferry.ErrCorrupt)
	}
	return seq, w, nil
}

// loadRows reads all rows, and returns the number of the newest change, and the
// greatest that another one that is lost may have had.
func (x *Index) loadRows(ctx context.Context) (newest, limit uint64, err error) {
	newest, limit, err = x.loadMeta()
	if err != nil {
		return 0, 0, err
	}
	it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: []byte{wire.Version, tagRow}, UpperBound: []byte{wire.Version, tagMeta}})
	if err != nil {
		return 0, 0, x.failure("reading", err)
	}
	changed := map[string]*worker{}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var seq uint64
		var w worker
		var name string
		if name, err = wire.ParseWorker(it.Key()[2:]); err == nil {
			seq, w, err = parseRow(it.Value())
		}
		w.unconfirmed = x.o.Rules.Stale()
		newest, changed[name] = max(newest, seq), &w
		if err == nil {
			err = ctx.Err()
		}
	}
	if err = cmp.Or(err, it.Error()); err == nil {
		err = it.Close()
	} else {
		_ = it.Close() // it has the same error
	}
	if err != nil {
		return 0, 0, x.failure("reading", err)
	}
	x.workers.set(changed)
	x.workers.mu.Lock()
	defer x.workers.mu.Unlock()
	x.workers.listenLocked()
	return newest, limit, nil
}

// metaKey returns the key of the row that is no worker's.
func metaKey() []byte { return []byte{wire.Version, tagMeta} }

func metaRow(rules index.Rules, seq, limit uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint([]byte{byte(rules)}, seq), limit)
}

// loadMeta reads that row and compares the rules; of a new index it writes it.
func (x *Index) loadMeta() (seq, limit uint64, err error) {
	value, closer, err := x.db.Get(metaKey())
	if errors.Is(err, pebble.ErrNotFound) {
		if err = x.db.Set(metaKey(), metaRow(x.o.Rules, 0, 0), pebble.Sync); err != nil {
			err = x.failure("opening", err)
		}
		return 0, 0, err
	}
	if err != nil {
		return 0, 0, x.failure("reading", err)
	}
	value = slices.Clone(value)
	if err := closer.Close(); err != nil || len(value) < 2 {
		return 0, 0, fmt.Errorf("lsm: the row of the index is cut short: %w", cmp.Or(err, kvferry.ErrCorrupt))
	}
	seq, n := binary.Uvarint(value[1:])
	var m int
	if n > 0 {
		limit, m = binary.Uvarint(value[1+n:])
	}
	if m <= 0 || 1+n+m != len(value) {
		return 0, 0, fmt.Errorf("lsm: the row of the index is not two numbers: %w", kvferry.ErrCorrupt)
	}
	if rules := index.Rules(value[0]); rules != x.o.Rules {
		return 0, 0, fmt.Errorf("lsm: the index was made under rules %d, not %v: %w", value[0], x.o.Rules, kvferry.ErrInvalid)
	}
	return seq, limit, nil
}

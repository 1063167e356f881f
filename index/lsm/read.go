package lsm

import (
	"cmp"
	"context"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/wire"
)

// stepsPerLook is how many entries are read between looks at the context.
const stepsPerLook = 256

// each calls visit for the entries whose keys begin with prefix, in order. What
// visit is given is valid during the call.
func (x *Index) each(ctx context.Context, prefix []byte, visit func(key, value []byte) error) error {
	it, err := x.over(x.db, prefix)
	if err != nil {
		return err
	}
	return x.walk(ctx, it, visit)
}

// over returns an iterator over the keys that begin with prefix.
func (x *Index) over(from pebble.Reader, prefix []byte) (*pebble.Iterator, error) {
	both := make([]byte, len(prefix), 2*len(prefix))
	copy(both, prefix)
	end := wire.AppendEnd(both[len(both):], prefix)
	return from.NewIter(&pebble.IterOptions{LowerBound: both, UpperBound: end})
}

// walk visits what an iterator is over, and closes it.
func (x *Index) walk(ctx context.Context, it *pebble.Iterator, visit func(key, value []byte) error) error {
	return walk(it, func() error { return x.mayGoOn(ctx) }, visit)
}

// walk asks now and then whether it may go on.
func walk(it *pebble.Iterator, mayGoOn func() error, visit func(key, value []byte) error) (err error) {
	steps := 0
	// NextPrefix, as a key is all of its prefix: it leaves the many states of a record
	// that was put again and again by a seek, where Next visits each of them.
	for ok := it.First(); ok && err == nil; ok = it.NextPrefix() {
		if steps++; steps%stepsPerLook == 0 {
			err = mayGoOn()
		}
		var value []byte
		if err == nil {
			value, err = it.ValueAndErr()
		}
		if err == nil {
			err = visit(it.Key(), value)
		}
	}
	if closed := it.Close(); err == nil {
		err = closed
	}
	return err
}

// mayGoOn is an error if the context ended or the index is being closed.
func (x *Index) mayGoOn(ctx context.Context) error {
	if x.gate.open() {
		return ctx.Err()
	}
	return fmt.Errorf("lsm: %w", kvferry.ErrClosed)
}

// view is a state of the index: iterators of it are of one time, and so is which
// workers are silent.
type view struct {
	*silent
	it *pebble.Iterator
}

// look returns the state of now, with an iterator over what begins with prefix.
func (x *Index) look(prefix []byte) (view, error) {
	for {
		s := x.workers.silent.Load()
		it, err := x.over(x.db, prefix)
		if err != nil {
			return view{}, err
		}
		if s == x.workers.silent.Load() {
			return view{s, it}, nil
		}
		if err := it.Close(); err != nil {
			return view{}, err
		}
	}
}

// collect appends the live records whose primary keys begin with prefix. They
// have the scope and the parent that r has, and begin with skip bytes of both.
func (x *Index) collect(ctx context.Context, prefix []byte, skip int, r index.Record, dst []index.Record) ([]index.Record, error) {
	v, err := x.look(prefix)
	if err != nil {
		return dst, err
	}
	all := dst
	err = x.walk(ctx, v.it, func(key, value []byte) error {
		found := r
		if err := wire.ParseRest(key[skip:], &found); err != nil {
			return err
		}
		if v.has(&found) {
			return nil
		}
		if err := wire.ParseValue(value, &found); err != nil {
			return err
		}
		all = append(all, found)
		return nil
	})
	if err != nil {
		return dst, err
	}
	index.Sort(all[len(dst):])
	return all, nil
}

// Locate implements index.Reader.
func (x *Index) Locate(ctx context.Context, k *index.Key, dst []index.Record) ([]index.Record, error) {
	if err := x.enter(ctx); err != nil {
		return dst, err
	}
	defer x.gate.leave()
	x.counts.locates.Add(1)
	key := x.o.Rules.Key(*k)
	prefix := wire.AppendParent(nil, &key.Scope, key.Prefix)
	skip := len(prefix)
	prefix = wire.AppendKey(prefix[:0], &key)
	if x.o.Rules == index.AsMemory {
		prefix = wire.AppendTokens(prefix, key.Tokens)
	}
	all, err := x.collect(ctx, prefix, skip, index.Record{Key: index.Key{Scope: key.Scope, Prefix: key.Prefix}}, dst)
	if err != nil {
		return dst, x.failure("locate", err)
	}
	return all, nil
}

// Scan implements index.Reader.
func (x *Index) Scan(ctx context.Context, s *index.Scope, prefix string, dst []index.Record) ([]index.Record, error) {
	if err := x.enter(ctx); err != nil {
		return dst, err
	}
	defer x.gate.leave()
	x.counts.scans.Add(1)
	scope := x.o.Rules.Scope(*s)
	begin := wire.AppendParent(nil, &scope, prefix)
	all, err := x.collect(ctx, begin, len(begin), index.Record{Key: index.Key{Scope: scope, Prefix: prefix}}, dst)
	if err != nil {
		return dst, x.failure("scan", err)
	}
	return all, nil
}

// ByHash implements index.Reader.
func (x *Index) ByHash(ctx context.Context, hash string, dst []index.Record) ([]index.Record, error) {
	if err := x.enter(ctx); err != nil {
		return dst, err
	}
	defer x.gate.leave()
	all, err := x.byHash(ctx, hash, dst)
	if err != nil {
		return dst, x.failure("by hash", err)
	}
	index.Sort(all[len(dst):])
	return all, nil
}

func (x *Index) byHash(ctx context.Context, hash string, dst []index.Record) (all []index.Record, err error) {
	// Records are read under a second key: of the same time, which a snapshot is.
	var v view
	var snap *pebble.Snapshot
	for again := true; again; {
		v.silent, snap = x.workers.silent.Load(), x.db.NewSnapshot()
		if again = v.silent != x.workers.silent.Load(); again {
			err = snap.Close()
		}
		if err != nil {
			return dst, err
		}
	}
	defer func() { err = cmp.Or(err, snap.Close()) }()
	if v.it, err = x.over(snap, wire.AppendHash(nil, hash)); err != nil {
		return dst, err
	}
	all = dst
	err = x.walk(ctx, v.it, func(key, _ []byte) error {
		var r index.Record
		if err := wire.ParseByHash(key, &r); err != nil || v.has(&r) {
			return err
		}
		if err := x.fill(snap, &r); err != nil {
			return err
		}
		all = append(all, r)
		return nil
	})
	return all, err
}

// Snapshot implements index.Reader.
func (x *Index) Snapshot(ctx context.Context, visit func(r *index.Record) error) (uint64, error) {
	if err := x.enter(ctx); err != nil {
		return 0, err
	}
	defer x.gate.leave()
	seq := x.feed.Seq()
	v, err := x.look([]byte{wire.Version, wire.TagPrimary})
	if err != nil {
		return 0, x.failure("snapshot", err)
	}
	g := group{visit: visit, all: x.o.Rules == index.AsHolt}
	err = x.walk(ctx, v.it, func(key, value []byte) error {
		var r index.Record
		if err := wire.ParsePrimary(key, &r); err != nil || v.has(&r) {
			return err
		}
		if err := wire.ParseValue(value, &r); err != nil {
			return err
		}
		return g.add(&r)
	})
	if err == nil {
		err = g.end()
	}
	if err != nil && g.broken == nil {
		err = x.failure("snapshot", err)
	}
	return seq, err
}

// group brings records into the order of index.Compare, where that of keys is
// another: of one block, by tokens, which keys do not have. Where no adapter and
// one without a name are one, that is true of much more, and all is kept.
type group struct {
	visit  func(r *index.Record) error
	all    bool
	rs     []index.Record
	broken error // of visit
}

func (g *group) add(r *index.Record) error {
	if len(g.rs) > 0 && !g.all && !sameBlock(&g.rs[0].Key, &r.Key) {
		if err := g.end(); err != nil {
			return err
		}
	}
	g.rs = append(g.rs, *r)
	return nil
}

// end visits what is kept.
func (g *group) end() error {
	index.Sort(g.rs)
	for i := range g.rs {
		if g.broken = g.visit(&g.rs[i]); g.broken != nil {
			return g.broken
		}
	}
	g.rs = g.rs[:0]
	return nil
}

func sameBlock(a, b *index.Key) bool {
	return a.Hash == b.Hash && a.Index == b.Index && a.Group == b.Group && a.Prefix == b.Prefix && a.Scope == b.Scope
}

// Watch implements index.Watcher.
func (x *Index) Watch(ctx context.Context, after uint64) iter.Seq2[*index.Change, error] {
	return x.feed.Watch(ctx, after)
}

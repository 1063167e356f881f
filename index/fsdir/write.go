package fsdir

import (
	"context"
	"errors"

	"github.com/kvferry/kvferry/index"
)

// identity is what makes two records one.
type identity struct {
	key    index.Key // as the rules have it
	worker string
	tier   index.Tier
}

// Put implements index.Writer.
func (x *Index) Put(ctx context.Context, rs []index.Record) error {
	for i := range rs {
		if err := rs[i].Check(); err != nil {
			return err
		}
	}
	if err := x.enterWrite(ctx); err != nil {
		return err
	}
	defer x.leave()
	if len(rs) == 0 {
		return nil
	}
	all, err := x.stageAll(ctx, rs)
	if err != nil {
		return typed("put", err)
	}
	if err := x.files.publish(all); err != nil {
		return typed("put", err)
	}
	stale, err := x.confirm(rs, all)
	if err == nil {
		err = x.settle()
	}
	if err != nil {
		x.files.fail(err) // a part of it is done
		return typed("put", err)
	}
	for worker, gone := range stale {
		err = errors.Join(err, x.takeBoth(worker, gone))
	}
	err = errors.Join(err, x.live.Put(context.WithoutCancel(ctx), rs))
	if err := x.did(err, &index.Change{Kind: index.DidPut, Records: rs}); err != nil {
		return err
	}
	x.puts.Add(uint64(len(rs)))
	return nil
}

// stageAll writes the files of records, of one identity the last.
func (x *Index) stageAll(ctx context.Context, rs []index.Record) ([]staged, error) {
	last := make(map[identity]int, len(rs))
	for i := range rs {
		last[identity{x.o.Rules.Key(rs[i].Key), rs[i].Worker, rs[i].Tier}] = i
	}
	var all []staged
	var buf []byte
	for i := range rs {
		r := &rs[i]
		if last[identity{x.o.Rules.Key(r.Key), r.Worker, r.Tier}] != i {
			continue
		}
		path := recordPath(r, x.o.Rules)
		buf = seal(r.AppendJSON(buf[:0]))
		s, err := x.files.stage(path, buf)
		if err == nil {
			all = append(all, s)
			err = ctx.Err()
		}
		if err != nil {
			x.files.drop(all)
			return nil, err
		}
	}
	return all, nil
}

// confirm removes the files of the stale records of workers that put one in a
// volatile tier, unless they are those that were put, and returns the records.
func (x *Index) confirm(rs []index.Record, put []staged) (map[string][2][]index.Record, error) {
	stale := map[string][2][]index.Record{}
	var kept map[string]struct{}
	for i := range rs {
		worker := rs[i].Worker
		if _, silent := x.unconfirmed[worker]; !silent || !rs[i].Tier.Volatile() {
			continue
		}
		if _, done := stale[worker]; done {
			continue
		}
		if kept == nil {
			kept = make(map[string]struct{}, len(put))
			for _, s := range put {
				kept[s.path] = struct{}{}
			}
		}
		gone, err := x.unlinkVolatile(worker, kept)
		if err != nil {
			return nil, err
		}
		stale[worker] = gone
	}
	return stale, nil
}

// settle makes the files of a write durable before anybody sees it, if that is
// asked for or it is time to.
func (x *Index) settle() error {
	if x.o.Sync || x.files.full() {
		return x.files.flush()
	}
	return nil
}

// did ends a write: what is in memory has changed with the files, or not.
func (x *Index) did(err error, c *index.Change) error {
	if err != nil {
		x.files.fail(err) // the files say something else
		return typed(c.Kind.String(), err)
	}
	x.feed.Add(c)
	return nil
}

// selects reports whether a removal means a record.
func selects(rules index.Rules, sel *index.Removal, r *index.Record) bool {
	mine, asked := rules.Scope(r.Scope), rules.Scope(sel.Scope)
	if sel.AnyAdapter {
		mine.Adapter, asked.Adapter = index.Adapter{}, index.Adapter{}
	}
	return mine == asked && r.Worker == sel.Worker && r.Hash == sel.Hash &&
		(sel.Tier == 0 || sel.Tier == r.Tier) && (!sel.OneGroup || sel.Group == r.Group)
}

// Remove implements index.Writer.
func (x *Index) Remove(ctx context.Context, rs []index.Removal) (int, error) {
	if err := x.enterWrite(ctx); err != nil {
		return 0, err
	}
	defer x.leave()
	for i := range rs {
		var found []index.Record
		for _, m := range x.both() {
			var err error
			if found, err = m.ByHash(ctx, rs[i].Hash, found); err != nil {
				return 0, err
			}
		}
		for k := range found {
			if !selects(x.o.Rules, &rs[i], &found[k]) {
				continue
			}
			if err := x.unlink(&found[k]); err != nil {
				return 0, typed("remove", err)
			}
		}
	}
	return x.gone(&index.Change{Kind: index.DidRemove, Removals: rs}, &x.removes, func(ctx context.Context, m index.Index) (int, error) {
		return m.Remove(ctx, rs)
	})
}

// both are the indexes in memory.
func (x *Index) both() [2]index.Index { return [2]index.Index{x.live, x.stale} }

func (x *Index) unlink(r *index.Record) error {
	return x.files.remove(recordPath(r, x.o.Rules))
}

// counter is one of the counts.
type counter interface{ Add(n uint64) uint64 }

// gone removes from memory what was removed from the directory.
func (x *Index) gone(c *index.Change, count counter, remove func(ctx context.Context, m index.Index) (int, error)) (int, error) {
	if err := x.settle(); err != nil {
		return 0, typed(c.Kind.String(), err)
	}
	n := 0
	var err error
	for _, m := range x.both() {
		// Without a context: the files are gone.
		removed, failed := remove(context.Background(), m)
		n, err = n+removed, errors.Join(err, failed)
		if m == x.stale && removed > 0 {
			x.staleBy = nil
		}
	}
	if n == 0 && err == nil {
		return 0, nil
	}
	if err := x.did(err, c); err != nil {
		return 0, err
	}
	count.Add(uint64(n))
	return n, nil
}

// unlinkAll removes the files of the records for which which is true.
func (x *Index) unlinkAll(ctx context.Context, which func(r *index.Record) bool) error {
	for _, m := range x.both() {
		var found []index.Record
		if _, err := m.Snapshot(ctx, func(r *index.Record) error {
			if which(r) {
				found = append(found, *r)
			}
			return nil
		}); err != nil {
			return err
		}
		for i := range found {
			if err := x.unlink(&found[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// ClearWorker implements index.Writer.
func (x *Index) ClearWorker(ctx context.Context, worker string) (int, error) {
	return x.removeAll(ctx, &index.Change{Kind: index.DidClearWorker, Worker: worker}, &x.cleared,
		func(r *index.Record) bool { return r.Worker == worker },
		func(ctx context.Context, m index.Index) (int, error) { return m.ClearWorker(ctx, worker) })
}

// Clear implements index.Writer.
func (x *Index) Clear(ctx context.Context) error {
	_, err := x.removeAll(ctx, &index.Change{Kind: index.DidClear}, &x.cleared,
		func(*index.Record) bool { return true },
		func(ctx context.Context, m index.Index) (int, error) {
			held, err := m.Metrics(ctx)
			return int(held.ResidentBlocks), errors.Join(err, m.Clear(ctx))
		})
	return err
}

// Expire implements index.Writer.
func (x *Index) Expire(ctx context.Context, before uint64) (int, error) {
	return x.removeAll(ctx, &index.Change{Kind: index.DidExpire, Before: before}, &x.expired,
		func(r *index.Record) bool { return r.LastAccess < before && !r.Pinned && r.Refs == 0 },
		func(ctx context.Context, m index.Index) (int, error) { return m.Expire(ctx, before) })
}

// removeAll removes the records for which which is true, as remove does in memory.
func (x *Index) removeAll(
	ctx context.Context, c *index.Change, count counter, which func(*index.Record) bool, remove func(context.Context, index.Index) (int, error),
) (int, error) {
	if err := x.enterWrite(ctx); err != nil {
		return 0, err
	}
	defer x.leave()
	if err := x.unlinkAll(ctx, which); err != nil {
		return 0, typed(c.Kind.String(), err)
	}
	return x.gone(c, count, remove)
}

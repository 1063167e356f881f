package redis

import (
	"context"
	"errors"
	"slices"

	"github.com/redis/rueidis"

	"github.com/kvferry/kvferry/index"
)

// scansAtOnce is how many prefixes a snapshot reads at once.
const scansAtOnce = 256

// Snapshot implements index.Reader. It holds the names of all prefixes of one
// scope in memory, and a few hundred prefixes' records.
func (x *Index) Snapshot(ctx context.Context, visit func(r *index.Record) error) (uint64, error) {
	seq, ids, err := x.snapshotBegin(ctx)
	if err != nil {
		return 0, err
	}
	for _, v := range x.views(ids) {
		if err := x.snapshotScope(ctx, &v, visit); err != nil {
			return seq, err
		}
	}
	return seq, nil
}

// snapshotBegin reads the number of the newest change, then the scopes.
func (x *Index) snapshotBegin(ctx context.Context) (uint64, []*scopeID, error) {
	if err := x.enter(ctx); err != nil {
		return 0, nil, err
	}
	defer x.leave()
	s, err := x.stats(ctx, "snapshot")
	if err != nil {
		return 0, nil, err
	}
	ids, err := x.allScopes(ctx, "snapshot")
	return s.seq, ids, err
}

// view is what of a scope a snapshot visits in one go: where no adapter and one
// without a name are a single scope, other scopes lie between the two.
type view struct {
	*scopeID
	as index.Scope
}

// views returns the views in the order of their records.
func (x *Index) views(ids []*scopeID) []view {
	var out []view
	for _, id := range ids {
		out = append(out, view{id, id.Scope})
		if x.o.Rules == index.AsHolt && id.Adapter == index.Named("") {
			none := id.Scope
			none.Adapter = index.Adapter{}
			out = append(out, view{id, none})
		}
	}
	slices.SortFunc(out, func(a, b view) int { return a.as.Compare(&b.as) })
	return out
}

func (x *Index) snapshotScope(ctx context.Context, v *view, visit func(r *index.Record) error) error {
	prefixes, err := x.snapshotPrefixes(ctx, v)
	if err != nil {
		return err
	}
	var records []index.Record
	for len(prefixes) > 0 {
		n := min(len(prefixes), scansAtOnce)
		if records, err = x.snapshotScan(ctx, v, prefixes[:n], records[:0]); err != nil {
			return err
		}
		for i := range records {
			if records[i].Scope != v.as {
				continue
			}
			if err := visit(&records[i]); err != nil {
				return err
			}
		}
		prefixes = prefixes[n:]
	}
	return nil
}

func (x *Index) snapshotPrefixes(ctx context.Context, v *view) ([]string, error) {
	if err := x.enter(ctx); err != nil {
		return nil, err
	}
	defer x.leave()
	return x.prefixes(ctx, "snapshot", v.scopeID)
}

// snapshotScan reads the records behind some prefixes.
func (x *Index) snapshotScan(ctx context.Context, v *view, prefixes []string, dst []index.Record) ([]index.Record, error) {
	if err := x.enter(ctx); err != nil {
		return dst, err
	}
	defer x.leave()
	var dead []string
	var err error
	if !x.single {
		if dead, err = x.deadCluster(ctx, "snapshot"); err != nil {
			return dst, err
		}
	}
	requests := make([]request, len(prefixes))
	for i, p := range prefixes {
		requests[i] = *scanRequest(x, v.scopeID, p)
	}
	replies, err := x.runAll(ctx, "snapshot", requests)
	if err != nil {
		return dst, err
	}
	for i, p := range prefixes {
		a := asked{dead: dead}
		if err := x.answered(&replies[i], &a); err != nil {
			return dst, err
		}
		from := len(dst)
		if dst, err = x.scanned(ctx, v.scopeID, p, &a, dst); err != nil {
			return dst, err
		}
		index.Sort(dst[from:])
	}
	return dst, nil
}

// allScopes returns the scopes that may have records.
func (x *Index) allScopes(ctx context.Context, op string) ([]*scopeID, error) {
	m, err := x.send(ctx, op, func() rueidis.Completed { return x.client.B().Hgetall().Key(x.base("*") + "s").Build() })
	if err != nil {
		return nil, err
	}
	stored, err := m.AsStrMap()
	if err != nil {
		return nil, corrupt(op, "scopes")
	}
	ids := make([]*scopeID, 0, len(stored))
	for digest, s := range stored {
		id, err := scopeOf(s, digest)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b *scopeID) int { return a.Compare(&b.Scope) })
	return ids, nil
}

// prefixes returns the prefixes that have records in a scope, in order.
func (x *Index) prefixes(ctx context.Context, op string, id *scopeID) ([]string, error) {
	var out []string
	for cursor := "0"; ; {
		m, err := x.run(ctx, op, &request{prefixesScript, id.digest, x.args(0, id.digest, cursor)})
		if err != nil {
			return nil, err
		}
		l, err := list(&m, 2)
		if err != nil {
			return nil, err
		}
		found, err1 := texts(&l[1])
		next, err2 := l[0].ToString()
		if err := errors.Join(err1, err2); err != nil {
			return nil, corrupt(op, "prefixes")
		}
		for _, p := range found {
			if p, err = name(p); err != nil {
				return nil, err
			}
			out = append(out, p)
		}
		if next == "0" {
			break
		}
		cursor = next
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

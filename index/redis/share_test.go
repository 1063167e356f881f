package redis_test

import (
	"context"
	"fmt"
	"iter"
	"sort"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/indextest"
	"github.com/kvferry/kvferry/index/redis"
)

// fan gives every call to another one of some indexes that share their records.
type fan struct {
	xs   []*redis.Index
	next atomic.Uint64
}

var _ index.Index = (*fan)(nil)

func (f *fan) one() *redis.Index { return f.xs[f.next.Add(1)%uint64(len(f.xs))] }

func (f *fan) Put(ctx context.Context, rs []index.Record) error { return f.one().Put(ctx, rs) }

func (f *fan) Remove(ctx context.Context, rs []index.Removal) (int, error) {
	return f.one().Remove(ctx, rs)
}

func (f *fan) ClearWorker(ctx context.Context, w string) (int, error) {
	return f.one().ClearWorker(ctx, w)
}
func (f *fan) Clear(ctx context.Context) error                   { return f.one().Clear(ctx) }
func (f *fan) Expire(ctx context.Context, b uint64) (int, error) { return f.one().Expire(ctx, b) }
func (f *fan) Announce(ctx context.Context, w string, n uint64) error {
	return f.one().Announce(ctx, w, n)
}
func (f *fan) Workers(ctx context.Context) ([]index.Worker, error) { return f.one().Workers(ctx) }
func (f *fan) Metrics(ctx context.Context) (index.Metrics, error)  { return f.one().Metrics(ctx) }
func (f *fan) Flush(ctx context.Context) error                     { return f.one().Flush(ctx) }
func (f *fan) Info() index.Info                                    { return f.one().Info() }

func (f *fan) Locate(ctx context.Context, k *index.Key, dst []index.Record) ([]index.Record, error) {
	return f.one().Locate(ctx, k, dst)
}

func (f *fan) Scan(ctx context.Context, s *index.Scope, prefix string, dst []index.Record) ([]index.Record, error) {
	return f.one().Scan(ctx, s, prefix, dst)
}

func (f *fan) ByHash(ctx context.Context, hash string, dst []index.Record) ([]index.Record, error) {
	return f.one().ByHash(ctx, hash, dst)
}

func (f *fan) Match(ctx context.Context, q *index.Query, dst []index.Match) ([]index.Match, error) {
	return f.one().Match(ctx, q, dst)
}

func (f *fan) Snapshot(ctx context.Context, visit func(r *index.Record) error) (uint64, error) {
	return f.one().Snapshot(ctx, visit)
}

func (f *fan) Watch(ctx context.Context, after uint64) iter.Seq2[*index.Change, error] {
	return f.one().Watch(ctx, after)
}

func (f *fan) Close() error {
	for _, x := range f.xs {
		if err := x.Close(); err != nil {
			return err
		}
	}
	return nil
}

// shared opens three indexes that share their records, as one.
func shared(s *server, o func(index.Options) redis.Options) indextest.Config {
	var n atomic.Int64
	return indextest.Config{
		Slow: true,
		Open: func(t testing.TB, io index.Options) index.Index {
			ro := o(io)
			ro.Prefix = fmt.Sprintf("share%d:", n.Add(1))
			return &fan{xs: []*redis.Index{s.open(t, ro), s.open(t, ro), s.open(t, ro)}}
		},
	}
}

// TestLinearizable: calls through several indexes look like calls one by one.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	indextest.Linearizable(t, shared(s, s.options))
}

// TestTraces replays what QuillCache's indexes did.
func TestTraces(t *testing.T) {
	t.Parallel()
	indextest.Traces(t, config(startServer(t)))
}

// keys returns the names of all keys of a server.
func (s *server) keys() []string {
	s.t.Helper()
	m := s.must("KEYS", "*")
	names, err := m.AsStrSlice()
	require.NoError(s.t, err)
	sort.Strings(names)
	return names
}

// TestNothingIsLeft: records that were removed, by whatever call, leave no keys.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	x := s.open(t, s.options(index.Options{}))
	ctx := t.Context()
	var rs []index.Record
	for i := range 60 {
		r := record(i)
		r.Tenant, r.Worker, r.Tier = fmt.Sprint("tenant", i%3), fmt.Sprint("w", i%4), index.Tier(i%5+1)
		if i%2 == 0 {
			r.Adapter = index.Named(fmt.Sprint(i % 4))
		}
		rs = append(rs, r)
	}
	ways := map[string]func() error{
		"remove": func() error {
			var all []index.Removal
			for i := range rs {
				all = append(all, index.Removal{Scope: rs[i].Scope, AnyAdapter: i%3 == 0, Worker: rs[i].Worker, Hash: rs[i].Hash, Tier: rs[i].Tier})
			}
			n, err := x.Remove(ctx, all)
			require.Equal(t, len(rs), n)
			return err
		},
		"clear worker": func() error {
			for i := range 4 {
				if _, err := x.ClearWorker(ctx, fmt.Sprint("w", i)); err != nil {
					return err
				}
			}
			return nil
		},
		"clear":  func() error { return x.Clear(ctx) },
		"expire": func() error { _, err := x.Expire(ctx, 1<<63); return err },
	}
	for name, way := range ways {
		require.NoError(t, x.Put(ctx, rs), name)
		require.NoError(t, way(), name)
		require.Equal(t, []string{"kvferry:{*}q", "kvferry:{*}r", "kvferry:{*}v"}, s.keys(), name)
	}
}

// record returns one of many records of one scope: a chain of blocks with long
// hashes.
func record(i int) index.Record {
	r := chained(i)
	if i == 0 {
		r.Prefix = index.Root
	}
	r.Worker, r.LastAccess = "w", uint64(i)
	return r
}

// TestRulesAreShared: who opens an index with other rules is told.
func TestRulesAreShared(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.open(t, s.options(index.Options{}))
	_, err := redis.Open(t.Context(), s.options(index.Options{Rules: index.AsHolt}))
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	s.must("SET", "kvferry:{*}v", "9 recommended")
	_, err = redis.Open(t.Context(), s.options(index.Options{}))
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
	s.must("SET", "kvferry:{*}v", "")
	_, err = redis.Open(t.Context(), s.options(index.Options{}))
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
}

// TestStaleReads: with AllowStaleReads Locate comes to see what others did.
func TestStaleReads(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	o := s.options(index.Options{})
	x := s.open(t, o)
	o.AllowStaleReads = true
	y := s.open(t, o)
	for i := range 50 {
		r := record(0)
		r.Bytes = uint64(i)
		require.NoError(t, x.Put(t.Context(), []index.Record{r}))
		require.Eventually(t, func() bool {
			got, err := y.Locate(t.Context(), &r.Key, nil)
			return err == nil && len(got) == 1 && got[0] == r
		}, patience, tick)
	}
	_, err := x.ClearWorker(t.Context(), "w")
	require.NoError(t, err)
	k := record(0).Key
	require.Eventually(t, func() bool {
		got, err := y.Locate(t.Context(), &k, nil)
		return err == nil && len(got) == 0
	}, patience, tick)
}

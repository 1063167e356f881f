package redis_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/redis"
)

// crowd are records of few blocks on many workers, behind two parents, and of many
// blocks with one parent.
func crowd() []index.Record {
	var rs []index.Record
	for i := range 3 {
		for w := range 150 {
			r := record(i)
			r.Worker, r.Bytes = fmt.Sprint("w\xff", w), uint64(w)
			if w%3 == 0 {
				r.Prefix = "another"
			}
			if w%2 == 0 {
				r.Tier = index.LocalSSD
			}
			rs = append(rs, r)
		}
	}
	for i := range 200 {
		r := record(1000 + i)
		r.Prefix = record(2).Hash // whose records are many
		rs = append(rs, r)
	}
	return rs
}

// TestCrowd: blocks with many records or children are as others are, and nothing
// of them is left, whatever removes them.
func TestCrowd(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	o := s.options(index.Options{})
	x := s.open(t, o)
	o.AllowStaleReads = true
	y := s.open(t, o)
	rs := crowd()
	ctx := t.Context()
	for way, remove := range map[string]func() error{
		"remove": func() error {
			var all []index.Removal
			for i := range rs {
				all = append(all, index.Removal{Scope: rs[i].Scope, Worker: rs[i].Worker, Hash: rs[i].Hash, Tier: rs[i].Tier})
			}
			n, err := x.Remove(ctx, all[:300])
			require.Equal(t, 300, n)
			require.NoError(t, err)
			require.Len(t, snapshot(t, x), len(rs)-300)
			n, err = x.Remove(ctx, all)
			require.Equal(t, len(rs)-300, n)
			return err
		},
		"workers": func() error {
			for i := range rs {
				if _, err := x.ClearWorker(ctx, rs[i].Worker); err != nil {
					return err
				}
			}
			return nil
		},
		"expire": func() error { _, err := x.Expire(ctx, 1<<63); return err },
		"clear":  func() error { return x.Clear(ctx) },
	} {
		for i := 0; i < len(rs); i += 100 {
			require.NoError(t, x.Put(ctx, rs[i:min(i+100, len(rs))]), way)
		}
		check(t, []*redis.Index{x, y}, rs)
		for i := range rs {
			rs[i].Bytes++
		}
		require.NoError(t, x.Put(ctx, rs), way)
		check(t, []*redis.Index{x}, rs)
		require.NoError(t, remove(), way)
		require.Equal(t, []string{"kvferry:{*}q", "kvferry:{*}r", "kvferry:{*}v"}, s.keys(), way)
	}
}

// TestCrowdIsNotRead: who removes what one worker has of a block reads nothing of the
// records that thousands of others may have there: nobody else is answered meanwhile.
func TestCrowdIsNotRead(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	x, rs := s.open(t, s.options(index.Options{})), crowd()
	require.NoError(t, x.Put(t.Context(), rs))
	s.must("CONFIG", "RESETSTAT")
	n, err := x.Remove(t.Context(), []index.Removal{{Scope: rs[0].Scope, Worker: rs[0].Worker, Hash: rs[0].Hash}})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = x.ClearWorker(t.Context(), rs[1].Worker)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	stats, err := s.text("INFO", "commandstats")
	require.NoError(t, err)
	require.NotContains(t, stats, "cmdstat_hgetall:")
	require.NotContains(t, stats, "cmdstat_hvals:")
}

func snapshot(t *testing.T, x index.Index) []index.Record {
	t.Helper()
	var got []index.Record
	_, err := x.Snapshot(t.Context(), func(r *index.Record) error { got = append(got, *r); return nil })
	require.NoError(t, err)
	return got
}

// check requires that readers find records.
func check(t *testing.T, xs []*redis.Index, rs []index.Record) {
	t.Helper()
	want := append([]index.Record{}, rs...)
	index.Sort(want)
	require.Equal(t, want, snapshot(t, xs[0]))
	m, err := xs[0].Metrics(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(len(rs)), m.ResidentBlocks)
	of := func(is func(r *index.Record) bool) (out []index.Record) {
		for i := range want {
			if is(&want[i]) {
				out = append(out, want[i])
			}
		}
		return out
	}
	one := rs[0]
	got, err := xs[0].ByHash(t.Context(), one.Hash, nil)
	require.NoError(t, err)
	require.Equal(t, of(func(r *index.Record) bool { return r.Hash == one.Hash }), got)
	parent := record(2).Hash
	got, err = xs[0].Scan(t.Context(), &one.Scope, parent, nil)
	require.NoError(t, err)
	require.Equal(t, of(func(r *index.Record) bool { return r.Prefix == parent }), got)
	same := of(func(r *index.Record) bool { return r.Key == one.Key })
	got, err = xs[0].Locate(t.Context(), &one.Key, nil)
	require.NoError(t, err)
	require.Equal(t, same, got)
	for _, x := range xs[1:] { // which may be late
		require.Eventually(t, func() bool {
			got, err := x.Locate(t.Context(), &one.Key, nil)
			require.NoError(t, err)
			return slices.Equal(same, got)
		}, patience, tick)
	}
	one = record(0)
	ms, err := xs[0].Match(t.Context(), &index.Query{Scope: one.Scope, Hashes: []string{one.Hash, record(1).Hash}}, nil)
	require.NoError(t, err)
	require.Len(t, ms, 100, "those whose parent is the right one")
	require.Equal(t, 2, ms[0].Blocks)
}

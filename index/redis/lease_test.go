package redis_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/redis"
)

const (
	patience = 30 * time.Second
	tick     = 2 * time.Millisecond
)

// reads are all readers, which have to agree on what there is.
func reads(t testing.TB, x index.Index, r *index.Record) []int {
	t.Helper()
	ctx := t.Context()
	var n [6]int
	a, err := x.Locate(ctx, &r.Key, nil)
	require.NoError(t, err)
	b, err := x.Scan(ctx, &r.Scope, r.Prefix, nil)
	require.NoError(t, err)
	c, err := x.ByHash(ctx, r.Hash, nil)
	require.NoError(t, err)
	d, err := x.Match(ctx, &index.Query{Scope: r.Scope, Hashes: []string{r.Hash}}, nil)
	require.NoError(t, err)
	_, err = x.Snapshot(ctx, func(*index.Record) error { n[4]++; return nil })
	require.NoError(t, err)
	m, err := x.Metrics(ctx)
	require.NoError(t, err)
	n[0], n[1], n[2], n[3], n[5] = len(a), len(b), len(c), len(d), int(m.ResidentBlocks)
	return n[:]
}

// leases are the tests of leases, on a server or a cluster.
func leases(t *testing.T, open func(t testing.TB, o redis.Options) *redis.Index) {
	t.Run("a dead worker disappears", func(t *testing.T) {
		x := open(t, redis.Options{Lease: 50 * time.Millisecond})
		r := record(0)
		kept := record(0)
		kept.Worker = "never announced"
		// Who is slower than the lease puts records of a worker that has none.
		require.NoError(t, x.Put(t.Context(), []index.Record{r, kept}))
		require.NoError(t, x.Announce(t.Context(), "w", 1))
		require.Eventually(t, func() bool {
			ws, err := x.Workers(t.Context())
			require.NoError(t, err)
			return len(ws) == 1 && ws[0].Name == "never announced"
		}, patience, tick)
		require.Equal(t, []int{1, 1, 1, 1, 1, 1}, reads(t, x, &r))
		// The next life has none of it.
		require.NoError(t, x.Announce(t.Context(), "w", 1))
		require.Equal(t, []int{1, 1, 1, 1, 1, 1}, reads(t, x, &r))
	})
	t.Run("a put begins a life without a lease", func(t *testing.T) {
		x := open(t, redis.Options{Lease: time.Millisecond})
		old, r := record(1), record(0)
		require.NoError(t, x.Put(t.Context(), []index.Record{old}))
		require.NoError(t, x.Announce(t.Context(), "w", 1))
		require.Eventually(t, func() bool {
			got, err := x.Locate(t.Context(), &old.Key, nil)
			require.NoError(t, err)
			return len(got) == 0
		}, patience, tick)
		require.NoError(t, x.Put(t.Context(), []index.Record{r}))
		require.Equal(t, []int{1, 1, 1, 1, 1, 1}, reads(t, x, &r))
		got, err := x.Locate(t.Context(), &old.Key, nil)
		require.NoError(t, err)
		require.Empty(t, got)
	})
	t.Run("renewed leases do not run out", func(t *testing.T) {
		const lease = time.Second
		x := open(t, redis.Options{Lease: lease, Renew: true})
		r := record(0)
		require.NoError(t, x.Announce(t.Context(), "w", 1))
		require.NoError(t, x.Put(t.Context(), []index.Record{r}))
		// Another one, which nobody renews, says when that time has passed.
		y := open(t, redis.Options{Lease: 2 * lease})
		require.NoError(t, y.Announce(t.Context(), "clock", 1))
		require.Eventually(t, func() bool {
			ws, err := y.Workers(t.Context())
			require.NoError(t, err)
			require.Contains(t, ws, index.Worker{Name: "w", Incarnation: 1, Blocks: 1})
			return len(ws) == 1
		}, patience, tick)
		require.NoError(t, x.Close())
		require.Eventually(t, func() bool {
			ws, err := y.Workers(t.Context())
			require.NoError(t, err)
			return len(ws) == 0
		}, patience, tick)
	})
	t.Run("another incarnation", func(t *testing.T) {
		x := open(t, redis.Options{Lease: redis.NoLease})
		volatile, kept := record(0), record(1)
		kept.Tier = index.LocalSSD
		require.NoError(t, x.Announce(t.Context(), "w", 1))
		require.NoError(t, x.Put(t.Context(), []index.Record{volatile, kept}))
		require.NoError(t, x.Announce(t.Context(), "w", 1))
		require.Equal(t, []int{1, 1, 1, 1, 2, 2}, reads(t, x, &volatile))
		require.NoError(t, x.Announce(t.Context(), "w", 2))
		require.Equal(t, []int{0, 0, 0, 0, 1, 1}, reads(t, x, &volatile))
		require.NoError(t, x.Put(t.Context(), []index.Record{volatile}))
		require.Equal(t, []int{1, 1, 1, 1, 2, 2}, reads(t, x, &volatile))
	})
}

// prefixed opens indexes that share a prefix within a test.
func prefixed(s *server, base redis.Options) func(t testing.TB, o redis.Options) *redis.Index {
	return func(t testing.TB, o redis.Options) *redis.Index {
		o.Addresses, o.Timeout, o.Prefix = base.Addresses, base.Timeout, t.Name()
		return s.open(t, o)
	}
}

func TestLeases(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	leases(t, prefixed(s, s.options(index.Options{})))
}

// many returns records of n blocks of a worker.
func many(n int) []index.Record {
	rs := make([]index.Record, n)
	for i := range rs {
		rs[i] = record(i)
		rs[i].Tenant = fmt.Sprint(i % 3)
	}
	return rs
}

// TestLargeSteps: what takes several steps ends where it should, and tells
// watchers that they have missed something.
func TestLargeSteps(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	rs := many(5000)
	for name, way := range map[string]func(x *redis.Index) (int, error){
		"clear worker": func(x *redis.Index) (int, error) { return x.ClearWorker(t.Context(), "w") },
		"expire":       func(x *redis.Index) (int, error) { return x.Expire(t.Context(), 5000) },
		"clear": func(x *redis.Index) (int, error) {
			before, err := x.Metrics(t.Context())
			require.NoError(t, err)
			err = x.Clear(t.Context())
			return int(before.ResidentBlocks), err
		},
		"lease": func(x *redis.Index) (int, error) {
			require.NoError(t, x.Announce(t.Context(), "w", 1))
			require.Eventually(t, func() bool {
				ws, err := x.Workers(t.Context())
				require.NoError(t, err)
				return len(ws) == 0
			}, patience, tick)
			n := 5000
			return n, x.Put(t.Context(), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := s.options(index.Options{})
			o.Prefix, o.Lease = name, 10*time.Millisecond
			x := s.open(t, o)
			m, err := x.Metrics(t.Context())
			require.NoError(t, err)
			var watched error
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			done := make(chan struct{})
			go func() {
				defer close(done)
				for _, err := range x.Watch(ctx, m.Seq) {
					watched = err
				}
			}()
			require.Eventually(t, func() bool {
				return slices.Contains(s.keys(), name+"{*}x")
			}, patience, tick, "changes are not kept")
			require.NoError(t, x.Put(t.Context(), rs))
			n, err := way(x)
			require.NoError(t, err)
			require.GreaterOrEqual(t, n, len(rs))
			require.Equal(t, []int{0, 0, 0, 0, 0, 0}, reads(t, x, &rs[0]))
			<-done
			require.ErrorIs(t, watched, kvferry.ErrExpired)
		})
	}
}

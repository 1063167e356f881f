package redis_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/redis"
)

// gone waits until nobody is listed any more.
func gone(t testing.TB, x index.Index) {
	t.Helper()
	require.Eventually(t, func() bool {
		ws, err := x.Workers(t.Context())
		require.NoError(t, err)
		return len(ws) == 0
	}, patience, tick)
}

// renewals are the tests of leases that an Index renews, on a server or a cluster.
func renewals(t *testing.T, open func(t testing.TB, o redis.Options) *redis.Index) {
	const lease = 300 * time.Millisecond
	t.Run("whoever announced last", func(t *testing.T) {
		x, y := open(t, redis.Options{Lease: lease, Renew: true}), open(t, redis.Options{Lease: lease, Renew: true})
		clock := open(t, redis.Options{Lease: 3 * lease})
		r := record(0)
		require.NoError(t, x.Announce(t.Context(), "w", 1))
		require.NoError(t, y.Announce(t.Context(), "w", 2))
		require.NoError(t, x.Put(t.Context(), []index.Record{r}))
		require.NoError(t, y.Close())
		require.NoError(t, clock.Announce(t.Context(), "clock", 1))
		require.Eventually(t, func() bool {
			ws, err := clock.Workers(t.Context())
			require.NoError(t, err)
			require.Contains(t, ws, index.Worker{Name: "w", Incarnation: 2, Blocks: 1})
			return len(ws) == 1
		}, patience, tick)
		require.NoError(t, x.Close())
		gone(t, clock)
	})
	t.Run("not of a worker that was cleared", func(t *testing.T) {
		x := open(t, redis.Options{Lease: lease, Renew: true})
		r := record(0)
		require.NoError(t, x.Announce(t.Context(), "w", 1))
		require.NoError(t, x.Put(t.Context(), []index.Record{r}))
		_, err := x.ClearWorker(t.Context(), "w")
		require.NoError(t, err)
		gone(t, x)
		// It is heard of again: with a lease, as before.
		require.NoError(t, x.Put(t.Context(), []index.Record{r}))
		ws, err := x.Workers(t.Context())
		require.NoError(t, err)
		require.Equal(t, []index.Worker{{Name: "w", Incarnation: 1, Blocks: 1}}, ws)
		require.NoError(t, x.Close())
		gone(t, open(t, redis.Options{}))
	})
}

func TestRenewals(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	renewals(t, prefixed(s, s.options(index.Options{})))
}

// TestLapse: a lease that ran out because the server was away is begun again, and
// nothing that is put later stays for ever.
func TestLapse(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for name, lapse := range map[string]func(prefix string){
		"ran out": func(prefix string) { s.must("ZADD", prefix+"{*}l", "1", "w") },
		"reaped":  func(prefix string) { s.must("DEL", prefix+"{*}l", prefix+"{*}i") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := s.options(index.Options{})
			o.Prefix, o.Renew, o.Lease = name, true, time.Second
			x, err := redis.Open(t.Context(), o)
			require.NoError(t, err)
			require.NoError(t, x.Announce(t.Context(), "w", 1))
			lapse(name)
			require.Eventually(t, func() bool {
				deadline, err := s.do("ZSCORE", name+"{*}l", "w").AsFloat64()
				return err == nil && deadline > 1
			}, patience, tick, "nobody noticed")
			require.NoError(t, x.Put(t.Context(), []index.Record{record(0)}))
			require.NoError(t, x.Close())
			gone(t, s.open(t, o))
		})
	}
	t.Run("a put is faster", func(t *testing.T) {
		t.Parallel()
		o := s.options(index.Options{})
		o.Prefix, o.Renew = "faster", true
		x := s.open(t, o)
		require.NoError(t, x.Announce(t.Context(), "w", 1))
		s.must("ZADD", "faster{*}l", "1", "w")
		require.NoError(t, x.Put(t.Context(), []index.Record{record(0)}))
		deadline, err := s.do("ZSCORE", "faster{*}l", "w").AsFloat64()
		require.NoError(t, err, "no lease")
		require.Greater(t, deadline, 1.)
	})
}

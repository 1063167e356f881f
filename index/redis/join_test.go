package redis_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/redis"
)

// joins are the tests of several that follow one worker, on a server or a cluster.
func joins(t *testing.T, open func(t testing.TB, o redis.Options) *redis.Index) {
	const lease = 300 * time.Millisecond
	join := func(x *redis.Index, was, number, want uint64) {
		t.Helper()
		got, err := x.Join(t.Context(), "w", was, number)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	t.Run("the second takes part", func(t *testing.T) {
		x, y := open(t, redis.Options{Lease: lease, Renew: true}), open(t, redis.Options{Lease: lease, Renew: true})
		clock := open(t, redis.Options{Lease: 3 * lease})
		r := record(0)
		join(x, 0, 7, 7)
		require.NoError(t, x.Put(t.Context(), []index.Record{r}))
		join(y, 0, 8, 7)
		require.Equal(t, []int{1, 1, 1, 1, 1, 1}, reads(t, x, &r), "nothing was removed")

		// Each of them sees that the worker began again, one sooner.
		join(x, 7, 9, 9)
		require.Equal(t, []int{0, 0, 0, 0, 0, 0}, reads(t, x, &r))
		require.NoError(t, x.Put(t.Context(), []index.Record{r}))
		join(y, 7, 10, 9)
		require.Equal(t, []int{1, 1, 1, 1, 1, 1}, reads(t, x, &r))

		// The lease lasts as long as either of them renews it.
		require.NoError(t, x.Close())
		require.NoError(t, clock.Announce(t.Context(), "clock", 1))
		require.Eventually(t, func() bool {
			ws, err := clock.Workers(t.Context())
			require.NoError(t, err)
			require.Contains(t, ws, index.Worker{Name: "w", Incarnation: 9, Blocks: 1})
			return len(ws) == 1
		}, patience, tick)
		y.Leave("w")
		gone(t, clock)
		require.Equal(t, []int{0, 0, 0, 0, 0, 0}, reads(t, clock, &r))
		join(y, 0, 11, 11)
	})
	t.Run("a longer lease stays", func(t *testing.T) {
		x, y := open(t, redis.Options{Lease: time.Hour}), open(t, redis.Options{Lease: 20 * time.Millisecond, Renew: true})
		join(x, 0, 1, 1)
		join(y, 0, 2, 1)
		require.NoError(t, y.Announce(t.Context(), "clock", 1))
		require.NoError(t, y.Close())
		require.Eventually(t, func() bool {
			ws, err := x.Workers(t.Context())
			require.NoError(t, err)
			require.Contains(t, ws, index.Worker{Name: "w", Incarnation: 1})
			return len(ws) == 1
		}, patience, tick)
	})
	t.Run("nonsense", func(t *testing.T) {
		_, err := open(t, redis.Options{}).Join(t.Context(), "w", 0, 0)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	})
}

func TestJoins(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	joins(t, prefixed(s, s.options(index.Options{})))
}

// TestLapsed: who holds a lease that ran out is told, once.
func TestLapsed(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	o := s.options(index.Options{})
	o.Renew, o.Lease = true, 500*time.Millisecond
	x := s.open(t, o)
	for _, w := range []string{"w", "left", "lives"} {
		_, err := x.Join(t.Context(), w, 0, 5)
		require.NoError(t, err)
	}
	x.Leave("left")
	require.NoError(t, x.Put(t.Context(), []index.Record{record(0)}))
	s.must("ZADD", "kvferry:{*}l", "1", "w", "1", "left")
	got, err := x.Lapsed(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"w"}, got)
	// It has a lease, and what is put again stays.
	require.NoError(t, x.Put(t.Context(), []index.Record{record(1)}))
	require.Len(t, consistent(t, x), 1)
	ws, err := x.Workers(t.Context())
	require.NoError(t, err)
	require.Contains(t, ws, index.Worker{Name: "w", Incarnation: 5, Blocks: 1})

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = x.Lapsed(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, x.Close())
	_, err = x.Lapsed(t.Context())
	require.ErrorIs(t, err, kvferry.ErrClosed)
}

// TestReapedBeforeAPut: a worker whose lease somebody else has cleaned up after
// has one again before anything of it is put.
func TestReapedBeforeAPut(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	o := s.options(index.Options{})
	o.Renew = true // the next time in 20 minutes
	x := s.open(t, o)
	_, err := x.Join(t.Context(), "w", 0, 5)
	require.NoError(t, err)
	s.must("DEL", "kvferry:{*}l", "kvferry:{*}i")
	require.NoError(t, x.Put(t.Context(), []index.Record{record(0)}))
	deadline, err := s.do("ZSCORE", "kvferry:{*}l", "w").AsFloat64()
	require.NoError(t, err, "no lease")
	require.Greater(t, deadline, 1.)
	got, err := x.Lapsed(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"w"}, got)
}

// TestLapseOfAnother: who begins a lease again that ran out takes nothing from an
// incarnation that somebody else has announced in the meantime.
func TestLapseOfAnother(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	o := s.options(index.Options{})
	o.Renew = true
	x, y := s.open(t, o), s.open(t, o)
	require.NoError(t, x.Announce(t.Context(), "w", 5))
	require.NoError(t, y.Announce(t.Context(), "w", 7))
	require.NoError(t, y.Put(t.Context(), []index.Record{record(0)}))
	require.NoError(t, x.BeginAgain(t.Context(), "w"))
	require.Len(t, consistent(t, y), 1)
}

// TestClusterJoinsInTheMidst: what others do between two steps of an announcement or
// a put in a cluster.
func TestClusterJoinsInTheMidst(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 0)
	o := c.options(index.Options{})
	o.Renew = true // the next time in 20 minutes
	x := c.nodes[0].open(t, o)
	o.Renew = false
	y := c.nodes[0].open(t, o)
	ctx := t.Context()

	// Of two that announce a worker that nobody knew, the later notices.
	late, err := x.BeginAnnounce(ctx, "w", "4")
	require.NoError(t, err)
	holds, err := y.Join(ctx, "w", 0, 5)
	require.NoError(t, err)
	require.Equal(t, uint64(5), holds)
	done, err := late()
	require.NoError(t, err)
	require.False(t, done, "it has not seen incarnation 5")
	holds, err = x.Join(ctx, "w", 0, 4)
	require.NoError(t, err)
	require.Equal(t, uint64(5), holds)

	// A worker whose lease somebody else has cleaned up after has one again before
	// anything of it is put.
	o.Lease = time.Millisecond
	require.NoError(t, c.nodes[0].open(t, o).Announce(ctx, "w", 5))
	gone(t, y)
	require.NoError(t, y.Reap(ctx, "w"))
	require.NoError(t, x.Put(ctx, []index.Record{record(0)}))
	ws, err := y.Workers(ctx)
	require.NoError(t, err)
	require.Equal(t, []index.Worker{{Name: "w", Incarnation: 5, Blocks: 1}}, ws, "no lease")
	got, err := x.Lapsed(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"w"}, got)
}

package memory

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// Workers that come and go are forgotten one day, those with records are not; and
// what was forgotten does not make a worker's old records stay.
func TestAnnouncedWorkersAreForgotten(t *testing.T) {
	t.Parallel()
	x, ctx := newIndex(t), t.Context()
	put := func(worker string) {
		r := index.Record{Worker: worker, Tier: index.HBM}
		r.Prefix, r.Hash = index.Root, worker
		require.NoError(t, x.Put(ctx, []index.Record{r}))
	}
	require.NoError(t, x.Announce(ctx, "holds", 1))
	put("holds")
	require.NoError(t, x.Announce(ctx, "early", 1))
	put("other")
	for i := range maxAnnounced + 10 {
		require.NoError(t, x.Announce(ctx, strconv.Itoa(i), 1))
	}
	m, err := x.Metrics(ctx)
	require.NoError(t, err)
	ws, err := x.Workers(ctx)
	require.NoError(t, err)
	require.EqualValues(t, len(ws), m.Workers)
	require.Less(t, len(ws), maxAnnounced*3/4)
	require.EqualValues(t, 1, x.incarnation("holds"))
	require.EqualValues(t, 1, x.incarnation(strconv.Itoa(maxAnnounced+9)))
	require.Zero(t, x.incarnation("early"))
	put("early")
	require.NoError(t, x.Announce(ctx, "early", 2))
	rs, err := x.ByHash(ctx, "early", nil)
	require.NoError(t, err)
	require.Empty(t, rs)
}

// What Metrics costs does not grow with the workers that were announced: it makes
// no list of them.
func TestMetricsListNoWorkers(t *testing.T) {
	x, ctx := newIndex(t), t.Context()
	for i := range 1000 {
		require.NoError(t, x.Announce(ctx, strconv.Itoa(i), 1))
	}
	require.LessOrEqual(t, testing.AllocsPerRun(10, func() {
		m, err := x.Metrics(ctx)
		require.NoError(t, err)
		require.EqualValues(t, 1000, m.Workers)
	}), 4.0)
}

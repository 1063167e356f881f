package pipelinetest

import (
	"context"
	"math"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pipelinecache"
)

var (
	contextTests = []test{
		{name: "a cancelled call does nothing", run: testCancelled},
		{name: "a cancelled put does nothing", excludes: []Ability{ReadOnly}, run: testCancelledPut},
	}
	metricsTests = []test{
		{name: "a new store", run: testMetricsNew},
		{name: "what is counted", needs: []Ability{Counts}, run: testCounts},
		{name: "what is kept", needs: []Ability{Gauges}, run: testGauges},
	}
	durableTests = []test{
		{name: "flush", run: testFlush},
		{name: "opened again", needs: []Ability{Persists}, run: testReopen},
	}
)

// cancelled returns a context that is done.
func (s *subject) cancelled() context.Context {
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	return ctx
}

func testCancelled(s *subject) {
	s.keep(key(1), []byte("there"))
	for _, f := range []pipelinecache.Fingerprint{key(1), key(2)} {
		got, err := s.Get(s.cancelled(), f)
		require.ErrorIs(s, err, context.Canceled)
		require.Nil(s, got)
		got, err = s.GetShared(s.cancelled(), f)
		require.ErrorIs(s, err, context.Canceled)
		require.Nil(s, got)
	}
	require.ErrorIs(s, s.Flush(s.cancelled()), context.Canceled)
	s.requireHas(key(1), []byte("there"))
	s.requireMiss(key(2))
	requireIdentity(s, s.Metrics())
}

func testCancelledPut(s *subject) {
	s.keep(key(1), []byte("there"))
	for _, f := range []pipelinecache.Fingerprint{key(1), key(2)} {
		require.ErrorIs(s, s.Put(s.cancelled(), f, []byte("new")), context.Canceled)
		require.ErrorIs(s, s.PutShared(s.cancelled(), f, []byte("new")), context.Canceled)
	}
	s.requireHas(key(1), []byte("there"))
	s.requireMiss(key(2))
}

func testMetricsNew(s *subject) {
	require.Zero(s, s.Metrics())
}

// requireIdentity holds what is true of the metrics of all stores, layered ones
// included, whenever nobody is in a call.
func requireIdentity(t require.TestingT, m pipelinecache.Metrics) {
	require.Equal(t, m.Lookups, m.Hits+m.Misses, "lookups are hits and misses")
	require.LessOrEqual(t, m.FlushErrors, m.Flushes)
	require.Less(t, m.CachedBytes, uint64(math.MaxInt64), "a gauge went below 0")
	require.Less(t, m.Entries, uint64(math.MaxInt64), "a gauge went below 0")
}

// testCounts bears that a layered store counts lookups, misses and puts of each
// layer: its hits alone are those of the calls.
func testCounts(s *subject) {
	const n = 20
	for i := range n {
		s.keep(key(i), noise(uint64(i), i))
	}
	before := s.Metrics()
	requireIdentity(s, before)
	if !s.config.can(ReadOnly) {
		require.GreaterOrEqual(s, before.Puts, uint64(n))
	}
	require.Zero(s, before.RejectedPuts)
	for i := range 3 * n { // a third hits
		_, err := s.Get(s.Context(), key(i))
		require.Equal(s, i < n, err == nil)
	}
	_, err := s.GetShared(s.Context(), key(0))
	require.NoError(s, err)
	after := s.Metrics()
	requireIdentity(s, after)
	require.Equal(s, uint64(n+1), after.Hits-before.Hits)
	require.GreaterOrEqual(s, after.Misses-before.Misses, uint64(2*n))
	require.GreaterOrEqual(s, after.Lookups-before.Lookups, uint64(3*n+1))
}

func testGauges(s *subject) {
	require.Zero(s, s.Metrics())
	require.NoError(s, s.Put(s.Context(), key(1), noise(1, 100)))
	require.NoError(s, s.PutShared(s.Context(), key(2), noise(2, 200)))
	require.NoError(s, s.Put(s.Context(), key(3), nil))
	require.NoError(s, s.Put(s.Context(), key(1), noise(3, 30)))
	m := s.Metrics()
	require.Equal(s, uint64(3), m.Entries)
	require.Equal(s, uint64(230), m.CachedBytes)
	require.Zero(s, m.Evictions, "a replacement is no eviction")
	require.Zero(s, m.EvictedBytes)
}

func testFlush(s *subject) {
	require.NoError(s, s.Flush(s.Context()))
	s.keep(key(1), noise(1, 100))
	require.NoError(s, s.Flush(s.Context()))
	require.NoError(s, s.Flush(s.Context()))
	s.requireHas(key(1), noise(1, 100))
	require.Zero(s, s.Metrics().FlushErrors)
}

func testReopen(s *subject) {
	for i := range 20 {
		s.keep(key(i), noise(uint64(i), i*100))
	}
	s.keep(key(3), noise(300, 300))
	require.NoError(s, s.Flush(s.Context()))
	again := openIn(s.T, s.config, s.setup)
	for i := range 20 {
		want := noise(uint64(i), i*100)
		if i == 3 {
			want = noise(300, 300)
		}
		again.requireHas(key(i), want)
	}
	again.requireMiss(key(20))
}

package memory_test

import (
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/memory"
)

// TestUpstreamInMemory holds what vyre-runtime's tests of its in_memory module
// expect, under their names.
func TestUpstreamInMemory(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"roundtrip", roundtrip},
		{"caps_each_shard", capsEachShard},
		{"evicts_least_recently_used_entry", evictsLeastRecentlyUsed},
		{"enforces_byte_budget", enforcesByteBudget},
		{"metrics_track", metricsTrack},
		{"eviction_report_records", evictionReportRecords},
		{"rejected_oversize_put_records", rejectedOversizePutRecords},
		{"poisoned_shard", poisonedShard},
	} {
		t.Run(c.name, c.run)
	}
}

func roundtrip(t *testing.T) {
	s := open(t, memory.Options{})
	require.False(t, has(t, s, key(1, 1)))
	put(t, s, key(1, 1), "driver-pipeline-blob")
	got, err := s.Get(t.Context(), key(1, 1))
	require.NoError(t, err)
	require.Equal(t, "driver-pipeline-blob", string(got))
	require.Equal(t, uint64(1), s.Metrics().Entries)
}

func capsEachShard(t *testing.T) {
	s := open(t, memory.Options{})
	for i := range 273 {
		put(t, s, pipelinecache.Fingerprint{0, byte(i), byte(i >> 8)}, "x")
	}
	m := s.Metrics()
	require.Equal(t, uint64(256), m.Entries)
	require.Equal(t, uint64(273-256), m.Evictions)
}

func evictsLeastRecentlyUsed(t *testing.T) {
	s := open(t, memory.Options{ShardEntries: 2, ShardBytes: 1024})
	a, b, c := key(0, 1), key(0, 2), key(0, 3)
	put(t, s, a, "a")
	put(t, s, b, "b")
	require.True(t, has(t, s, a))
	put(t, s, c, "c")
	require.True(t, has(t, s, a))
	require.False(t, has(t, s, b))
	require.True(t, has(t, s, c))
}

func enforcesByteBudget(t *testing.T) {
	s := open(t, memory.Options{ShardEntries: 8, ShardBytes: 10})
	put(t, s, key(0, 1), "123456")
	put(t, s, key(0, 2), "abcdef")
	require.False(t, has(t, s, key(0, 1)))
	require.True(t, has(t, s, key(0, 2)))
	require.Equal(t, uint64(6), s.Metrics().CachedBytes)
	require.ErrorIs(t, s.Put(t.Context(), key(0, 3), make([]byte, 11)), kvferry.ErrQuota)
	require.False(t, has(t, s, key(0, 3)))
	require.True(t, has(t, s, key(0, 2)))
	require.Equal(t, uint64(6), s.Metrics().CachedBytes)
}

func metricsTrack(t *testing.T) {
	s := open(t, memory.Options{ShardEntries: 1, ShardBytes: 8})
	require.False(t, has(t, s, key(0, 1)))
	put(t, s, key(0, 1), "aaaa")
	require.True(t, has(t, s, key(0, 1)))
	put(t, s, key(0, 2), "bbbb")
	m := s.Metrics()
	require.Equal(t, pipelinecache.Metrics{
		Lookups: 2, Hits: 1, Misses: 1, Puts: 2, Evictions: 1, EvictedBytes: 4, CachedBytes: 4, Entries: 1,
	}, m)
	ppm, err := m.HitRatePPM()
	require.NoError(t, err)
	require.Equal(t, uint32(500_000), ppm)
}

func evictionReportRecords(t *testing.T) {
	s := open(t, memory.Options{ShardEntries: 1, ShardBytes: 8})
	require.Empty(t, s.EvictionReports())
	put(t, s, key(0, 1), "aaaa")
	put(t, s, key(0, 2), "bbbb")
	require.Equal(t, []memory.EvictionReport{
		{Entries: 1, Bytes: 4, MaxAgeTicks: 1, Reason: memory.EntryLimit},
	}, s.EvictionReports())
}

func rejectedOversizePutRecords(t *testing.T) {
	s := open(t, memory.Options{ShardEntries: 8, ShardBytes: 8})
	put(t, s, key(0, 1), "aaaa")
	require.ErrorIs(t, s.Put(t.Context(), key(0, 1), make([]byte, 9)), kvferry.ErrQuota)
	require.False(t, has(t, s, key(0, 1)))
	reports := s.EvictionReports()
	require.Len(t, reports, 1)
	require.Equal(t, memory.RejectedPut, reports[0].Reason)
	require.Equal(t, uint64(1), reports[0].Entries)
	require.Equal(t, uint64(4), reports[0].Bytes)
	m := s.Metrics()
	require.Equal(t, uint64(1), m.RejectedPuts)
	require.Equal(t, uint64(1), m.Evictions)
	require.Equal(t, uint64(4), m.EvictedBytes)
	require.Zero(t, m.Entries)
}

// poisonedShard is the guarantee that stands for upstream's: what a caller hands
// in runs under no lock, so a panic in it leaves the shard usable.
func poisonedShard(t *testing.T) {
	s := open(t, memory.Options{})
	put(t, s, key(0, 1), "there")
	ctx := panics{t.Context()}
	require.Panics(t, func() { _, _ = s.Get(ctx, key(0, 1)) })
	require.Panics(t, func() { _ = s.Put(ctx, key(0, 1), nil) })
	require.Panics(t, func() { _ = s.Put(ctx, key(0, 1), make([]byte, memory.DefaultShardBytes+1)) })
	require.True(t, has(t, s, key(0, 1)))
	put(t, s, key(0, 2), "new")
	require.Empty(t, s.EvictionReports())
}

// TestUpstreamConcurrency holds what upstream's concurrency tests expect beyond
// the suite's own fingerprints test: a store that is shared with a worker
// outlives its creator's handle.
func TestUpstreamConcurrency(t *testing.T) {
	t.Parallel()
	s := open(t, memory.Options{})
	put(t, s, key(7, 7), "shared")
	release := make(chan struct{})
	var wg sync.WaitGroup
	worker := s
	wg.Go(func() {
		<-release
		got, err := worker.Get(t.Context(), key(7, 7))
		assert.NoError(t, err)
		assert.Equal(t, "shared", string(got))
	})
	s = nil
	runtime.GC()
	close(release)
	wg.Wait()
	require.Nil(t, s)
}

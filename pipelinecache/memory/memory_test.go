package memory_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/memory"
	"github.com/kvferry/kvferry/pipelinecache/pipelinetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, o memory.Options) *memory.Store {
	t.Helper()
	s, err := memory.New(o)
	require.NoError(t, err)
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	pipelinetest.Run(t, pipelinetest.Config{
		Open: func(t testing.TB, _ pipelinetest.Setup) pipelinecache.Store {
			return open(t, memory.Options{ShardEntries: 300})
		},
		Abilities: []pipelinetest.Ability{pipelinetest.Counts, pipelinetest.Gauges, pipelinetest.Shares},
	})
}

func TestOptions(t *testing.T) {
	t.Parallel()
	var o memory.Options
	o.EnsureDefaults()
	require.Equal(t, memory.Options{ShardEntries: 256, ShardBytes: 16 << 20}, o)
	_, err := memory.New(memory.Options{ShardEntries: 1 << 30})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

// TestDisabled: either limit below 0 refuses all puts, those of no bytes too.
func TestDisabled(t *testing.T) {
	t.Parallel()
	for _, o := range []memory.Options{{ShardEntries: -1}, {ShardBytes: -1}} {
		s := open(t, o)
		require.ErrorIs(t, s.Put(t.Context(), key(0, 0), nil), kvferry.ErrQuota)
		require.ErrorIs(t, s.PutShared(t.Context(), key(0, 0), []byte{1}), kvferry.ErrQuota)
		_, err := s.Get(t.Context(), key(0, 0))
		require.ErrorIs(t, err, kvferry.ErrNotFound)
		require.Equal(t, pipelinecache.Metrics{Lookups: 1, Misses: 1, RejectedPuts: 2}, s.Metrics())
		require.Empty(t, s.EvictionReports())
	}
}

// TestTooLong: what no cache may keep is refused like what this one has no room
// for, and what it would have replaced goes.
func TestTooLong(t *testing.T) {
	t.Parallel()
	s := open(t, memory.Options{ShardBytes: 1 << 30})
	put(t, s, key(3, 0), "old")
	require.ErrorIs(t, s.PutShared(t.Context(), key(3, 0), make([]byte, pipelinecache.MaxArtifactBytes+1)), kvferry.ErrInvalid)
	require.False(t, has(t, s, key(3, 0)))
	require.Equal(t, []memory.EvictionReport{{Shard: 3, Entries: 1, Bytes: 3, MaxAgeTicks: 1, Reason: memory.RejectedPut}}, s.EvictionReports())
}

func TestReason(t *testing.T) {
	t.Parallel()
	require.Equal(t, "none", memory.Reason(0).String())
	require.Equal(t, "invalid", memory.Reason(5).String())
}

// TestAllocations: a shared hit and a miss allocate nothing, nor does a PutShared
// that finds its place in use.
func TestAllocations(t *testing.T) {
	s := open(t, memory.Options{ShardEntries: 2})
	ctx, artifact := t.Context(), []byte("artifact")
	for i := range byte(2) {
		require.NoError(t, s.PutShared(ctx, key(0, i), artifact))
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.GetShared(ctx, key(0, 0)) }), "hit")
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.GetShared(ctx, key(0, 9)) }), "miss")
	i := byte(2)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_ = s.PutShared(ctx, key(0, i), artifact)
		i++
	}), "put with eviction")
	require.NotZero(t, s.Metrics().Evictions)
}

// key returns a fingerprint of a shard.
func key(shard, k byte) pipelinecache.Fingerprint { return pipelinecache.Fingerprint{shard, k} }

func put(t testing.TB, s *memory.Store, f pipelinecache.Fingerprint, artifact string) {
	t.Helper()
	require.NoError(t, s.Put(t.Context(), f, []byte(artifact)))
}

func has(t testing.TB, s *memory.Store, f pipelinecache.Fingerprint) bool {
	t.Helper()
	_, err := s.Get(t.Context(), f)
	if err != nil {
		require.ErrorIs(t, err, kvferry.ErrNotFound)
	}
	return err == nil
}

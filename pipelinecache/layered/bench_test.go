package layered_test

import (
	"encoding/binary"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/layered"
	"github.com/kvferry/kvferry/pipelinecache/memory"
)

const benchEntries = 4096

// filled returns a store whose first layer has everything.
func filled(b *testing.B) (*layered.Store, []pipelinecache.Fingerprint) {
	b.Helper()
	s := layered.New(mem(b, memory.Options{}), mem(b, memory.Options{}))
	all := make([]pipelinecache.Fingerprint, benchEntries)
	for i := range all {
		all[i][0] = byte(i)
		binary.LittleEndian.PutUint64(all[i][8:], uint64(i)*0x9E3779B97F4A7C15)
		require.NoError(b, s.PutShared(b.Context(), all[i], make([]byte, 64)))
	}
	return s, all
}

// BenchmarkGetSharedTop hits the first of two layers in memory.
func BenchmarkGetSharedTop(b *testing.B) {
	s, all := filled(b)
	ctx := b.Context()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := s.GetShared(ctx, all[i%benchEntries]); err != nil {
			b.Fatal(err)
		}
		i++
	}
	require.Equal(b, uint64(i), s.Report().Hits[0])
}

// BenchmarkGetSharedTopParallel does that from as many goroutines as -cpu says.
func BenchmarkGetSharedTopParallel(b *testing.B) {
	s, all := filled(b)
	ctx := b.Context()
	var workers atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		i := int(workers.Add(1)) * 997
		for pb.Next() {
			if _, err := s.GetShared(ctx, all[i%benchEntries]); err != nil {
				b.Error(err)
				return
			}
			i++
		}
	})
}

// BenchmarkPromotion hits the second layer, and promotes into a first that keeps
// one artifact of each shard.
func BenchmarkPromotion(b *testing.B) {
	top, below := mem(b, memory.Options{ShardEntries: 1}), mem(b, memory.Options{})
	s := layered.New(top, below)
	all := make([]pipelinecache.Fingerprint, benchEntries)
	for i := range all {
		all[i] = pipelinecache.Fingerprint{byte(i), byte(i >> 8)}
		require.NoError(b, below.PutShared(b.Context(), all[i], make([]byte, 64)))
	}
	ctx := b.Context()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := s.GetShared(ctx, all[i%benchEntries]); err != nil {
			b.Fatal(err)
		}
		i++
	}
	require.Equal(b, uint64(i), s.Report().Hits[1])
}

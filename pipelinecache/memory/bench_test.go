package memory_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/memory"
)

// fingerprints returns n of them, as hashes are spread.
func fingerprints(n int) []pipelinecache.Fingerprint {
	r := rand.NewChaCha8([32]byte{1})
	all := make([]pipelinecache.Fingerprint, n)
	for i := range all {
		_, _ = r.Read(all[i][:])
	}
	return all
}

func filled(b *testing.B, n int) (*memory.Store, []pipelinecache.Fingerprint) {
	b.Helper()
	s := open(b, memory.Options{})
	all := fingerprints(n)
	for i, f := range all {
		artifact := binary.LittleEndian.AppendUint64(make([]byte, 0, 64), uint64(i))
		require.NoError(b, s.PutShared(b.Context(), f, artifact[:64]))
	}
	require.Zero(b, s.Metrics().Evictions)
	return s, all
}

// BenchmarkGetShared hits: everything is there, and asked for in turn.
func BenchmarkGetShared(b *testing.B) {
	for _, n := range []int{256, 4096, 32768} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			s, all := filled(b, n)
			ctx := b.Context()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := s.GetShared(ctx, all[i&(n-1)]); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

// BenchmarkGetSharedParallel hits from as many goroutines as -cpu says: in
// turn, each from another place on.
func BenchmarkGetSharedParallel(b *testing.B) {
	for _, n := range []int{256, 4096, 32768} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			s, all := filled(b, n)
			ctx := b.Context()
			var workers atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				i := int(workers.Add(1)) * 7919
				for pb.Next() {
					if _, err := s.GetShared(ctx, all[i&(n-1)]); err != nil {
						b.Error(err)
						return
					}
					i++
				}
			})
		})
	}
}

// BenchmarkGetSharedContended hits one artifact from as many goroutines as -cpu
// says: all want the same lock.
func BenchmarkGetSharedContended(b *testing.B) {
	s, all := filled(b, 1)
	ctx := b.Context()
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.GetShared(ctx, all[0]); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkGet copies each artifact.
func BenchmarkGet(b *testing.B) {
	for _, size := range []int{64, 64 << 10} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			s := open(b, memory.Options{})
			f, ctx := fingerprints(1)[0], b.Context()
			require.NoError(b, s.Put(ctx, f, make([]byte, size)))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Get(ctx, f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMiss asks a full store for what it does not have.
func BenchmarkMiss(b *testing.B) {
	s, all := filled(b, 4096)
	ctx := b.Context()
	for i := range all {
		all[i][31]++
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := s.GetShared(ctx, all[i&4095]); err == nil {
			b.Fatal("a hit")
		}
		i++
	}
}

// BenchmarkPutEvicts puts into shards that are full, so that each put evicts.
func BenchmarkPutEvicts(b *testing.B) {
	for _, entries := range []int{4, 64} {
		b.Run(fmt.Sprintf("shard-entries=%d", entries), func(b *testing.B) {
			s := open(b, memory.Options{ShardEntries: entries})
			all := fingerprints(256 * entries * 4)
			ctx, artifact := b.Context(), make([]byte, 64)
			for _, f := range all {
				require.NoError(b, s.PutShared(ctx, f, artifact))
			}
			before := s.Metrics()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if err := s.PutShared(ctx, all[i%len(all)], artifact); err != nil {
					b.Fatal(err)
				}
				i++
			}
			after := s.Metrics()
			b.ReportMetric(float64(after.Evictions-before.Evictions)/float64(after.Puts-before.Puts), "evictions/op")
		})
	}
}

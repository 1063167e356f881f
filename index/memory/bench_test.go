package memory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

func benchScope() index.Scope {
	return index.Scope{Model: "bench-model", Tokenizer: "bench-tok", Tenant: "bench-tenant"}
}

// defaults are the records of QuillCache's harness with its default flags.
func defaults() []index.Record {
	rs := make([]index.Record, 0, 40_000)
	r := index.Record{Worker: "worker-0", Tier: index.HBM, Bytes: 4 << 20}
	r.Scope, r.Tokens = benchScope(), 64
	for request := range 2000 {
		for i := range 20 {
			if r.Index = uint32(i); i < 16 {
				r.Prefix, r.Hash = "sp-"+strconv.Itoa(i), "shared-"+strconv.Itoa(i)
			} else {
				name := strconv.Itoa(request) + "-" + strconv.Itoa(i-16)
				r.Prefix, r.Hash = "uq-"+name, "uniq-"+name
			}
			rs = append(rs, r)
		}
	}
	return rs
}

// chain returns so many hashes of 64 digits.
func chain(n int, salt uint64) []string {
	hashes := make([]string, n)
	for i := range hashes {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %d", salt, i))
		hashes[i] = hex.EncodeToString(sum[:])
	}
	return hashes
}

// prompts are records of prompts of 100 blocks each.
func prompts(n int) []index.Record {
	hashes := chain(n, 0)
	rs := make([]index.Record, n)
	for i := range rs {
		r := &rs[i]
		*r = index.Record{Worker: "worker-" + strconv.Itoa(i/100%8), Tier: index.HBM, Bytes: 4 << 20, LastAccess: uint64(i)}
		r.Scope, r.Tokens, r.Index = benchScope(), 64, uint32(i%100)
		r.Prefix, r.Hash = index.Root, hashes[i]
		if i%100 > 0 {
			r.Prefix = hashes[i-1]
		}
	}
	return rs
}

// numbers are records as "kvferry bench index" makes them: hashes are decimal
// numbers, prompts of 200 blocks, 64 workers.
func numbers(n int) []index.Record {
	r := rand.New(rand.NewPCG(3, 4))
	rs := make([]index.Record, n)
	for i := range rs {
		q := &rs[i]
		*q = index.Record{Worker: "worker-" + strconv.Itoa(i/200%64), Tier: index.HBM, Bytes: 4 << 20, LastAccess: uint64(i)}
		q.Scope, q.Tokens, q.Index = benchScope(), 64, uint32(i%200)
		if q.Prefix = index.Root; i%200 > 0 {
			q.Prefix = rs[i-1].Hash
		}
		q.Hash = strconv.FormatUint(r.Uint64(), 10)
	}
	return rs
}

func newIndex(tb testing.TB) *Index {
	x, err := New(Options{})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, x.Close()) })
	return x
}

func filled(tb testing.TB, rs []index.Record) *Index {
	x := newIndex(tb)
	for len(rs) > 0 {
		n := min(len(rs), 1000)
		require.NoError(tb, x.Put(context.Background(), rs[:n]))
		rs = rs[n:]
	}
	return x
}

func BenchmarkPut(b *testing.B) {
	for _, w := range []struct {
		name string
		rs   []index.Record
	}{{"harness", defaults()}, {"1000000", prompts(1_000_000)}, {"numbers", numbers(1_000_000)}} {
		for _, batch := range []int{1, 20, 1000} {
			b.Run(fmt.Sprintf("records=%s/batch=%d", w.name, batch), func(b *testing.B) {
				b.ReportAllocs()
				ctx := context.Background()
				for b.Loop() {
					x, err := New(Options{})
					require.NoError(b, err)
					for i := 0; i < len(w.rs); i += batch {
						_ = x.Put(ctx, w.rs[i:min(i+batch, len(w.rs))])
					}
					b.StopTimer()
					m, err := x.Metrics(ctx)
					require.NoError(b, err)
					require.EqualValues(b, len(w.rs), m.Puts)
					require.NoError(b, x.Close())
					runtime.GC()
					b.StartTimer()
				}
				b.ReportMetric(float64(b.N)*float64(len(w.rs))/b.Elapsed().Seconds()/1e6, "Mputs/s")
			})
		}
	}
}

// BenchmarkMemory measures what a record costs: the heap with the index less the
// heap without.
func BenchmarkMemory(b *testing.B) {
	rs := prompts(1_000_000)
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		x := filled(b, rs)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(rs)), "heap-B/record")
		b.ReportMetric(float64(x.MemoryBytes())/float64(len(rs)), "slab-B/record")
		runtime.KeepAlive(x)
	}
}

func BenchmarkScan(b *testing.B) {
	for _, w := range []struct {
		name string
		rs   []index.Record
	}{{"harness", defaults()}, {"1000000", prompts(1_000_000)}} {
		b.Run("records="+w.name, func(b *testing.B) {
			x, s, r := filled(b, w.rs), benchScope(), rand.New(rand.NewPCG(1, 2))
			runtime.GC()
			dst := make([]index.Record, 0, 20000)
			times := make([]time.Duration, 0, 20000)
			b.ReportAllocs()
			for b.Loop() {
				prefix := w.rs[r.IntN(len(w.rs))].Prefix
				for prefix == index.Root { // with as many children as there are prompts
					prefix = w.rs[r.IntN(len(w.rs))].Prefix
				}
				start := time.Now()
				dst, _ = x.Scan(context.Background(), &s, prefix, dst[:0])
				if d := time.Since(start); len(times) < cap(times) {
					times = append(times, d)
				}
				if len(dst) != 1 {
					b.Fatal(len(dst), "records")
				}
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2]), "p50-ns")
			b.ReportMetric(float64(times[len(times)*99/100]), "p99-ns")
		})
	}
}

// BenchmarkMatch: a prompt that all workers hold, in an index of little else or
// a million records.
func BenchmarkMatch(b *testing.B) {
	for _, others := range []int{0, 1_000_000} {
		for _, workers := range []int{1, 64, 256} {
			for _, parallel := range []bool{false, true} {
				b.Run(fmt.Sprintf("others=%d/workers=%d/parallel=%t", others, workers, parallel), func(b *testing.B) {
					benchMatch(b, others, workers, parallel)
				})
			}
		}
	}
}

func benchMatch(b *testing.B, others, workers int, parallel bool) {
	const blocks = 2000
	x := filled(b, numbers(others))
	q := index.Query{Scope: benchScope(), Hashes: chain(blocks, 1)}
	for w := range workers {
		r := index.Record{Worker: "w" + strconv.Itoa(w), Tier: index.HBM}
		r.Scope, r.Prefix = q.Scope, index.Root
		for i := range blocks - w {
			r.Hash, r.Index = q.Hashes[i], uint32(i)
			require.NoError(b, x.Put(context.Background(), []index.Record{r}))
			r.Prefix = r.Hash
		}
	}
	runtime.GC()
	match := func(dst []index.Match) []index.Match {
		dst, err := x.Match(context.Background(), &q, dst[:0])
		if err != nil || len(dst) != workers || dst[0].Blocks != blocks {
			b.Error("wrong matches", err, len(dst))
		}
		return dst
	}
	b.ReportAllocs()
	if parallel {
		b.RunParallel(func(pb *testing.PB) {
			var dst []index.Match
			for pb.Next() {
				dst = match(dst)
			}
		})
		return
	}
	var dst []index.Match
	for b.Loop() {
		dst = match(dst)
	}
}

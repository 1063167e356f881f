package art_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/art"
)

var benchScope = index.Scope{Model: "bench-model", Tokenizer: "bench-tok", Tenant: "bench-tenant"}

// benchRecord is one of the original's harness.
func benchRecord(prefix, hash string, i int) index.Record {
	return index.Record{
		Key:    index.Key{Scope: benchScope, Prefix: prefix, Hash: hash, Index: uint32(i), Tokens: 64},
		Worker: "worker-0", Tier: index.HBM, Bytes: 4 << 20,
	}
}

// benchRecords are those of so many requests: sixteen blocks that all share, and
// four of each.
func benchRecords(requests int) []index.Record {
	var rs []index.Record
	for r := range requests {
		for i := range 16 {
			rs = append(rs, benchRecord(fmt.Sprintf("sp-%d", i), fmt.Sprintf("shared-%d", i), i))
		}
		for j := range 4 {
			rs = append(rs, benchRecord(fmt.Sprintf("uq-%d-%d", r, j), fmt.Sprintf("uniq-%d-%d", r, j), 16+j))
		}
	}
	return rs
}

func openDir(b testing.TB, dir string, o art.Options) *art.Index {
	x, err := art.Open(context.Background(), dir, o)
	require.NoError(b, err)
	return x
}

// BenchmarkPut is a put of one record, into a mapping of the log or by a write of
// the system's.
func BenchmarkPut(b *testing.B) {
	for _, write := range []bool{false, true} {
		b.Run(fmt.Sprint("write=", write), func(b *testing.B) { benchPut(b, art.Options{Write: write}) })
	}
}

func benchPut(b *testing.B, o art.Options) {
	rs := benchRecords(2000)
	x := openDir(b, b.TempDir(), o)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := x.Put(b.Context(), rs[i%len(rs):][:1]); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.StopTimer()
	require.NoError(b, x.Close())
}

func unique(n int) []index.Record {
	rs := make([]index.Record, n)
	for i := range rs {
		rs[i] = benchRecord(fmt.Sprintf("uq-%d-%d", i/4, i%4), fmt.Sprintf("uniq-%d-%d", i/4, i%4), 16+i%4)
	}
	return rs
}

// BenchmarkMillion tells what an index of 10^6 records needs.
func BenchmarkMillion(b *testing.B) {
	const n = 1_000_000
	rs := unique(n)
	dir := b.TempDir()
	x := openDir(b, dir, art.Options{})
	start := time.Now()
	for i := range rs {
		if err := x.Put(context.Background(), rs[i:i+1]); err != nil {
			b.Fatal(err)
		}
	}
	put := time.Since(start)
	ns := make([]time.Duration, 0, 1<<22)
	ctx, got := b.Context(), []index.Record(nil)
	var err error
	for b.Loop() {
		k := len(ns) * 7919 % n
		prefix := fmt.Sprintf("uq-%d-%d", k/4, k%4)
		start := time.Now()
		got, err = x.Scan(ctx, &benchScope, prefix, got[:0])
		ns = append(ns, time.Since(start))
		if err != nil || len(got) != 1 {
			b.Fatal(err, len(got))
		}
	}
	slices.Sort(ns)
	b.ReportMetric(float64(ns[len(ns)/2]), "p50-ns")
	b.ReportMetric(float64(ns[len(ns)*99/100]), "p99-ns")
	b.ReportMetric(n/put.Seconds(), "puts/s")
	start = time.Now()
	require.NoError(b, x.Close())
	b.ReportMetric(time.Since(start).Seconds()*1e3, "close-ms")
	start = time.Now()
	x = openDir(b, dir, art.Options{})
	b.ReportMetric(time.Since(start).Seconds()*1e3, "reopen-ms")
	m, err := x.Metrics(b.Context())
	require.NoError(b, err)
	require.EqualValues(b, n, m.ResidentBlocks+m.StaleBlocks)
	require.NoError(b, x.Close())
}

// BenchmarkScan is a scan of a few blocks that are looked at again and again.
func BenchmarkScan(b *testing.B) {
	x := openDir(b, b.TempDir(), art.Options{})
	rs := benchRecords(2000)
	require.NoError(b, x.Put(b.Context(), rs))
	b.ReportAllocs()
	i := 0
	var got []index.Record
	for b.Loop() {
		var err error
		if got, err = x.Scan(b.Context(), &benchScope, rs[i%16].Prefix, got[:0]); err != nil || len(got) != 1 {
			b.Fatal(err)
		}
		i++
	}
	b.StopTimer()
	require.NoError(b, x.Close())
}

// BenchmarkMatch is a prompt of 2,000 blocks that 64 workers hold to various
// lengths.
func BenchmarkMatch(b *testing.B) {
	x := openDir(b, b.TempDir(), art.Options{})
	hashes := make([]string, 2000)
	for i := range hashes {
		hashes[i] = fmt.Sprintf("%064x", i*7919)
	}
	for w := range 64 {
		rs := make([]index.Record, 0, 2000)
		parent := index.Root
		for i, h := range hashes[:len(hashes)*(w+1)/64] {
			r := benchRecord(parent, h, i)
			r.Worker = fmt.Sprintf("worker-%d", w)
			rs = append(rs, r)
			parent = h
		}
		require.NoError(b, x.Put(b.Context(), rs))
	}
	q := &index.Query{Scope: benchScope, Hashes: hashes}
	b.ReportAllocs()
	var got []index.Match
	for b.Loop() {
		var err error
		if got, err = x.Match(b.Context(), q, got[:0]); err != nil || len(got) != 64 || got[0].Blocks != 2000 {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	require.NoError(b, x.Close())
}

// BenchmarkDurable is 16 clients that each wait until what they put is durable;
// each record counts.
func BenchmarkDurable(b *testing.B) {
	for _, batch := range []int{1, 64, 256} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			x := openDir(b, b.TempDir(), art.Options{Sync: true})
			rs := unique(1 << 16)
			var next atomic.Int64
			b.SetParallelism(16 / runtime.GOMAXPROCS(0))
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					at := int(next.Add(int64(batch))) & (1<<16 - 1)
					at = min(at, len(rs)-batch)
					if err := x.Put(context.Background(), rs[at:at+batch]); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "puts/s")
			require.NoError(b, x.Close())
		})
	}
}

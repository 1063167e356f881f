package art_test

import (
	"context"
	"fmt"
	"slices"
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

// BenchmarkPut is a put of one record, with a write of the system's.
func BenchmarkPut(b *testing.B) {
	rs := benchRecords(2000)
	x := openDir(b, b.TempDir(), art.Options{})
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
		require.NoError(b, x.Put(b.Context(), rs[i:i+1]))
	}
	put := time.Since(start)
	var ns []time.Duration
	for b.Loop() {
		k := len(ns) * 7919 % n
		start := time.Now()
		got, err := x.Scan(b.Context(), &benchScope, rs[k].Prefix, nil)
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
	m, err := x.Metrics(b.Context())
	_ = m
	_ = err
	start = time.Now()
	x = openDir(b, dir, art.Options{})
	b.ReportMetric(time.Since(start).Seconds()*1e3, "reopen-ms")
	m, err = x.Metrics(b.Context())
	require.NoError(b, err)
	require.EqualValues(b, n, m.ResidentBlocks+m.StaleBlocks)
	require.NoError(b, x.Close())
}

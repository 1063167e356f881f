package lsm_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/lsm"
)

// filledOnDisk returns an index on the system's file system with n records, in
// scopes with 16 children for each parent.
func filledOnDisk(b *testing.B, n int) *lsm.Index {
	b.Helper()
	x, err := lsm.Open(b.Context(), b.TempDir(), lsm.Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, x.Close()) })
	rs := make([]index.Record, 0, 1<<10)
	for i := range n {
		if rs = append(rs, numbered(i)); len(rs) == cap(rs) || i == n-1 {
			require.NoError(b, x.Put(b.Context(), rs))
			rs = rs[:0]
		}
	}
	return x
}

func numbered(i int) index.Record {
	r := record(fmt.Sprintf("%032x", i))
	r.Prefix, r.Worker = fmt.Sprintf("%032x", i/16), fmt.Sprintf("worker-%d", i%64)
	return r
}

func BenchmarkPut(b *testing.B) {
	for _, batch := range []int{1, 64} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			x := filledOnDisk(b, 1)
			i := 0
			rs := make([]index.Record, batch)
			b.ReportAllocs()
			for b.Loop() {
				for k := range rs {
					i++
					rs[k] = numbered(i)
				}
				if err := x.Put(b.Context(), rs); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(i)/b.Elapsed().Seconds(), "records/s")
		})
	}
	b.Run("writers=16,sync", func(b *testing.B) {
		x, err := lsm.Open(b.Context(), b.TempDir(), lsm.Options{Sync: true})
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, x.Close()) })
		var i atomic.Int64
		b.SetParallelism(8)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				if err := x.Put(b.Context(), []index.Record{numbered(int(i.Add(1)))}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

func BenchmarkScan(b *testing.B) {
	for _, n := range []int{10_000, 200_000} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			x := filledOnDisk(b, n)
			scope := record("").Scope
			var dst []index.Record
			i, found := 0, 0
			b.ReportAllocs()
			for b.Loop() {
				i++
				var err error
				dst, err = x.Scan(b.Context(), &scope, fmt.Sprintf("%032x", i*7919%(n/16)), dst[:0])
				if err != nil {
					b.Fatal(err)
				}
				found += len(dst)
			}
			require.Equal(b, 16*i, found)
		})
	}
}

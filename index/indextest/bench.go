package indextest

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// benchRecords is how many records an index has while it is measured.
const benchRecords = 20_000

// Bench measures the calls of an index, one by one and mixed.
func Bench(b *testing.B, c Config) {
	for _, x := range []struct {
		name string
		run  func(b *testing.B, x index.Index, rs []index.Record)
	}{
		{"put new", benchPut},
		{"put again", benchOverwrite},
		{"put batches of 64", benchBatch},
		{"locate", benchLocate},
		{"scan 1", benchScan},
		{"scan nothing", benchMiss},
		{"scan 1000", benchLong},
		{"by hash", benchByHash},
		{"remove and put", benchRemove},
		{"match 2000 x 64", benchMatch},
		{"mixed, parallel", benchMixed},
	} {
		b.Run(x.name, func(b *testing.B) {
			index := c.Open(b, index.Options{})
			rs := benchBlocks("shared", benchRecords)
			putAll(b, index, rs)
			b.ReportAllocs()
			x.run(b, index, rs)
			b.StopTimer()
			require.NoError(b, index.Close())
		})
	}
}

// benchBlocks returns records of as many prefixes.
func benchBlocks(name string, n int) []index.Record {
	rs := make([]index.Record, n)
	for i := range rs {
		rs[i] = block(name+"-parent-"+strconv.Itoa(i), name+"-"+strconv.Itoa(i), "worker-"+strconv.Itoa(i%64), index.HBM)
		rs[i].Index = uint32(i)
	}
	return rs
}

func putAll(b *testing.B, x index.Index, rs []index.Record) {
	for len(rs) > 0 {
		n := min(len(rs), 1000)
		require.NoError(b, x.Put(context.Background(), rs[:n]))
		rs = rs[n:]
	}
}

// must ends a benchmark whose call failed, cheaper than require.
func must(b *testing.B, err error) {
	if err != nil {
		b.Fatal(err)
	}
}

func benchPut(b *testing.B, x index.Index, rs []index.Record) {
	fresh := make([]index.Record, 0, 1<<16)
	for n := 0; b.Loop(); n++ {
		if n%cap(fresh) == 0 {
			b.StopTimer()
			fresh = append(fresh[:0], benchBlocks(fmt.Sprint("n", n), cap(fresh))...)
			b.StartTimer()
		}
		i := n % cap(fresh)
		must(b, x.Put(b.Context(), fresh[i:i+1]))
	}
	_ = rs
}

func benchOverwrite(b *testing.B, x index.Index, rs []index.Record) {
	for n := 0; b.Loop(); n++ {
		i := n % len(rs)
		must(b, x.Put(b.Context(), rs[i:i+1]))
	}
}

func benchBatch(b *testing.B, x index.Index, rs []index.Record) {
	for n := 0; b.Loop(); n++ {
		i := n * 64 % (len(rs) - 64)
		must(b, x.Put(b.Context(), rs[i:i+64]))
	}
	b.ReportMetric(64*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func benchLocate(b *testing.B, x index.Index, rs []index.Record) {
	var dst []index.Record
	var err error
	for n := 0; b.Loop(); n++ {
		dst, err = x.Locate(b.Context(), &rs[n%len(rs)].Key, dst[:0])
		must(b, err)
	}
	require.Len(b, dst, 1)
}

// benchScans scans prefixes, each of which has so many records.
func benchScans(b *testing.B, x index.Index, s *index.Scope, prefixes []string, found int) {
	var dst []index.Record
	var err error
	for n := 0; b.Loop(); n++ {
		dst, err = x.Scan(b.Context(), s, prefixes[n%len(prefixes)], dst[:0])
		must(b, err)
	}
	require.Len(b, dst, found)
}

func benchScan(b *testing.B, x index.Index, rs []index.Record) {
	prefixes := make([]string, len(rs))
	for i := range rs {
		prefixes[i] = rs[i].Prefix
	}
	benchScans(b, x, &rs[0].Scope, prefixes, 1)
}

func benchMiss(b *testing.B, x index.Index, rs []index.Record) {
	benchScans(b, x, &rs[0].Scope, []string{"shared-parent-", "shared-parent-x", "", "shared-parent-00"}, 0)
}

func benchLong(b *testing.B, x index.Index, rs []index.Record) {
	long := benchBlocks("long", 1000)
	for i := range long {
		long[i].Prefix = "long"
	}
	putAll(b, x, long)
	b.ResetTimer()
	benchScans(b, x, &rs[0].Scope, []string{"long"}, len(long))
}

func benchByHash(b *testing.B, x index.Index, rs []index.Record) {
	var dst []index.Record
	var err error
	for n := 0; b.Loop(); n++ {
		dst, err = x.ByHash(b.Context(), rs[n%len(rs)].Hash, dst[:0])
		must(b, err)
	}
	require.Len(b, dst, 1)
}

func benchRemove(b *testing.B, x index.Index, rs []index.Record) {
	for n := 0; b.Loop(); n++ {
		i := n % len(rs)
		removed, err := x.Remove(b.Context(), []index.Removal{removalOf(&rs[i])})
		must(b, err)
		if removed != 1 {
			b.Fatal("no record removed")
		}
		must(b, x.Put(b.Context(), rs[i:i+1]))
	}
}

// benchMatch has a prompt of 2,000 blocks, of which 64 workers hold ever more.
func benchMatch(b *testing.B, x index.Index, rs []index.Record) {
	const workers, blocks = 64, 2000
	hashes := prompt(blocks)
	for w := range workers {
		putAll(b, x, chained(hashes[:blocks*(w+1)/workers], fmt.Sprintf("match-%02d", w), index.HBM))
	}
	q := index.Query{Scope: rs[0].Scope, Hashes: hashes}
	var dst []index.Match
	var err error
	b.ResetTimer()
	for b.Loop() {
		dst, err = x.Match(b.Context(), &q, dst[:0])
		must(b, err)
	}
	require.Len(b, dst, workers)
	require.Equal(b, blocks, dst[0].Blocks)
}

// benchMixed has, of ten calls, six scans, two puts, one removal and one locate.
func benchMixed(b *testing.B, x index.Index, rs []index.Record) {
	var client atomic.Uint32
	b.RunParallel(func(p *testing.PB) {
		var dst []index.Record
		var err error
		for n := int(client.Add(1)) * 7919; p.Next(); n++ {
			i := n * 31 % len(rs)
			switch n % 10 {
			case 0, 5:
				err = x.Put(b.Context(), rs[i:i+1])
			case 1:
				_, err = x.Remove(b.Context(), []index.Removal{removalOf(&rs[i])})
			case 2:
				dst, err = x.Locate(b.Context(), &rs[i].Key, dst[:0])
			default:
				dst, err = x.Scan(b.Context(), &rs[i].Scope, rs[i].Prefix, dst[:0])
			}
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

package redis_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// harness returns the records that QuillCache's harness puts for a request: 16
// blocks that all requests share, and 4 of its own.
func harness(request int) []index.Record {
	rs := make([]index.Record, 0, 20)
	for i := range 20 {
		prefix, hash := "sp-"+strconv.Itoa(i), "shared-"+strconv.Itoa(i)
		if i >= 16 {
			prefix, hash = fmt.Sprintf("uq-%d-%d", request, i-16), fmt.Sprintf("uniq-%d-%d", request, i-16)
		}
		rs = append(rs, index.Record{
			Key: index.Key{
				Scope:  index.Scope{Model: "bench-model", Tokenizer: "bench-tok", Tenant: "bench-tenant"},
				Prefix: prefix, Hash: hash, Index: uint32(i), Tokens: 64,
			},
			Worker: "worker-0", Tier: index.HBM, Bytes: 4 << 20,
		})
	}
	return rs
}

// BenchmarkPut puts batches from some goroutines: the harness's records, most of
// which replace others, and new blocks of chains, with the hashes of vLLM.
func BenchmarkPut(b *testing.B) {
	for _, load := range []string{"harness", "chain"} {
		for _, size := range []int{1, 20, 256} {
			for _, clients := range []int{1, 8} {
				b.Run(fmt.Sprintf("load=%s/batch=%d/clients=%d", load, size, clients), func(b *testing.B) { benchmarkPut(b, load, size, clients) })
			}
		}
	}
}

func benchmarkPut(b *testing.B, load string, size, clients int) {
	s := startServer(b)
	x := s.open(b, s.options(index.Options{}))
	records := make([]index.Record, 0, min(b.N, 200_000)+2*size+20)
	for i := 0; len(records) < cap(records)-20; i++ {
		if load == "harness" {
			records = append(records, harness(i)...)
		} else {
			records = append(records, chained(i))
		}
	}
	before := s.cpu()
	b.ReportAllocs()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range clients {
		wg.Go(func() {
			for {
				from := int(next.Add(int64(size))) - size
				if from >= b.N {
					return
				}
				at := from % (len(records) - size)
				if err := x.Put(b.Context(), records[at:at+size]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric((s.cpu()-before)*1e9/float64(b.N), "server-ns/op")
	m, err := x.Metrics(b.Context())
	require.NoError(b, err)
	require.NotZero(b, m.ResidentBlocks)
}

// chained returns block i of a chain whose hashes have 64 digits.
func chained(i int) index.Record {
	return index.Record{
		Key: index.Key{
			Scope:  index.Scope{Model: "m", Tokenizer: "t", Tenant: "a"},
			Prefix: fmt.Sprintf("%064x", i-1), Hash: fmt.Sprintf("%064x", i), Index: uint32(i % 1000), Tokens: 16,
		},
		Worker: fmt.Sprintf("worker-%d", i/1000%8), Tier: index.HBM, Bytes: 4 << 20,
	}
}

// cpu returns how many seconds the server's main thread has run.
func (s *server) cpu() float64 {
	s.t.Helper()
	text, err := s.text("INFO", "cpu")
	require.NoError(s.t, err)
	sum := 0.0
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if strings.HasSuffix(name, "_main_thread") {
			v, err := strconv.ParseFloat(value, 64)
			require.NoError(s.t, err)
			sum += v
		}
	}
	return sum
}

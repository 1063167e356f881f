package redis_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// TestLargeCalls: calls that take several commands give what one would.
func TestLargeCalls(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	x := s.open(t, s.options(index.Options{}))
	const n = 9000
	siblings := make([]index.Record, n)
	for i := range siblings {
		siblings[i] = record(i)
		siblings[i].Prefix, siblings[i].Hash = index.Root, fmt.Sprintf("sibling-%05d", i)
	}
	require.NoError(t, x.Put(t.Context(), siblings))
	slices.SortFunc(siblings, func(a, b index.Record) int { return index.Compare(&a, &b) })
	got, err := x.Scan(t.Context(), &siblings[0].Scope, index.Root, nil)
	require.NoError(t, err)
	require.Equal(t, siblings, got)
	require.Len(t, consistent(t, x), n)

	removals := make([]index.Removal, n)
	for i, r := range siblings {
		removals[i] = index.Removal{Scope: r.Scope, Worker: r.Worker, Hash: r.Hash}
	}
	removed, err := x.Remove(t.Context(), removals)
	require.NoError(t, err)
	require.Equal(t, n, removed)
	require.Empty(t, consistent(t, x))
}

// TestLongPrompt: a prompt of more blocks than are looked up at once.
func TestLongPrompt(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	x := s.open(t, s.options(index.Options{}))
	const n = 2500
	var rs []index.Record
	q := index.Query{Scope: record(0).Scope}
	for i := range n {
		q.Hashes = append(q.Hashes, record(i).Hash)
		for w, has := range map[string]bool{"all": true, "512": i < 512, "513": i < 513, "hole": i != 2000, "late": i > 0} {
			if has {
				r := record(i)
				r.Worker = w
				rs = append(rs, r)
			}
		}
	}
	require.NoError(t, x.Put(t.Context(), rs))
	ms, err := x.Match(t.Context(), &q, nil)
	require.NoError(t, err)
	var got []string
	for _, m := range ms {
		require.Equal(t, m.Blocks, m.InTier[index.HBM])
		got = append(got, fmt.Sprint(m.Worker, " ", m.Blocks))
	}
	require.Equal(t, []string{"all 2500", "hole 2000", "513 513", "512 512"}, got)
}

// TestServerBeganAnew: a watcher is told when a server has lost everything.
func TestServerBeganAnew(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	x := s.open(t, s.options(index.Options{}))
	require.NoError(t, x.Put(t.Context(), []index.Record{record(0)}))
	var last error
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, err := range x.Watch(t.Context(), 1) {
			last = err
		}
	}()
	require.Eventually(t, func() bool { return slices.Contains(s.keys(), "kvferry:{*}x") }, patience, tick)
	s.must("FLUSHALL")
	<-done
	require.ErrorIs(t, last, kvferry.ErrExpired)
	require.Empty(t, consistent(t, x))
}

// BenchmarkMatch looks a prompt of 2,000 blocks up, which 64 workers have.
func BenchmarkMatch(b *testing.B) {
	s := startServer(b)
	x := s.open(b, s.options(index.Options{}))
	q := index.Query{Scope: record(0).Scope}
	for i := range 2000 {
		q.Hashes = append(q.Hashes, record(i).Hash)
	}
	for w := range 64 {
		rs := make([]index.Record, len(q.Hashes))
		for i := range rs {
			rs[i] = record(i)
			rs[i].Worker = fmt.Sprintf("worker-%02d", w)
		}
		require.NoError(b, x.Put(b.Context(), rs))
	}
	var ms []index.Match
	before := s.cpu()
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if ms, err = x.Match(b.Context(), &q, ms[:0]); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric((s.cpu()-before)*1e9/float64(b.N), "server-ns/op")
	require.Len(b, ms, 64)
	require.Equal(b, 2000, ms[0].Blocks)
}

// BenchmarkScan asks for the one child of a block, as the harness does.
func BenchmarkScan(b *testing.B) {
	s := startServer(b)
	x := s.open(b, s.options(index.Options{}))
	require.NoError(b, x.Put(b.Context(), harness(0)))
	scope := harness(0)[0].Scope
	var rs []index.Record
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if rs, err = x.Scan(b.Context(), &scope, "sp-3", rs[:0]); err != nil || len(rs) != 1 {
			b.Fatal(len(rs), err)
		}
	}
}

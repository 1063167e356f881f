package memory

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// tenantRecords are records of one tenant on several workers.
func tenantRecords(tenant, n int) []index.Record {
	rs := prompts(n)
	for i := range rs {
		rs[i].Tenant = fmt.Sprintf("tenant-%d", tenant)
		rs[i].Worker = fmt.Sprintf("worker-%d-%d", tenant, i%5)
		if i%50 == 0 {
			rs[i].Hash += " is a name that does not lie in a slab, because it is longer than 128 bytes" + strconv.Itoa(tenant)
		}
	}
	return rs
}

// TestChurn: tenants come and go in every way there is; after each round
// nothing is left of them, and the memory does not grow from round to round.
func TestChurn(t *testing.T) {
	t.Parallel()
	x, ctx := newIndex(t), t.Context()
	stay := tenantRecords(0, 500)
	require.NoError(t, x.Put(ctx, stay))
	most, records := 0, 5000
	if raceEnabled {
		records = 1000
	}
	for round := range 10 {
		rs := tenantRecords(round+1, records)
		require.NoError(t, x.Put(ctx, rs))
		check(t, x)
		if n := x.MemoryBytes(); round < 2 {
			most = max(most, n)
		} else {
			require.LessOrEqual(t, n, most+most/50)
		}
		goAway(t, x, rs, round)
		check(t, x)
		require.EqualValues(t, len(stay), total(x))
		require.Len(t, x.scopes.list(), 1)
		require.Len(t, x.workers.list(), 5)
		require.LessOrEqual(t, len(*x.scopes.byID.Load()), 4)
	}
	require.NoError(t, x.Clear(ctx))
	requireEmpty(t, x)
	empty := newIndex(t)
	require.Equal(t, empty.MemoryBytes(), x.MemoryBytes())
	require.NoError(t, x.Put(ctx, stay))
	check(t, x)
}

func goAway(t *testing.T, x *Index, rs []index.Record, round int) {
	ctx, gone := t.Context(), 0
	switch round % 3 {
	case 0:
		ds := make([]index.Removal, 0, len(rs)+100)
		for i := range rs {
			ds = append(ds, index.Removal{Scope: rs[i].Scope, Worker: rs[i].Worker, Hash: rs[i].Hash, AnyAdapter: i%2 == 0})
		}
		n, err := x.Remove(ctx, append(ds, ds[:100]...))
		require.NoError(t, err)
		gone = n
	case 1:
		for i := range 5 {
			n, err := x.ClearWorker(ctx, rs[i].Worker)
			require.NoError(t, err)
			gone += n
		}
	case 2:
		for i := range rs {
			rs[i].LastAccess = 1
		}
		require.NoError(t, x.Put(ctx, rs))
		stay := tenantRecords(0, 500)
		for i := range stay {
			stay[i].LastAccess = 1 << 40
		}
		require.NoError(t, x.Put(ctx, stay))
		n, err := x.Expire(ctx, 1<<39)
		require.NoError(t, err)
		gone = n
	}
	require.Equal(t, len(rs), gone)
}

// TestClearGivesBack: the heap after Clear is what it was before.
func TestClearGivesBack(t *testing.T) {
	var before, full, after runtime.MemStats
	rs := prompts(50_000)
	x := newIndex(t)
	runtime.GC()
	runtime.ReadMemStats(&before)
	require.NoError(t, x.Put(t.Context(), rs))
	runtime.GC()
	runtime.ReadMemStats(&full)
	require.Greater(t, full.HeapAlloc, before.HeapAlloc+5<<20)
	require.NoError(t, x.Clear(t.Context()))
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, after.HeapAlloc, before.HeapAlloc+1<<20)
	runtime.KeepAlive(rs)
}

// TestSameHash: one hash under very many parents, positions and scopes: every
// operation finds its record without looking at the others.
func TestSameHash(t *testing.T) {
	t.Parallel()
	x, ctx, r := newIndex(t), t.Context(), rand.New(rand.NewPCG(1, 2))
	var rs []index.Record
	records := 20_000
	if raceEnabled {
		records /= 5
	}
	for i := range records {
		rec := index.Record{Worker: "w", Tier: index.HBM, Bytes: 1}
		rec.Hash = "x"
		switch i % 3 {
		case 0:
			rec.Prefix = strconv.Itoa(i)
		case 1:
			rec.Index = uint32(i)
		case 2:
			rec.Tenant = strconv.Itoa(i)
		}
		rs = append(rs, rec)
	}
	require.NoError(t, x.Put(ctx, rs))
	require.NoError(t, x.Put(ctx, rs))
	check(t, x)
	require.EqualValues(t, len(rs), total(x))
	for range 100 {
		rec := rs[r.IntN(len(rs))]
		got, err := x.Locate(ctx, &rec.Key, nil)
		require.NoError(t, err)
		require.Equal(t, []index.Record{rec}, got)
	}
	n, err := x.Remove(ctx, []index.Removal{{Worker: "w", Hash: "x"}})
	require.NoError(t, err)
	require.Equal(t, len(rs)-len(rs)/3, n)
	check(t, x)
	n, err = x.ClearWorker(ctx, "w")
	require.NoError(t, err)
	require.Equal(t, len(rs)/3, n)
	requireEmpty(t, x)
}

// TestManyWorkers: more workers than lie in a word, in all tiers.
func TestManyWorkers(t *testing.T) {
	t.Parallel()
	x, ctx := newIndex(t), t.Context()
	workers, blocks := 300, 40
	if raceEnabled {
		workers = 130 // in three words
	}
	q := index.Query{Hashes: chain(blocks, 1)}
	for w := range workers {
		for tier := index.Tier(1); tier < index.Tiers; tier++ {
			r := index.Record{Worker: fmt.Sprintf("w%03d", w), Tier: tier}
			r.Prefix = index.Root
			for i := range 1 + (w+7*int(tier))%blocks {
				r.Hash = q.Hashes[i]
				require.NoError(t, x.Put(ctx, []index.Record{r}))
				r.Prefix = r.Hash
			}
		}
	}
	check(t, x)
	ms, err := x.Match(ctx, &q, nil)
	require.NoError(t, err)
	require.Len(t, ms, workers)
	for _, m := range ms {
		w, err := strconv.Atoi(m.Worker[1:])
		require.NoError(t, err)
		longest := 0
		for tier := 1; tier < index.Tiers; tier++ {
			require.Equal(t, 1+(w+7*tier)%blocks, m.InTier[tier])
			longest = max(longest, m.InTier[tier])
		}
		require.Equal(t, longest, m.Blocks)
	}
	for w := range workers {
		_, err := x.ClearWorker(context.Background(), fmt.Sprintf("w%03d", w))
		require.NoError(t, err)
	}
	requireEmpty(t, x)
}

// TestFull: a shard whose references are all given takes nothing more, and of a
// call that does not fit nothing is seen.
func TestFull(t *testing.T) {
	t.Parallel()
	x, ctx := newIndex(t), t.Context()
	for i := range x.shards {
		x.shards[i].nodes.limit = 10 * (classes + 1)
	}
	rs := prompts(2000)
	puts := 0
	for _, r := range rs {
		if err := x.Put(ctx, []index.Record{r}); err != nil {
			require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
			break
		}
		puts++
	}
	require.Positive(t, puts)
	require.Less(t, puts, len(rs))
	require.ErrorIs(t, x.Put(ctx, rs), kvferry.ErrOutOfMemory)
	require.EqualValues(t, puts, total(x))
	check(t, x)
	require.NoError(t, x.Clear(ctx))
	require.NoError(t, x.Put(ctx, rs[:1]))
	check(t, x)
}

package memory

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// chainRecords are a prompt's blocks on a worker, all with the same data.
func chainRecords(tenant string, worker, blocks int, data uint64) []index.Record {
	rs := make([]index.Record, blocks)
	for i := range rs {
		r := &rs[i]
		*r = index.Record{Worker: "w" + strconv.Itoa(worker), Tier: index.HBM, Bytes: data, LastAccess: data}
		r.Tenant, r.Prefix, r.Hash, r.Index = tenant, index.Root, tenant+strconv.Itoa(i), uint32(i)
		if i > 0 {
			r.Prefix = rs[i-1].Hash
		}
	}
	return rs
}

// TestReadersBesideWriters: what one call of a writer does is seen whole or
// not at all, by every reader, while tenants and workers come and go and their
// numbers are used again.
func TestReadersBesideWriters(t *testing.T) {
	t.Parallel()
	const writers, blocks, workers = 3, 8, 3
	rounds := 120
	x, ctx := newIndex(t), t.Context()
	var writing sync.WaitGroup
	var done atomic.Bool
	for w := range writers {
		writing.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range rounds {
				tenant := fmt.Sprintf("t%d-%d-", w, r.IntN(4))
				var rs []index.Record
				for k := range workers {
					rs = append(rs, chainRecords(tenant, w*workers+k, blocks, uint64(i))...)
				}
				if err := x.Put(ctx, rs); err != nil {
					t.Error(err)
				}
				if i%3 == 0 {
					ds := make([]index.Removal, len(rs))
					for j := range rs {
						ds[j] = index.Removal{Scope: rs[j].Scope, Worker: rs[j].Worker, Hash: rs[j].Hash}
					}
					if n, err := x.Remove(ctx, ds); err != nil || n != len(rs) {
						t.Errorf("removed %d of %d: %v", n, len(rs), err)
					}
				}
			}
		})
	}
	var reading sync.WaitGroup
	for seed := range uint64(3) {
		reading.Go(func() {
			r := rand.New(rand.NewPCG(seed, 2))
			for !done.Load() {
				tenant := fmt.Sprintf("t%d-%d-", r.IntN(writers), r.IntN(4))
				readWhole(t, x, chainRecords(tenant, 0, blocks, 0), r.IntN(blocks), workers)
			}
		})
	}
	writing.Wait()
	done.Store(true)
	reading.Wait()
	check(t, x)
	require.NoError(t, x.Clear(ctx))
	requireEmpty(t, x)
}

// readWhole asks every reader about one block of a chain and requires that it is
// on all workers with the same data or on none.
func readWhole(t *testing.T, x *Index, rs []index.Record, at, workers int) {
	ctx, r := t.Context(), &rs[at]
	whole := func(what string, got []index.Record, err error) {
		if err != nil || len(got) != 0 && len(got) != workers {
			t.Errorf("%s: %d records, %v", what, len(got), err)
		}
		for i := range got {
			g := &got[i]
			if g.Scope != r.Scope || g.Hash != r.Hash || g.Prefix != r.Prefix || g.Bytes != got[0].Bytes || g.LastAccess != g.Bytes || g.Index != uint32(at) {
				t.Errorf("%s: %+v beside %+v", what, *g, got[0])
			}
		}
	}
	got, err := x.Locate(ctx, &r.Key, nil)
	whole("locate", got, err)
	got, err = x.Scan(ctx, &r.Scope, r.Prefix, nil)
	whole("scan", got, err)
	got, err = x.ByHash(ctx, r.Hash, nil)
	whole("by hash", got, err)
	q := index.Query{Scope: r.Scope}
	for i := range rs {
		q.Hashes = append(q.Hashes, rs[i].Hash)
	}
	ms, err := x.Match(ctx, &q, nil)
	if err != nil || len(ms) != 0 && len(ms) != workers {
		t.Errorf("match: %d workers, %v", len(ms), err)
	}
	for _, m := range ms {
		if m.Blocks != len(rs) || m.InTier[index.HBM] != len(rs) {
			t.Errorf("match: %+v", m)
		}
	}
}

// TestLongMatchBesideWriters: a worker that nobody touches is matched exactly
// however much happens around it.
func TestLongMatchBesideWriters(t *testing.T) {
	t.Parallel()
	const blocks = 300
	x, ctx := newIndex(t), t.Context()
	still := chainRecords("", 0, blocks, 1)
	require.NoError(t, x.Put(ctx, still))
	q := index.Query{}
	for i := range still {
		q.Hashes = append(q.Hashes, still[i].Hash)
	}
	var done atomic.Bool
	var writing sync.WaitGroup
	for w := range 2 {
		writing.Go(func() {
			for i := 0; !done.Load(); i++ {
				worker := 1 + w + 2*(i%40)
				if err := x.Put(ctx, chainRecords("", worker, 40, 1)); err != nil {
					t.Error(err)
				}
				if _, err := x.ClearWorker(ctx, "w"+strconv.Itoa(worker)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 100 {
		ms, err := x.Match(ctx, &q, nil)
		require.NoError(t, err)
		require.Equal(t, "w0", ms[0].Worker)
		require.Equal(t, blocks, ms[0].Blocks)
		for _, m := range ms[1:] {
			require.LessOrEqual(t, m.Blocks, 40)
		}
	}
	done.Store(true)
	writing.Wait()
	check(t, x)
}

// TestMixed: every operation beside every other, one Put with more records than
// change at once among them.
func TestMixed(t *testing.T) {
	t.Parallel()
	x := newIndex(t)
	var wg sync.WaitGroup
	big := tenantRecords(99, 3*atOnce)
	for g := range 4 {
		wg.Go(func() {
			w := newWorld(uint64(g))
			ctx := t.Context()
			for i := range 60 {
				r := w.record()
				_ = x.Put(ctx, []index.Record{r, w.record()})
				_, _ = x.Remove(ctx, []index.Removal{w.removal(), w.removal()})
				_, _ = x.Scan(ctx, &r.Scope, r.Prefix, nil)
				_, _ = x.Locate(ctx, &r.Key, nil)
				_, _ = x.ByHash(ctx, r.Hash, nil)
				switch i % 30 {
				case 0:
					_ = x.Clear(ctx)
				case 5:
					_, _ = x.Workers(ctx)
					_, _ = x.Metrics(ctx)
				case 10:
					_, _ = x.ClearWorker(ctx, r.Worker)
				case 15:
					_, _ = x.Expire(ctx, r.LastAccess)
				case 20:
					_ = x.Announce(ctx, r.Worker, uint64(i))
				case 25:
					_, _ = x.Snapshot(ctx, func(*index.Record) error { return nil })
				case 29:
					_ = x.Put(ctx, big)
				}
			}
		})
	}
	wg.Wait()
	check(t, x)
	require.NoError(t, x.Clear(t.Context()))
	requireEmpty(t, x)
}

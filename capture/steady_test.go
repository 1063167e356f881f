//go:build !race

package capture_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// mallocs returns the number of heap allocations of one call of f, the least
// of several; after is called between them.
func mallocs(f, after func()) uint64 {
	least := ^uint64(0)
	for range 3 {
		var start, end runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&start)
		f()
		runtime.ReadMemStats(&end)
		least = min(least, end.Mallocs-start.Mallocs)
		after()
	}
	return least
}

// sink is a store that forgets what it is given, so that only this package's
// allocations are counted.
type sink struct{ cas.Store }

func (sink) Begin(context.Context, cas.SessionOptions) (cas.Session, error) {
	return sinkSession{}, nil
}

type sinkSession struct{}

func (sinkSession) Put(context.Context, digest.Digest, []byte) (cas.PutResult, error) {
	return cas.PutResult{New: true}, nil
}
func (sinkSession) Has(context.Context, digest.Digest) (bool, error) { return false, nil }
func (sinkSession) Flush(context.Context) error                      { return nil }
func (sinkSession) Commit(context.Context, cas.Entry) error          { return nil }
func (sinkSession) Abort(context.Context) error                      { return nil }

// counts are heap allocations by operation.
type counts map[string]uint64

// allocationsOf counts the allocations of captures and a restore of n pages.
func allocationsOf(t *testing.T, dim uint32, n int, set synthetic.Ability) counts {
	t.Helper()
	ctx := t.Context()
	m, err := pager.Plain(4, 2, 2, dim, pager.BF16)
	require.NoError(t, err)
	e, err := synthetic.New(synthetic.Options{Meta: m, Capacity: n})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	require.NoError(t, e.Populate(n, 8<<40))
	transfer := capture.Transfer{Workers: 2, Allocator: new(countingAllocator)}
	var stores []*mem.Store
	for range 4 {
		s, err := mem.Open(mem.Options{ReserveBytes: int64(n*m.PageBytes() + 1<<20), ReserveBlobs: 3 * n})
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		stores = append(stores, s)
	}
	var rep capture.Report
	take := func(s cas.Store) {
		rep, err = capture.Capture(ctx, e.With(set), s, capture.Options{Transfer: transfer})
		require.NoError(t, err)
	}
	i := 0
	c := counts{
		"capture":                 mallocs(func() { take(sink{}) }, func() {}),
		"capture into mem, new":   mallocs(func() { take(stores[i]) }, func() { i++ }),
		"capture into mem, known": mallocs(func() { take(stores[0]) }, func() {}),
	}
	dst, err := synthetic.New(synthetic.Options{Meta: m, Capacity: n})
	require.NoError(t, err)
	defer func() { require.NoError(t, dst.Close()) }()
	p := dst.With(set)
	for op, s := range map[string]cas.Store{"restore": stores[0], "restore, batches": &batchStore{Store: stores[0]}} {
		c[op] = mallocs(func() {
			_, err = capture.Restore(ctx, s, rep.Root, p, capture.RestoreOptions{Transfer: transfer})
		}, func() {
			require.NoError(t, err)
			ids, err := dst.OccupiedPages(ctx)
			require.NoError(t, err)
			require.NoError(t, dst.InstallLogicalSeqs(ctx, nil))
			require.NoError(t, p.(pager.Releaser).ReleasePages(ctx, ids))
		})
	}
	return c
}

// TestNoAllocationsPerPage compares the heap allocations for n and 10 n pages:
// one more page costs less than a hundredth of an allocation. What a store or
// an engine's mover allocates for each of its own calls is set apart: pages
// that are large against their number are captured into a sink, and a mover's
// batch may cost a few. It must not run beside other tests.
func TestNoAllocationsPerPage(t *testing.T) {
	const perBatch = 12 // allocations of the synthetic mover and the wait for it
	for name, set := range map[string]synthetic.Ability{
		"plain": synthetic.Releaser, "mover": synthetic.Releaser | synthetic.Mover, "digester": synthetic.AllAbilities &^ synthetic.Mover,
	} {
		for _, g := range []struct {
			dim   uint32
			small int
			ops   []string
		}{
			{4, 4000, []string{"capture", "capture into mem, new", "capture into mem, known", "restore", "restore, batches"}}, // pages of 256 bytes
			{256, 300, []string{"capture", "restore", "restore, batches"}},                                                    // pages of 16 KiB
		} {
			few, many := allocationsOf(t, g.dim, g.small, set), allocationsOf(t, g.dim, 10*g.small, set)
			for _, op := range g.ops {
				limit := 0.01
				if set&synthetic.Mover != 0 {
					size := int(g.dim) * 64
					limit += perBatch / float64(min(4096, max(1, min(8<<20, g.small*size/4)/size)))
				}
				perPage := float64(int64(many[op]-few[op])) / float64(9*g.small)
				t.Logf("%s, pages of %d bytes, %s: %d for %d, %d for %d: %.4f per page",
					name, g.dim*64, op, few[op], g.small, many[op], 10*g.small, perPage)
				assert.Less(t, perPage, limit)
			}
		}
	}
}

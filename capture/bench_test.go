package capture_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
	"github.com/kvferry/kvferry/staging"
)

// tinyLlama returns an engine with about 1 GiB of KV-like pages of TinyLlama's
// geometry.
func tinyLlama(b *testing.B) *synthetic.Engine {
	b.Helper()
	m, err := pager.Plain(16, 22, 4, 64, pager.BF16)
	require.NoError(b, err)
	n := 1<<30/m.PageBytes() + 1
	e, err := synthetic.New(synthetic.Options{Meta: m, Capacity: n})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, e.Close()) })
	require.NoError(b, e.PopulateKV(n, 1))
	return e
}

// BenchmarkHost measures capture and verified restore, memory to memory, and
// in the same run the limit: BLAKE3 alone over the same pages with two
// goroutines.
func BenchmarkHost(b *testing.B) {
	e := tinyLlama(b)
	size := e.Meta().PageBytes()
	ids, err := e.OccupiedPages(b.Context())
	require.NoError(b, err)
	total := int64(len(ids)) * int64(size)
	ctx := context.Background()
	const slack = 128 << 20
	open := func(b *testing.B) *mem.Store {
		s, err := mem.Open(mem.Options{ReserveBytes: total + slack, ReserveBlobs: 2*len(ids) + 1024})
		require.NoError(b, err)
		return s
	}
	b.Run("op=blake3/goroutines=2", func(b *testing.B) { hashOnly(b, e, ids) })
	b.Run("op=capture/store=mem", func(b *testing.B) {
		b.SetBytes(total)
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			s := open(b)
			b.StartTimer()
			rep, err := capture.Capture(ctx, e, s, capture.Options{})
			b.StopTimer()
			require.NoError(b, err)
			require.Equal(b, total, rep.NewBytes)
			b.ReportMetric(float64(rep.Pause.Total.Microseconds())/1e3, "pause-ms")
			require.NoError(b, s.Close())
			b.StartTimer()
		}
	})
	b.Run("op=restore/store=mem", func(b *testing.B) {
		s := open(b)
		rep, err := capture.Capture(ctx, e, s, capture.Options{})
		require.NoError(b, err)
		dst, err := synthetic.New(synthetic.Options{Meta: e.Meta(), Capacity: len(ids)})
		require.NoError(b, err)
		back, err := capture.Restore(ctx, s, rep.Root, dst, capture.RestoreOptions{})
		require.NoError(b, err)
		b.SetBytes(total)
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer() // the engine's memory stays mapped and touched
			got, err := dst.OccupiedPages(ctx)
			require.NoError(b, err)
			require.NoError(b, dst.InstallLogicalSeqs(ctx, nil))
			require.NoError(b, dst.With(synthetic.Releaser).(pager.Releaser).ReleasePages(ctx, got))
			b.StartTimer()
			back, err = capture.Restore(ctx, s, rep.Root, dst.With(synthetic.Releaser), capture.RestoreOptions{})
			require.NoError(b, err)
		}
		b.StopTimer()
		require.Equal(b, len(ids), back.Pages)
		require.NoError(b, dst.Close())
		require.NoError(b, s.Close())
	})
}

// hashOnly is the limit of every capture that hashes: nothing but BLAKE3 over
// K and V parts that lie in memory.
func hashOnly(b *testing.B, e *synthetic.Engine, ids []pager.PageID) {
	size := e.Meta().PageBytes()
	all, err := staging.Anonymous().Allocate(len(ids) * size)
	require.NoError(b, err)
	for i, id := range ids {
		require.NoError(b, e.ReadPage(b.Context(), id, all[i*size:(i+1)*size]))
	}
	part := size / 2
	b.SetBytes(int64(len(all)))
	for b.Loop() {
		var wg sync.WaitGroup
		for w := range 2 {
			wg.Go(func() {
				h, err := digest.NewHasher(digest.BLAKE3, nil)
				if !assert.NoError(b, err) {
					return
				}
				for off := w * part; off < len(all); off += 2 * part {
					h.Sum(all[off : off+part])
				}
			})
		}
		wg.Wait()
	}
	b.StopTimer()
	require.NoError(b, staging.Anonymous().Free(all))
}

// million returns an engine with 10^6 pages of 64 bytes.
func million(b *testing.B) *synthetic.Engine {
	b.Helper()
	m, err := pager.Plain(1, 1, 1, 16, pager.BF16)
	require.NoError(b, err)
	e, err := synthetic.New(synthetic.Options{Meta: m, Capacity: 1_100_000})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, e.Close()) })
	require.NoError(b, e.Populate(1_000_000, 1<<40))
	return e
}

// BenchmarkMillion measures what grows with the number of pages rather than
// with their bytes.
func BenchmarkMillion(b *testing.B) {
	e := million(b)
	ctx := context.Background()
	s, err := mem.Open(mem.Options{ReserveBytes: 256 << 20, ReserveBlobs: 2_200_000})
	require.NoError(b, err)
	defer func() { require.NoError(b, s.Close()) }()
	first, err := capture.Capture(ctx, e, s, capture.Options{})
	require.NoError(b, err)
	for i := range 50_000 {
		require.NoError(b, e.WritePage(ctx, pager.PageID(i*20), fmt.Appendf(nil, "%064d", i)))
	}
	second, err := capture.Capture(ctx, e, s, capture.Options{})
	require.NoError(b, err)
	b.Run("op=capture/pages=1000000", func(b *testing.B) {
		for b.Loop() {
			_, err := capture.Capture(ctx, e, s, capture.Options{})
			require.NoError(b, err)
		}
	})
	b.Run("op=load/pages=1000000", func(b *testing.B) {
		for b.Loop() {
			_, _, err := capture.Load(ctx, s, first.Root, capture.LoadOptions{})
			require.NoError(b, err)
		}
	})
	b.Run("op=diff/pages=1000000", func(b *testing.B) {
		for b.Loop() {
			d, err := capture.Diff(ctx, s, first.Root, second.Root, capture.LoadOptions{})
			require.NoError(b, err)
			require.Equal(b, 50_000, d.OnlyA)
		}
	})
}

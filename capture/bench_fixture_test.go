package capture_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// BenchmarkFixture measures ProcessFork's own benchmark fixture: 64 pages of
// 8 tokens, 4 layers, 4 heads of 8, bf16 (256 KiB) in a memory store. A new
// store for each capture and a new engine for each restore, as there; ours
// checks every byte of a restore. As in the original's benchmark, the time is
// that of the capture without making the store, and of the restore with making
// the engine; the medians are the figures to compare.
func BenchmarkFixture(b *testing.B) {
	ctx := context.Background()
	m, err := pager.Plain(8, 4, 4, 8, pager.BF16)
	require.NoError(b, err)
	src, err := synthetic.New(synthetic.Options{Meta: m, Capacity: 64})
	require.NoError(b, err)
	defer func() { require.NoError(b, src.Close()) }()
	require.NoError(b, src.Populate(64, 0))
	for _, f := range []cas.Format{cas.FormatNative, cas.FormatProcessFork} {
		b.Run("op=capture/format="+string(f), func(b *testing.B) {
			b.ReportAllocs()
			var took []time.Duration
			for b.Loop() {
				s, err := mem.Open(mem.Options{})
				require.NoError(b, err)
				begin := time.Now()
				_, err = capture.Capture(ctx, src, s, capture.Options{Format: f})
				took = append(took, time.Since(begin))
				require.NoError(b, err)
				require.NoError(b, s.Close())
			}
			reportMedian(b, took)
		})
		b.Run("op=restore/format="+string(f), func(b *testing.B) {
			s, err := mem.Open(mem.Options{})
			require.NoError(b, err)
			rep, err := capture.Capture(ctx, src, s, capture.Options{Format: f})
			require.NoError(b, err)
			b.ReportAllocs()
			var took []time.Duration
			for b.Loop() {
				begin := time.Now()
				dst, err := synthetic.New(synthetic.Options{Meta: m, Capacity: 64})
				require.NoError(b, err)
				_, err = capture.Restore(ctx, s, rep.Root, dst, capture.RestoreOptions{})
				took = append(took, time.Since(begin))
				require.NoError(b, err)
				require.NoError(b, dst.Close())
			}
			reportMedian(b, took)
			require.NoError(b, s.Close())
		})
	}
}

func reportMedian(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "median-ns")
	b.ReportMetric(float64(took[0].Nanoseconds()), "best-ns")
}

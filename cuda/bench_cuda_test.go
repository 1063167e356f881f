//go:build cuda

package cuda_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cuda"
)

// BenchmarkNap is how late a wait looks again: the time beyond the pause.
func BenchmarkNap(b *testing.B) {
	for _, pause := range []time.Duration{10 * time.Microsecond, 50 * time.Microsecond, 200 * time.Microsecond} {
		b.Run("pause="+pause.String(), func(b *testing.B) {
			n := cuda.NewNapper()
			defer n.Close()
			b.ReportAllocs()
			start := time.Now()
			for b.Loop() {
				n.Nap(pause)
			}
			late := time.Since(start)/time.Duration(b.N) - pause
			b.ReportMetric(float64(late.Nanoseconds()), "ns-late")
			require.Positive(b, late)
		})
	}
}

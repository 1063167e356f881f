//go:build cuda

package cuda_test

import (
	"context"
	"fmt"
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

// BenchmarkSubmit is what queueing costs beside the driver's own work, which the software driver
// does in its own time: see bench/device for a GPU.
func BenchmarkSubmit(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		for _, method := range []cuda.Method{cuda.Batch, cuda.Single} {
			b.Run(fmt.Sprintf("copies=%d/method=%d", n, method), func(b *testing.B) {
				r := newRig(b)
				const each = 512
				mem, m := r.pin(int64(n*each)), r.alloc(int64(n*each))
				cs := make([]cuda.Copy, n)
				for i := range cs {
					cs[i] = cuda.Copy{Dst: m.Ptr() + cuda.Ptr(i*each), Src: at(mem) + cuda.Ptr(i*each), Bytes: each}
				}
				var q cuda.Submission
				b.SetBytes(int64(n * each))
				b.ReportAllocs()
				for b.Loop() {
					q.Reset()
					q.Copies(cs, method)
					q.RecordEvent(r.event)
					_, err := r.stream.Submit(&q)
					require.NoError(b, err)
					require.NoError(b, r.event.Wait(context.Background()))
				}
			})
		}
	}
}

// BenchmarkDone is the cost of looking at an event once.
func BenchmarkDone(b *testing.B) {
	r := newRig(b)
	b.ReportAllocs()
	for b.Loop() {
		done, err := r.event.Done()
		if !done || err != nil {
			b.Fatal(done, err)
		}
	}
}

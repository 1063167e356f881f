package kernels

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cuda"
)

// BenchmarkAdd is what the launchers take of the host for a batch, before the
// driver has it.
func BenchmarkAdd(b *testing.B) {
	const pages, pageBytes = 256, 180224
	s := bare()
	r, _, err := planRuns([]Run{{Address: somewhere, PageStride: pageBytes, Bytes: pageBytes, Count: 1}}, pageBytes)
	require.NoError(b, err)
	r.set, r.units, r.table = s, somewhere, somewhere
	parts := []Part{{0, pageBytes / 2}, {pageBytes / 2, pageBytes / 2}}
	h := Hash{Parts: parts, Count: pages, Digests: somewhere, Scratch: somewhere, ScratchBytes: ScratchBytes(parts, pages)}
	var q cuda.Submission
	for name, add := range map[string]func() error{
		"op=gather": func() error {
			return r.Gather(&q, Pages{Numbers: somewhere, Count: pages, Staging: somewhere, Stride: pageBytes})
		},
		"op=hash":          func() error { return s.HashPages(&q, somewhere, pageBytes, h) },
		"op=hash-in-place": func() error { return r.HashInPlace(&q, somewhere, h) },
		"op=compare":       func() error { return s.Compare(&q, somewhere, somewhere, pages, 2, somewhere, somewhere) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				q.Reset()
				if err := add(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(q.Len()), "launches/op")
		})
	}
}

// BenchmarkPlan is what NewRuns takes of the host: 22 layers of K and V, of 16
// tokens with 4 heads of 128 bytes in the order of heads.
func BenchmarkPlan(b *testing.B) {
	var runs []Run
	at := int64(0)
	for range 44 {
		for head := range int64(4) {
			runs = append(runs, Run{
				Address: somewhere + cuda.Ptr(at+head*2048), PageStride: 8192 * 44, LocalStride: 128,
				Canonical: at + head*128, CanonicalStride: 512, Bytes: 128, Count: 16,
			})
		}
		at += 8192
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := planRuns(runs, at); err != nil {
			b.Fatal(err)
		}
	}
}

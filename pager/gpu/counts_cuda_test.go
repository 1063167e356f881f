//go:build cuda

package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/softcuda"
	"github.com/kvferry/kvferry/pager"
)

// TestDriverCallsDoNotGrowWithPages counts what a job of 24 pages in 5 batches
// takes.
func TestDriverCallsDoNotGrowWithPages(t *testing.T) {
	for _, c := range []struct {
		path           Path
		d              pager.Direction
		submissions    uint64 // batches, the mark in the engine's stream, and its wait
		launches       uint64
		copies         uint64
		batched, alone int // calls of the driver
	}{
		{Staged, pager.Out, 5 + 1, 5, 5 + 5, 0, 5 + 5}, // with the tables
		{Staged, pager.In, 5 + 1 + 1, 5, 5 + 5, 0, 5 + 5},
		{Direct, pager.Out, 5 + 1, 0, 24 * 8, 5, 0},
		{Direct, pager.In, 5 + 1 + 1, 0, 24 * 8, 5, 0},
		{Plain, pager.Out, 5 + 1, 0, 24 * 8, 0, 24 * 8},
	} {
		t.Run(c.path.String(), func(t *testing.T) {
			w := newWorld(t, ordinary(t))
			softcuda.Only(t)
			p := w.open(inBatches(5, func(cfg *Config) { cfg.Paths = Forced(c.path) }))
			frames, ids := w.frames(24, 0), w.all()
			for _, f := range frames {
				w.noise(f)
			}
			w.queueUpload(w.memory())
			w.settle()
			single := func() int {
				return softcuda.Calls("cuMemcpyAsync") + softcuda.Calls("cuMemcpyDtoHAsync") + softcuda.Calls("cuMemcpyHtoDAsync")
			}
			alone, batched, launched := single(), softcuda.Calls("cuMemcpyBatchAsync"), softcuda.Calls("cuLaunchKernel")
			toHost, toDevice := softcuda.BytesOverLink()
			w.move(p, c.d, ids, frames)
			bytes := int64(24 * w.layout.Meta.PageBytes())
			tables := uint64(0)
			if c.path == Staged {
				tables = 24 * numberBytes // once, whatever the kernels look up
			}
			require.Equal(t, Stats{
				Jobs: 1, Pages: 24, Bytes: uint64(bytes) + tables, Submissions: c.submissions, Launches: c.launches, Copies: c.copies,
			}, p.Stats())
			require.Equal(t, c.alone, single()-alone)
			require.Equal(t, c.batched, softcuda.Calls("cuMemcpyBatchAsync")-batched)
			require.EqualValues(t, c.launches, softcuda.Calls("cuLaunchKernel")-launched)
			h, d := softcuda.BytesOverLink()
			if c.d == pager.Out {
				require.Equal(t, [2]int64{bytes, int64(tables)}, [2]int64{h - toHost, d - toDevice})
			} else {
				require.Equal(t, [2]int64{0, bytes + int64(tables)}, [2]int64{h - toHost, d - toDevice})
			}
		})
	}
}

// TestCopiesOverlapWithKernels looks at the time line: the link never waits for
// a kernel, once the first has run, nor a kernel for the copy before.
func TestCopiesOverlapWithKernels(t *testing.T) {
	for _, d := range []pager.Direction{pager.Out, pager.In} {
		w := newWorld(t, ordinary(t))
		softcuda.Only(t)
		p := w.open(inBatches(4, func(cfg *Config) { cfg.Paths = Forced(Staged) }))
		frames := w.frames(24, 0)
		for _, f := range frames {
			w.noise(f)
		}
		w.queueUpload(w.memory())
		w.settle()
		earlier := len(softcuda.Timeline())
		softcuda.Hold() // what is submitted one after the other is there at once
		ticket := w.submitJob(p, d, w.all(), frames)
		for p.Stats().Launches < 6 {
			if p.cache.device.Err() != nil {
				t.Fatal(p.cache.device.Err())
			}
		}
		softcuda.Release()
		w.done(p, ticket)
		var copies, kernels []softcuda.Span
		for _, s := range softcuda.Timeline()[earlier:] {
			switch s.Kind {
			case "copy":
				if s.Bytes > 4*numberBytes { // no table
					copies = append(copies, s)
				}
			case "kernel":
				kernels = append(kernels, s)
			}
		}
		require.Len(t, copies, 6)
		require.Len(t, kernels, 6)
		overlaps := 0
		for i := range 5 {
			first, second := copies[i], kernels[i+1] // copy out of extent n, gather of n+1
			if d == pager.In {
				first, second = copies[i+1], kernels[i] // copy in of n+1, scatter of n
			}
			if first.Begin < second.End && second.Begin < first.End {
				overlaps++
			}
		}
		require.Equal(t, 5, overlaps, "copies %v, kernels %v", copies, kernels)
	}
}

// TestPagesCostNoAllocation compares jobs of few and of many pages.
func TestPagesCostNoAllocation(t *testing.T) {
	eachPath(t, func(t *testing.T, force func(*Config)) {
		w := newWorld(t, ordinary(t))
		p := w.open(inBatches(5, force))
		w.queueUpload(w.memory())
		pinned, ids := w.frames(24, 0), w.all()
		heap := w.framesOf("heap")
		sums := make([]digest.Digest, 2*len(ids))
		ctx := t.Context()
		cost := func(n int, frames [][]byte, d pager.Direction) float64 {
			return testing.AllocsPerRun(20, func() {
				ticket, err := p.cache.Submit(ctx, pager.Job{Direction: d, Pages: ids[:n], Frames: frames[:n]})
				if err != nil {
					panic(err)
				}
				if c, err := p.cache.Wait(ctx, ticket); err != nil || c.Outcome != pager.Done {
					panic(c)
				}
			})
		}
		for _, frames := range [][][]byte{pinned, heap} {
			for _, d := range []pager.Direction{pager.Out, pager.In} {
				one, all := cost(1, frames, d), cost(24, frames, d)
				require.InDelta(t, one, all, 0.9, "a job of 24 pages in 5 batches costs what one of a page does")
				require.LessOrEqual(t, all, 8.0)
			}
		}
		digesting := func(n int) float64 {
			return testing.AllocsPerRun(20, func() {
				if err := p.cache.DigestPages(ctx, digest.BLAKE3, nil, ids[:n], sums[:2*n]); err != nil {
					panic(err)
				}
			})
		}
		require.InDelta(t, digesting(1), digesting(24), 0.9)
	})
}

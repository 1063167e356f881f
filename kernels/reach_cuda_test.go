//go:build cuda

package kernels

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
)

// TestFarPages: page numbers of 32 bits at strides that take an address beyond
// that. Page 0 would lie before the memory; only what is named is touched.
func TestFarPages(t *testing.T) {
	l := newLab(t)
	for _, number := range []uint32{1 << 20, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
		const stride, page = 8192, 4096 + 1024
		a := l.random(2*stride + 64)
		if uint64(a.at(16)) <= uint64(number)*stride { // page 0 would lie before the first address
			require.False(t, softcuda.Loaded() || number == 1<<20, "no address is far enough")
			require.NoError(t, a.memory.Free())
			continue
		}
		first := a.at(16) - cuda.Ptr(uint64(number-1)*stride)
		runs := []Run{
			{Address: first, PageStride: stride, LocalStride: 160, CanonicalStride: 128, Bytes: 128, Count: 32},
			{Address: first + 8192 - 2048, PageStride: stride, Canonical: 4096, Bytes: 1024, Count: 1},
		}
		l.moves([]*area{a}, runs, page, []uint32{number, number - 1}, place{gap: 16})
		whole := []Run{{Address: first, PageStride: stride, Bytes: 5000, Count: 1}}
		l.inPlace([]*area{a}, whole, 5000, []uint32{number - 1, number}, []Part{{0, 2048}, {2048, 2952}}, l.key(), 0)
		require.NoError(t, a.memory.Free())
	}
}

// TestConcurrentLaunches: goroutines that share a set and a page's runs, each with a
// stream of its own.
func TestConcurrentLaunches(t *testing.T) {
	l := newLab(t)
	const pages, page = 8, 6000
	a := l.random(pages * 6016)
	r, err := l.set.NewRuns([]Run{{Address: a.at(0), PageStride: 6016, Bytes: page, Count: 1}}, page)
	require.NoError(t, err)
	parts := []Part{{0, 3000}, {3000, 3000}}
	ds := make([]*digests, 4)
	ns, stagings := make([]*area, len(ds)), make([]*area, len(ds))
	want := make([][]byte, len(ds))
	for i := range ds {
		numbers := l.some(pages, pages)
		ns[i], stagings[i], ds[i] = l.holding(words(numbers)), l.random(pages*page), l.hashing(parts, pages, nil, 0)
		gatherReference(images{a.image()}, r.plain(6016), numbers, stagings[i].host, page)
		for p := range pages {
			want[i] = append(want[i], hashReference(stagings[i].host[p*page:], parts, nil)...)
		}
	}
	l.run()
	errs := make([]error, len(ds))
	var wg sync.WaitGroup
	for i := range ds {
		wg.Go(func() {
			s, err := l.d.NewStream(cuda.StreamOptions{})
			if err != nil {
				errs[i] = err
				return
			}
			for range 5 {
				var q cuda.Submission
				err = errors.Join(err,
					r.Gather(&q, Pages{Numbers: ns[i].at(0), Count: pages, Staging: stagings[i].at(0), Stride: page}),
					l.set.HashPages(&q, stagings[i].at(0), page, ds[i].h))
				_, submitted := s.Submit(&q)
				err = errors.Join(err, submitted, s.Synchronize())
			}
			errs[i] = errors.Join(err, s.Close())
		})
	}
	wg.Wait()
	for i := range ds {
		require.NoError(t, errs[i])
		l.checkDigests(ds[i], want[i], "concurrent")
		l.check([]*area{ns[i], stagings[i]}, "concurrent")
	}
	require.NoError(t, r.Close())
	require.NoError(t, a.memory.Free())
}

// plain returns runs of one fragment as a list of runs.
func (r *Runs) plain(stride int64) []Run {
	f := r.fragments[0]
	return []Run{{Address: cuda.Ptr(f.address), PageStride: stride, Bytes: f.bytes, Count: 1}}
}

// TestKernelFacts: no kernel has memory for each thread, as it would if registers
// were spilled, and each can have the threads it is launched with.
func TestKernelFacts(t *testing.T) {
	l := newLab(t)
	threads := map[string]int{"gather": copyThreads, "scatter": copyThreads, "compare_flags": compareThreads, "compare_list": compareThreads, "planes_offsets": offsetsThreads}
	for _, k := range l.set.kernels() {
		f, err := (*k.f).Facts()
		require.NoError(t, err, k.name)
		require.Zero(t, f.LocalBytes, k.name)
		require.GreaterOrEqual(t, f.MaxThreads, max(threads[k.name], hashThreads), k.name)
		t.Logf("%s: %d registers, %d bytes shared", k.name, f.Registers, f.SharedBytes)
	}
}

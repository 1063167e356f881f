//go:build cuda

package kernels

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cuda"
)

// place is how a case puts its pages: everything that alignment depends on.
type place struct {
	count          int   // pages
	staging        int64 // offset of the staging from a multiple of 256
	gap            int64 // between canonical pages
	blocks         int
	pages, padding int64 // of the engine's memory
}

// moves gathers pages by runs over areas, then scatters others, and compares all
// memory with the references'. runs have addresses in the areas.
func (l *lab) moves(areas []*area, runs []Run, pageBytes int64, numbers []uint32, p place) {
	l.t.Helper()
	what := fmt.Sprintf("%+v, runs %+v", p, runs[:min(len(runs), 3)])
	r, err := l.set.NewRuns(runs, pageBytes)
	require.NoError(l.t, err, what)
	defer func() { require.NoError(l.t, r.Close()) }()
	stride := pageBytes + p.gap
	const canary = 48
	staging := l.random(canary + p.staging + int64(len(numbers))*stride + canary)
	ns := l.holding(words(numbers))
	all := append([]*area{staging, ns}, areas...)
	pages := Pages{
		Numbers: ns.at(0), Count: len(numbers), Staging: staging.at(canary + p.staging), Stride: stride, Blocks: p.blocks,
	}
	require.NoError(l.t, r.Gather(&l.q, pages), what)
	l.run()
	gatherReference(addresses(areas), runs, numbers, staging.host[canary+p.staging:], stride)
	for i, got := range l.contents(all...) {
		require.Equal(l.t, -1, differs(got, all[i].host), "gather: area %d: %s", i, what)
	}
	other := l.random(int64(len(staging.host)))
	pages.Staging = other.at(canary + p.staging)
	require.NoError(l.t, r.Scatter(&l.q, pages), what)
	l.run()
	scatterReference(addresses(areas), runs, numbers, other.host[canary+p.staging:], stride)
	all = append(all, other)
	for i, got := range l.contents(all...) {
		require.Equal(l.t, -1, differs(got, all[i].host), "scatter: area %d: %s", i, what)
	}
	for _, a := range []*area{staging, ns, other} {
		require.NoError(l.t, a.memory.Free(), what)
	}
}

// some returns count different page numbers of pages.
func (l *lab) some(count, pages int) []uint32 {
	var ns []uint32
	for _, n := range l.rng.Perm(pages)[:count] {
		ns = append(ns, uint32(n))
	}
	return ns
}

// TestOneRun moves pages of one run of fragments of every length and alignment at
// which something changes: elements, batches of a warp, units.
func TestOneRun(t *testing.T) {
	l := newLab(t)
	lengths := []int64{
		1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 127, 128, 129, 130, 250, 255, 256, 257, 511, 512, 513,
		1023, 1024, 1025, 2032, 2047, 2048, 2049, 2064, 4079, 4080, 4081, 4095, 4096, 4097, 4112, 6000, 8191, 8192, 8193, 12289, 20000,
	}
	offsets := [][4]int64{{16, 0, 0, 16}, {8, 8, 8, 8}, {4, 0, 4, 4}, {2, 2, 0, 6}, {1, 0, 1, 1}, {3, 3, 0, 0}, {5, 5, 16, 32}, {0, 1, 0, 15}, {0, 1, 16, 15}, {0, 8, 16, 8}, {0, 0, 16, 4}}
	for _, bytes := range lengths {
		counts := []int64{1, 2, 3, 4096/bytes - 1, 4096 / bytes, 4096/bytes + 1, 2*(4096/bytes) + 1}
		for i, n := range counts {
			if n < 1 || i >= 3 && n < 4 {
				continue
			}
			for j, off := range offsets {
				if i < 2 || j == l.rng.IntN(len(offsets)) { // all of them with one fragment and with two
					l.oneRun(bytes, n, off[0], off[1], off[2], off[3])
				}
			}
			l.oneRun(bytes, n, 0, 0, 0, 16)
		}
	}
}

// oneRun moves pages of n fragments of bytes. The first lies lead bytes after a
// multiple of 256, gap bytes are between two in memory and pad behind each page.
func (l *lab) oneRun(bytes, n, lead, staging, gap, pad int64) {
	const pages = 5
	local := bytes + gap
	pageStride := n*local + pad
	a := l.random(64 + lead + pages*pageStride + 64)
	run := Run{Address: a.at(64 + lead), PageStride: pageStride, LocalStride: local, CanonicalStride: bytes, Bytes: bytes, Count: n}
	count := []int{1, 2, pages}[l.rng.IntN(3)]
	p := place{count: count, staging: staging, gap: pad, blocks: l.rng.IntN(3), pages: pages, padding: gap}
	l.moves([]*area{a}, []Run{run}, bytes*n, l.some(count, pages), p)
	require.NoError(l.t, a.memory.Free())
}

// TestCanonicalOrders moves pages whose fragments come in another order, as the
// heads of a layer do: short ones at a canonical stride.
func TestCanonicalOrders(t *testing.T) {
	l := newLab(t)
	for _, row := range []int64{1, 2, 6, 8, 16, 30, 32, 64, 128, 256, 257, 2048, 4096} {
		for _, heads := range []int64{1, 2, 3, 8} {
			for _, tokens := range []int64{1, 2, 16, 17} {
				if row*heads*tokens > 100_000 {
					continue
				}
				const pages = 3
				page := row * heads * tokens
				lead := l.rng.Int64N(3) * 8
				a := l.random(lead + pages*page + 32)
				var runs []Run
				for h := range heads {
					runs = append(runs, Run{
						Address: a.at(lead + h*tokens*row), PageStride: page, LocalStride: row,
						Canonical: h * row, CanonicalStride: heads * row, Bytes: row, Count: tokens,
					})
				}
				l.moves([]*area{a}, runs, page, l.some(2, pages), place{gap: l.rng.Int64N(2) * 16, blocks: l.rng.IntN(4)})
				require.NoError(t, a.memory.Free())
			}
		}
	}
}

// TestRandomRuns moves pages cut anyhow and laid anywhere in several areas.
func TestRandomRuns(t *testing.T) {
	l := newLab(t)
	for range 60 {
		l.randomRuns()
	}
}

func (l *lab) randomRuns() {
	pages := 1 + l.rng.IntN(6)
	areas := make([]*area, 1+l.rng.IntN(3))
	ends := make([]int64, len(areas)) // bytes taken of each page's place
	var runs []Run
	page := int64(0)
	for range 1 + l.rng.IntN(8) {
		i := l.rng.IntN(len(areas))
		r := Run{Bytes: 1 + l.rng.Int64N(1<<l.rng.IntN(14)), Count: 1}
		if l.rng.IntN(2) == 0 {
			r.Bytes = (r.Bytes + 15) &^ 15
		}
		if r.Bytes < 600 {
			r.Count += l.rng.Int64N(40)
		}
		r.LocalStride, r.CanonicalStride = r.Bytes+l.rng.Int64N(2)*l.rng.Int64N(40), r.Bytes
		r.Address = cuda.Ptr(ends[i] + l.rng.Int64N(2)*l.rng.Int64N(40))
		r.PageStride = int64(i) // for now
		r.Canonical = page
		ends[i] = int64(r.Address) + r.Count*r.LocalStride
		page += r.Bytes * r.Count
		runs = append(runs, r)
	}
	for i := range areas {
		ends[i] += l.rng.Int64N(3) * 8
		areas[i] = l.random(int64(pages)*ends[i] + 16)
	}
	for i := range runs {
		in := runs[i].PageStride
		runs[i].Address += areas[in].at(0)
		runs[i].PageStride = ends[in]
	}
	l.rng.Shuffle(len(runs), func(i, j int) { runs[i], runs[j] = runs[j], runs[i] })
	p := place{staging: l.rng.Int64N(2) * l.rng.Int64N(32), gap: l.rng.Int64N(2) * l.rng.Int64N(32), blocks: l.rng.IntN(5)}
	l.moves(areas, runs, page, l.some(l.rng.IntN(pages+1), pages), p)
	for _, a := range areas {
		require.NoError(l.t, a.memory.Free())
	}
}

package pager

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

// opaque is a geometry with parts of the given lengths.
func opaque(parts ...int) Meta {
	m := Meta{PageTokens: 1, Layers: 1, KVHeads: 1, HeadDim: 1, Dtype: Opaque}
	for _, n := range parts {
		m.Parts = append(m.Parts, Part{Kind: PartKV, Bytes: n})
	}
	return m
}

// one is a layout of one region and one part.
func one(pages int, r Region, part int, runs ...Run) *Layout {
	return &Layout{Meta: opaque(part), Pages: pages, Regions: []Region{r}, Runs: [][]Run{runs}}
}

func TestValidateRefuses(t *testing.T) {
	t.Parallel()
	const big = math.MaxInt64
	reg := Region{Bytes: 100, Stride: 10}
	for name, l := range map[string]*Layout{
		"no meta":                  {},
		"runs of a part missing":   {Meta: opaque(1, 1), Runs: [][]Run{nil}},
		"negative pages":           one(-1, reg, 10, Run{0, 0, 0, 10, 1, 0, 0}),
		"too many pages":           one(MaxPages+1, Region{Bytes: big, Stride: 10}, 10, Run{0, 0, 0, 10, 1, 0, 0}),
		"negative region":          one(1, Region{Bytes: -1}, 0),
		"negative offset":          one(1, Region{Bytes: 10, Offset: -1}, 10, Run{0, 0, 0, 10, 1, 0, 0}),
		"negative stride":          one(2, Region{Bytes: 20, Offset: 10, Stride: -10}, 10, Run{0, 0, 0, 10, 1, 0, 0}),
		"region beyond":            one(1, reg, 10, Run{1, 0, 0, 10, 1, 0, 0}),
		"region before":            one(1, reg, 10, Run{-1, 0, 0, 10, 1, 0, 0}),
		"no bytes":                 one(1, reg, 10, Run{0, 0, 0, 10, 1, 0, 0}, Run{0, 0, 0, 0, 1, 0, 0}),
		"no fragments":             one(1, reg, 10, Run{0, 0, 0, 10, 0, 0, 0}),
		"negative local":           one(1, reg, 10, Run{0, -1, 0, 10, 1, 0, 0}),
		"negative canonical":       one(1, reg, 10, Run{0, 0, -1, 10, 1, 0, 0}),
		"negative local stride":    one(1, reg, 10, Run{0, 50, 0, 5, 2, -5, 5}),
		"part not covered":         one(1, reg, 10),
		"part covered in part":     one(1, reg, 10, Run{0, 0, 0, 9, 1, 0, 0}),
		"hole":                     one(1, reg, 10, Run{0, 0, 0, 4, 1, 0, 0}, Run{0, 5, 5, 5, 1, 0, 0}),
		"canonical twice":          one(1, reg, 10, Run{0, 0, 0, 6, 1, 0, 0}, Run{0, 6, 4, 4, 1, 0, 0}),
		"canonical beyond":         one(1, reg, 10, Run{0, 0, 1, 10, 1, 0, 0}),
		"canonical stride beyond":  one(1, reg, 10, Run{0, 0, 0, 5, 2, 5, 6}),
		"canonical stride 0":       one(1, reg, 10, Run{0, 0, 0, 5, 2, 5, 0}),
		"count overflows":          one(1, reg, 10, Run{0, 0, 0, big, big, 1, 1}),
		"canonical overflows":      one(1, reg, 10, Run{0, 0, big, 5, 2, 5, big}),
		"local overflows":          one(1, reg, 10, Run{0, big, 0, 10, 1, 0, 0}),
		"local stride overflows":   one(1, reg, 10, Run{0, 0, 0, 5, 2, big, 5}),
		"offset overflows":         one(1, Region{Bytes: big, Offset: big}, 10, Run{0, 0, 0, 10, 1, 0, 0}),
		"pages overflow":           one(MaxPages, Region{Bytes: big, Stride: big / 2}, 10, Run{0, 0, 0, 10, 1, 0, 0}),
		"overflow without pages":   one(0, Region{Bytes: big, Offset: big}, 10, Run{0, big, 0, 10, 1, 0, 0}),
		"last page outside":        one(11, reg, 10, Run{0, 0, 0, 10, 1, 0, 0}),
		"fragment outside":         one(1, reg, 10, Run{0, 91, 0, 10, 1, 0, 0}),
		"last fragment outside":    one(1, reg, 10, Run{0, 0, 0, 5, 2, 96, 5}),
		"fragments of a page meet": one(1, reg, 10, Run{0, 0, 0, 5, 2, 4, 5}),
		"fragments at one place":   one(1, reg, 10, Run{0, 0, 0, 5, 2, 0, 5}),
		"pages meet":               one(2, Region{Bytes: 100, Stride: 9}, 10, Run{0, 0, 0, 10, 1, 0, 0}),
		"pages at one place":       one(2, Region{Bytes: 100}, 10, Run{0, 0, 0, 10, 1, 0, 0}),
		"pages meet far apart":     one(10, reg, 10, Run{0, 0, 0, 5, 2, 7 * 9, 5}),
		"parts at one place": {Meta: opaque(4, 4), Pages: 1, Regions: []Region{reg},
			Runs: [][]Run{{{0, 0, 0, 4, 1, 0, 0}}, {{0, 3, 0, 4, 1, 0, 0}}}},
		"too many fragments": one(1, Region{Bytes: 1 << 30}, MaxFragments+1, Run{0, 0, 0, 1, MaxFragments + 1, 2, 1}),
	} {
		require.ErrorIs(t, l.Validate(), kvferry.ErrInvalid, name)
	}
}

func TestValidateAccepts(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]*Layout{
		"empty parts":    {Meta: opaque(0, 0), Pages: 5, Runs: [][]Run{nil, nil}},
		"no pages":       one(0, Region{}, 10, Run{0, 90, 0, 10, 1, 0, 0}),
		"filled region":  one(10, Region{Bytes: 100, Stride: 10}, 10, Run{0, 0, 0, 10, 1, 0, 0}),
		"padding":        one(10, Region{Bytes: 110, Offset: 10, Stride: 10}, 4, Run{0, 3, 0, 4, 1, 0, 0}),
		"order reversed": one(1, Region{Bytes: 10}, 10, Run{0, 0, 5, 5, 1, 0, 0}, Run{0, 5, 0, 5, 1, 0, 0}),
		// Two layers of ten pages, one after the other.
		"layers outermost": one(10, Region{Bytes: 100, Stride: 5}, 10, Run{0, 0, 0, 5, 2, 50, 5}),
		// Halves of pages 3 apart, in gaps of the others.
		"interlaced":          one(2, Region{Bytes: 100, Stride: 10}, 10, Run{0, 0, 0, 5, 2, 25, 5}),
		"across the stride":   one(4, Region{Bytes: 200, Stride: 10}, 10, Run{0, 7, 0, 5, 2, 45, 5}),
		"all pages there are": one(MaxPages, Region{Bytes: 1 << 40, Stride: 64}, 64, Run{0, 0, 0, 64, 1, 0, 0}),
	} {
		require.NoError(t, l.Validate(), name)
	}
}

// overlapping is the definition: it marks every byte of every page.
func overlapping(fs []fragment, stride int64, pages int) bool {
	seen := make(map[int64]bool)
	for p := range int64(pages) {
		for _, f := range fs {
			for b := range f.n {
				at := p*stride + f.local + b
				if seen[at] {
					return true
				}
				seen[at] = true
			}
		}
	}
	return false
}

func TestOverlapIsExact(t *testing.T) {
	t.Parallel()
	const seed = 3
	rng := rand.New(rand.NewPCG(seed, 0))
	found := 0
	for i := range 20000 {
		fs := make([]fragment, 1+rng.IntN(4))
		for k := range fs {
			fs[k] = fragment{local: rng.Int64N(40), n: 1 + rng.Int64N(4)}
		}
		stride, pages := rng.Int64N(14), 1+rng.IntN(5)
		l := &Layout{Pages: pages, Regions: []Region{{Stride: stride}}}
		want := overlapping(fs, stride, pages)
		err := l.checkOverlap(fs)
		require.Equal(t, want, err != nil, "case %d of seed %d: %v, stride %d, %d pages: %v", i, seed, fs, stride, pages, err)
		if want {
			found++
		}
	}
	require.Greater(t, found, 2000)
	require.Less(t, found, 18000)
}

func TestCompileMerges(t *testing.T) {
	t.Parallel()
	m, err := Plain(16, 22, 4, 64, BF16)
	require.NoError(t, err)
	type build func(Meta, int) (*Layout, error)
	for _, c := range []struct {
		build build
		want  int
	}{
		{KVOutermost, 22}, // one run for each layer: its K and its V
		{func(m Meta, n int) (*Layout, error) { return KVPerPage(m, n, false) }, 22},
		{TokenPools, 44}, // K and V are in regions of their own
		{func(m Meta, n int) (*Layout, error) { return KVOrdered(m, n, "BLNHC") }, 2 * 22 * 16 / 2},
	} {
		l, err := c.build(m, 10)
		require.NoError(t, err)
		compiled, err := l.Compile()
		require.NoError(t, err)
		require.LessOrEqual(t, len(compiled.Runs()), c.want)
		total := int64(0)
		for _, r := range compiled.Runs() {
			total += r.Bytes * r.Count
		}
		require.Equal(t, int64(m.PageBytes()), total)
	}
	whole := one(4, Region{Bytes: 400, Stride: 100}, 100)
	for i := range int64(50) {
		whole.Runs[0] = append(whole.Runs[0], Run{0, 98 - 2*i, 98 - 2*i, 2, 1, 0, 0})
	}
	c, err := whole.Compile()
	require.NoError(t, err)
	require.Equal(t, []Run{{Bytes: 100, Count: 1}}, c.Runs())
	every := one(4, Region{Bytes: 800, Stride: 200}, 100)
	for i := range int64(50) {
		every.Runs[0] = append(every.Runs[0], Run{0, 4 * i, 2 * i, 2, 1, 0, 0})
	}
	c, err = every.Compile()
	require.NoError(t, err)
	require.Equal(t, []Run{{0, 0, 0, 2, 50, 4, 2}}, c.Runs())
}

// Every size of fragment and every stride, against a copy byte by byte.
func TestGatherAndScatterOfEverySize(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65} {
		for gap := range int64(3) {
			const count, pages = 7, 3
			l := one(pages, Region{Bytes: 2 + pages*count*(n+gap), Offset: 2, Stride: count * (n + gap)}, int(count*n),
				Run{0, 0, 0, n, count, n + gap, n})
			m, err := l.Compile()
			require.NoError(t, err)
			mem := make([]byte, l.Regions[0].Bytes)
			for i := range mem {
				mem[i] = byte(i*7 + 1)
			}
			b, err := m.Bind([][]byte{mem})
			require.NoError(t, err)
			for page := range int64(pages) {
				var want []byte
				for i := range int64(count) {
					at := 2 + page*count*(n+gap) + i*(n+gap)
					want = append(want, mem[at:at+n]...)
				}
				got := make([]byte, count*n)
				require.NoError(t, b.Gather(got, PageID(page)))
				require.Equal(t, want, got, "fragments of %d, %d apart", n, gap)
				before := slices.Clone(mem)
				clear(mem[2+page*count*(n+gap) : 2+page*count*(n+gap)+n])
				require.NoError(t, b.Scatter(PageID(page), got))
				require.Equal(t, before, mem)
			}
			require.ErrorIs(t, b.Gather(make([]byte, count*n), pages), kvferry.ErrNotFound)
			require.ErrorIs(t, b.Scatter(0, make([]byte, count*n+1)), kvferry.ErrInvalid)
		}
	}
}

func TestEngineLayoutsRefuse(t *testing.T) {
	t.Parallel()
	m, err := Plain(4, 2, 2, 4, BF16)
	require.NoError(t, err)
	_, err = KVOrdered(m, 4, "LBHCN")
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	_, err = KVOrdered(m, -1, "LBHNC")
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	_, err = KVPacked(opaque(5), 4)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	_, err = KVOutermost(Meta{}, 4)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	huge, err := Plain(0, math.MaxUint32, math.MaxUint32, math.MaxUint32, F32)
	require.NoError(t, err)
	_, err = TokenPools(huge, 4)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	for _, c := range []Latent{
		{Layers: 1, PageTokens: 1, Dtype: BF16, RowBytes: 3, TokenStride: 3, PageStride: 3},
		{Layers: 1, PageTokens: 1, Dtype: BF16, RowBytes: 4, TokenStride: 2, PageStride: 4},
		{Layers: 1, PageTokens: 1, Dtype: BF16, RowBytes: -4, TokenStride: 4, PageStride: 4},
		{Layers: 1, PageTokens: 2, Dtype: BF16, RowBytes: 4, TokenStride: 4, PageStride: 4},
		{Layers: 1, PageTokens: 1, Dtype: BF16, RowBytes: 4, TokenStride: 4, PageStride: math.MaxInt64},
		{Layers: math.MaxUint32, PageTokens: math.MaxUint32, Dtype: BF16, RowBytes: math.MaxInt64 - 1, TokenStride: math.MaxInt64, PageStride: 1},
		{Layers: 1, PageTokens: 1, RowBytes: 4, TokenStride: 4, PageStride: 4},
	} {
		_, err := c.Layout(4)
		require.ErrorIs(t, err, kvferry.ErrInvalid, "%+v", c)
	}
	for _, s := range []Strides{{Layer: -1}, {Token: math.MaxInt64}, {Dim: -1}, {Head: math.MaxInt64 / 2, Token: math.MaxInt64 / 2}} {
		_, err := m.PlainRuns(0, 0, 0, 2, s)
		require.ErrorIs(t, err, kvferry.ErrInvalid, "%+v", s)
	}
	_, err = m.PlainRuns(0, 0, 1, 2, Strides{})
	require.ErrorIs(t, err, kvferry.ErrInvalid, "more layers than there are")
}

func BenchmarkGather(b *testing.B) {
	m, err := Plain(16, 22, 4, 64, BF16)
	require.NoError(b, err)
	for _, order := range Orders() {
		b.Run("order="+order, func(b *testing.B) {
			l, err := KVOrdered(m, 16, order)
			require.NoError(b, err)
			benchGather(b, l)
		})
	}
	for _, n := range []int64{2, 4, 8, 16, 32, 256, 4096, 1 << 18} {
		b.Run(fmt.Sprintf("run=%dB", n), func(b *testing.B) {
			const page = 1 << 18
			benchGather(b, one(8, Region{Bytes: 16 * page, Stride: 2 * page}, page, Run{0, 0, 0, n, page / n, 2 * n, n}))
		})
	}
}

func benchGather(b *testing.B, l *Layout) {
	m, err := l.Compile()
	require.NoError(b, err)
	bound, err := m.Bind([][]byte{make([]byte, l.Regions[0].Bytes)})
	require.NoError(b, err)
	dst := make([]byte, l.Meta.PageBytes())
	b.SetBytes(int64(len(dst)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := bound.Gather(dst, PageID(i%l.Pages)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	m, err := Plain(16, 22, 4, 64, BF16)
	require.NoError(b, err)
	for _, pages := range []int{1_000, 1_000_000} {
		l, err := KVOrdered(m, pages, "BHLNC")
		require.NoError(b, err)
		b.Run(fmt.Sprintf("pages=%d", pages), func(b *testing.B) {
			for b.Loop() {
				require.NoError(b, l.Validate())
			}
		})
	}
}

package gpu

import (
	"cmp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
)

// geometryOf compiles a layout for regions at 2^40, 2^41 and so on.
func geometryOf(t *testing.T, l *pager.Layout) (geometry, []cuda.Ptr) {
	t.Helper()
	m, err := l.Compile()
	require.NoError(t, err)
	var at []cuda.Ptr
	for i := range l.Regions {
		at = append(at, cuda.Ptr(i+1)<<40)
	}
	return newGeometry(kernelRuns(m, at), int64(l.Meta.PageBytes())), at
}

// model is memory by address, as the copies see it.
type model map[cuda.Ptr]byte

func (m model) run(cs []cuda.Copy) {
	for _, c := range cs {
		for i := range cuda.Ptr(c.Bytes) {
			m[c.Dst+i] = m[c.Src+i]
		}
	}
}

// placesAt returns places from 2^50 on; those that are not joined have a gap before.
func placesAt(pageBytes int64, joined ...bool) []place {
	host := cuda.Ptr(1 << 50)
	var ps []place
	for i, j := range joined {
		if i > 0 && !j {
			host += 7 // a gap
		}
		ps = append(ps, place{host + cuda.Ptr(int64(i)*pageBytes), j && i > 0})
	}
	return ps
}

func planMeta(t *testing.T) pager.Meta {
	t.Helper()
	m, err := pager.Plain(3, 2, 2, 5, pager.BF16)
	require.NoError(t, err)
	return m
}

// oneRun keeps pages one after the other, in canonical order.
func oneRun(m pager.Meta, pages int) *pager.Layout {
	l := &pager.Layout{Meta: m, Pages: pages, Regions: []pager.Region{{Stride: int64(m.PageBytes()), Bytes: int64(pages * m.PageBytes())}}}
	at := int64(0)
	for _, p := range m.Parts {
		l.Runs = append(l.Runs, []pager.Run{{Local: at, Bytes: int64(p.Bytes), Count: 1}})
		at += int64(p.Bytes)
	}
	return l
}

func TestDirectCopiesMoveWhatTheLayoutSays(t *testing.T) {
	t.Parallel()
	m := planMeta(t)
	const pages = 6
	packed, err := pager.KVPacked(m, pages)
	require.NoError(t, err)
	outermost, err := pager.KVOutermost(m, pages)
	require.NoError(t, err)
	ids := []pager.PageID{4, 1, 2, 3, 0}
	for name, l := range map[string]*pager.Layout{"one": oneRun(m, pages), "packed": packed, "outermost": outermost} {
		for _, merge := range []bool{false, true} {
			g, _ := geometryOf(t, l)
			ps := placesAt(g.pageBytes, false, true, true, false, true)
			mem := make(model)
			want := make(model)
			for i, id := range ids {
				for _, f := range g.fragments {
					for b := range f.bytes {
						v := byte(int(id)*31 + int(f.canon+b)*7)
						mem[f.at(id)+cuda.Ptr(b)] = v
						want[ps[i].at+cuda.Ptr(f.canon+b)] = v
					}
				}
			}
			out := g.direct(nil, pager.Out, ids, ps, merge)
			mem.run(out)
			for at, v := range want {
				require.Equal(t, v, mem[at], "%s: byte %#x", name, at)
			}
			in := g.direct(nil, pager.In, ids, ps, merge)
			require.Len(t, in, len(out))
			for i := range in {
				require.Equal(t, cuda.Copy{Dst: out[i].Src, Src: out[i].Dst, Bytes: out[i].Bytes}, in[i])
			}
			if merge {
				require.EqualValues(t, len(out), g.runs(ids, ps), name)
			} else {
				require.Len(t, out, len(ids)*len(g.fragments))
			}
		}
	}
}

func TestNeighboursMergeOnBothSidesOnly(t *testing.T) {
	t.Parallel()
	m := planMeta(t)
	g, _ := geometryOf(t, oneRun(m, 100))
	require.True(t, g.chained)
	require.Len(t, g.fragments, 1)
	all := func(n int) []bool { return slices.Repeat([]bool{true}, n) }
	ps := placesAt(g.pageBytes, all(5)...)
	require.EqualValues(t, 1, g.runs([]pager.PageID{7, 8, 9, 10, 11}, ps))
	require.EqualValues(t, 2, g.runs([]pager.PageID{7, 8, 10, 11, 12}, ps), "a gap in the pages")
	require.EqualValues(t, 5, g.runs([]pager.PageID{11, 10, 9, 8, 7}, ps), "descending")
	apart := placesAt(g.pageBytes, true, true, false, true, true)
	require.EqualValues(t, 2, g.runs([]pager.PageID{7, 8, 9, 10, 11}, apart), "a gap in the frames")
	require.EqualValues(t, 5*g.pageBytes, g.direct(nil, pager.Out, []pager.PageID{7, 8, 9, 10, 11}, ps, true)[0].Bytes)

	packed, err := pager.KVPacked(m, 100)
	require.NoError(t, err)
	g, _ = geometryOf(t, packed)
	require.False(t, g.chained)
	require.EqualValues(t, 5*len(g.fragments), g.runs([]pager.PageID{7, 8, 9, 10, 11}, ps))
}

func TestStagedCopiesMergeNeighbouringFrames(t *testing.T) {
	t.Parallel()
	g := geometry{pageBytes: 10}
	ps := placesAt(10, true, true, false, true)
	out := g.staged(nil, pager.Out, 5000, ps)
	require.Equal(t, []cuda.Copy{{Dst: 1 << 50, Src: 5000, Bytes: 20}, {Dst: ps[2].at, Src: 5020, Bytes: 20}}, out)
	in := g.staged(out[:0], pager.In, 5000, ps)
	require.Equal(t, []cuda.Copy{{Src: 1 << 50, Dst: 5000, Bytes: 20}, {Src: ps[2].at, Dst: 5020, Bytes: 20}}, in)
}

func TestFragmentsCoverThePageInOrder(t *testing.T) {
	t.Parallel()
	m := planMeta(t)
	for _, order := range pager.Orders() {
		l, err := pager.KVOrdered(m, 4, order)
		require.NoError(t, err)
		g, at := geometryOf(t, l)
		require.True(t, slices.IsSortedFunc(g.fragments, func(a, b fragment) int { return cmp.Compare(a.canon, b.canon) }))
		end := int64(0)
		for _, f := range g.fragments {
			require.Equal(t, end, f.canon, order)
			end += f.bytes
			require.GreaterOrEqual(t, f.at(0), at[0])
			require.LessOrEqual(t, f.at(3)+cuda.Ptr(f.bytes), at[0]+cuda.Ptr(l.Regions[0].Bytes))
		}
		require.Equal(t, g.pageBytes, end, order)
	}
}

func TestDistinct(t *testing.T) {
	t.Parallel()
	require.Equal(t, 0, distinct(nil))
	require.Equal(t, 3, distinct([]pager.PageID{1, 2, 3}))
	require.Equal(t, 2, distinct([]pager.PageID{1, 2, 1, 3}))
}

func TestAgesTellTheLastWork(t *testing.T) {
	t.Parallel()
	a := newAges(100)
	require.Zero(t, a.latest([]pager.PageID{0, 99}))
	require.False(t, a.touch([]pager.PageID{3, 4}, 1))
	require.True(t, a.touch([]pager.PageID{4, 5, 4}, 2))
	require.EqualValues(t, 1, a.latest([]pager.PageID{3}))
	require.EqualValues(t, 2, a.latest([]pager.PageID{3, 4}))
	require.Zero(t, a.latest([]pager.PageID{6, 99}))
	require.Zero(t, a.latest(nil))
	require.Len(t, newAges(pager.MaxPages).last, maxAges)
	require.Len(t, newAges(0).last, 1)
	require.False(t, newAges(1).touch([]pager.PageID{0}, 1))
}

func TestLimits(t *testing.T) {
	t.Parallel()
	g := &geometry{pageBytes: 1000, fragments: make([]fragment, 10)}
	l, err := newLimits(g, 1_000_000, 10_000)
	require.NoError(t, err)
	require.Equal(t, limits{batchPages: 5, extentBytes: 5000, directPages: 5, digestPages: 5}, l)
	_, err = newLimits(g, 1_000_000, 1999)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.ErrorContains(t, err, "2000 at least")
	_, err = newLimits(g, 1, -1)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	l, err = newLimits(g, 3, 0)
	require.NoError(t, err)
	require.Equal(t, 3, l.batchPages, "no more than there are")
	l, err = newLimits(&geometry{pageBytes: 2, fragments: make([]fragment, 1)}, 1_000_000, 0)
	require.NoError(t, err)
	require.Equal(t, maxBatchPages, l.batchPages)
	l, err = newLimits(&geometry{pageBytes: 1 << 30, fragments: make([]fragment, 1<<20)}, 9, 0)
	require.NoError(t, err)
	require.Equal(t, limits{batchPages: 1, extentBytes: 1 << 30, directPages: 1, digestPages: 1}, l)

	l = limits{batchPages: 100, extentBytes: 100_000}
	l.forDigests(2, 1000, false, func(n int) int64 { return int64(n) })
	require.Equal(t, 100, l.digestPages)
	l.forDigests(2, 1000, true, func(n int) int64 { return int64(n) * 100 })
	require.Equal(t, 500, l.digestPages, "as many as the scratch allows")
	l.forDigests(2, 1000, true, func(int) int64 { return 1 << 40 })
	require.Equal(t, 1, l.digestPages)
	l.forDigests(64, 1_000_000, true, func(int) int64 { return 0 })
	require.Equal(t, maxSumBytes/64/kernels.DigestBytes, l.digestPages)
}

func TestRegionsMustNotOverlap(t *testing.T) {
	t.Parallel()
	regions := []pager.Region{{Bytes: 100}, {Bytes: 50}, {}}
	require.NoError(t, disjoint([]cuda.Ptr{1000, 1100, 1050}, regions), "one without bytes may be anywhere")
	require.NoError(t, disjoint([]cuda.Ptr{1000, 950, 0}, regions))
	for _, at := range [][]cuda.Ptr{{1000, 1099, 0}, {1000, 951, 0}, {1000, 1000, 0}, {0, 1000, 0}, {^cuda.Ptr(0) - 10, 1000, 0}} {
		require.ErrorIs(t, disjoint(at, regions), kvferry.ErrInvalid, "%v", at)
	}
}

package planes

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

// bySearch finds d, lo and hi in h by trying all, with d below mostDown and lo
// and hi in the given bounds.
func (h *pairs) bySearch(mostDown, from, centre, to int) (p Params, most uint32) {
	p.Low, p.Top = h.best().First, h.best().First
	for d := range mostDown {
		for lo := from; lo <= centre; lo++ {
			for hi := max(lo, centre); hi <= to; hi++ {
				if n := h.inside(d, lo, hi); n > most {
					p.Down, p.Low, p.Top, most = uint8(d), uint8(lo), uint8(hi), n
				}
			}
		}
	}
	return p, most
}

// inside counts what windows tell of the values that have a maximum above.
func (h *pairs) inside(d, lo, hi int) (n uint32) {
	for m := h.lowest; m <= h.high; m++ {
		start := min(max(m-d, lo), hi)
		n += h.by[m][start] + h.by[m][start+1] + h.by[m][start+2]
	}
	return n
}

// count returns what a page's segments have, by a slow way.
func count(page []byte, s Shape) []*pairs {
	all := make([]*pairs, s.Segments)
	for i := range all {
		all[i] = new(pairs)
		all[i].clear()
		all[i].add(page[i*s.segmentBytes():][:s.segmentBytes()], s, 0, 1)
	}
	return all
}

// TestTuneFindsTheBest holds the search by sums to one that tries everything.
func TestTuneFindsTheBest(t *testing.T) {
	check := func(h *pairs) {
		got := h.best()
		sum := h.first
		for m := range h.by {
			for e, n := range h.by[m] {
				sum[e] += n
			}
		}
		centre := int(window(&sum, 0, 255, 3))
		want, most := h.bySearch(mostDown, max(0, centre-below), centre, min(centre+above, lastStart))
		require.Equal(t, [3]uint8{want.Down, want.Low, want.Top}, [3]uint8{got.Down, got.Low, got.Top})
		if most > 0 {
			require.Equal(t, most, h.inside(int(got.Down), int(got.Low), int(got.Top)))
		}
	}
	for _, set := range readPages(t) {
		for _, page := range set.pages[:5] {
			for _, h := range count(page, set.shape) {
				check(h)
			}
		}
	}
	for _, s := range shapes {
		for c := range contents {
			for _, h := range count(makePage(s, 0, c), s) {
				if h.any {
					check(h)
				}
			}
		}
	}
}

// TestTuneIsGoodEnough lets the windows that a sample gave compete with those
// that a descent over coded bytes finds, which tries values around that of each
// parameter in turn until none helps.
func TestTuneIsGoodEnough(t *testing.T) {
	for _, set := range readPages(t) {
		pages := set.pages[1:5]
		params, err := Tune(set.shape, pages...)
		require.NoError(t, err)
		var tuned, best int
		var e Encoder
		for i, p := range params {
			size := set.shape.segmentBytes()
			coded := func(p Params) (n int) {
				for _, page := range pages {
					e.prepare(set.shape.Rows * set.shape.Cols)
					e.scratch, _ = e.block(e.scratch[:0], page[i*size:][:size], set.shape, p)
					n += len(e.scratch)
				}
				return n
			}
			first := coded(p)
			tuned += first
			best += descend(p, first, coded)
		}
		t.Logf("%s: tuned %d, best %d: %.4f %% more", set.name, tuned, best, 100*(float64(tuned)/float64(best)-1))
		require.Less(t, float64(tuned), 1.001*float64(best))
	}
}

// descend returns the least that coded gives around p.
func descend(p Params, least int, coded func(Params) int) int {
	fields := []func(p *Params, to int) int{
		func(p *Params, to int) (old int) { old, p.First = int(p.First), uint8(to); return old },
		func(p *Params, to int) (old int) { old, p.Down = int(p.Down), uint8(to); return old },
		func(p *Params, to int) (old int) { old, p.Low = int(p.Low), uint8(to); return old },
		func(p *Params, to int) (old int) { old, p.Top = int(p.Top), uint8(to); return old },
		func(p *Params, to int) (old int) { old, p.Second = int(p.Second), int8(to); return old },
		func(p *Params, to int) (old int) { old, p.Third = int(p.Third), int8(to); return old },
	}
	for again := true; again; {
		again = false
		for _, set := range fields {
			best := set(&p, 0)
			for v := best - 8; v <= best+8; v++ {
				set(&p, v)
				if n := coded(p); n < least {
					best, least, again = v, n, true
				}
			}
			set(&p, best)
		}
	}
	return least
}

// TestTunerForgets: what it has seen before does not matter, and neither does
// how it is asked.
func TestTunerForgets(t *testing.T) {
	var tuner Tuner
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		s, c := shapes[r.IntN(len(shapes))], r.IntN(len(contents))
		pages := [][]byte{makePage(s, 0, c), makePage(s, 3, r.IntN(len(contents)))}[:1+r.IntN(2)]
		want, err := Tune(s, pages...)
		require.NoError(t, err)
		got, err := tuner.Tune(nil, s, pages...)
		require.NoError(t, err)
		require.Equal(t, want, got)
		var segments [][]byte
		for _, p := range pages {
			segments = append(segments, p[:s.segmentBytes()])
		}
		one, err := tuner.Segment(s, segments...)
		require.NoError(t, err)
		require.Equal(t, want[0], one)
	}
	_, err := tuner.Segment(Shape{1, 1, 4}, make([]byte, 7))
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	_, err = tuner.Segment(Shape{}, nil)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

// TestEstimate holds estimates to what blocks take.
func TestEstimate(t *testing.T) {
	eachKernels(t, func(t *testing.T, k *kernels) {
		e, plainly := Encoder{k: k}, Encoder{k: &reference}
		for _, s := range shapes {
			for c := range contents {
				segment := makePage(Shape{1, s.Rows, s.Cols}, 0, c)
				p, err := new(Tuner).Segment(s, segment)
				require.NoError(t, err)
				for _, p := range []Params{p, {}} {
					n := e.Estimate(segment, s, p)
					require.Equal(t, plainly.Estimate(segment, s, p), n)
					if s.Cols <= sampledStripes*lanes {
						block, _ := e.block(nil, segment, s, p)
						require.Equal(t, len(block), n, "%v %s", s, contents[c].name)
					}
				}
			}
		}
		require.Equal(t, 7, e.Estimate(make([]byte, 7), shapes[0], Params{}))
		require.Equal(t, 7, e.Estimate(make([]byte, 7), Shape{}, Params{}))
	})
}

// TestEstimateOfRealPages: within one part in 30 of any segment, and less on the
// whole.
func TestEstimateOfRealPages(t *testing.T) {
	for _, set := range readPages(t) {
		params := set.tuned(t)
		var e Encoder
		var estimated, coded int
		for _, page := range set.pages {
			for i, p := range params {
				segment := page[i*set.shape.segmentBytes():][:set.shape.segmentBytes()]
				n := e.Estimate(segment, set.shape, p)
				block, _ := e.block(nil, segment, set.shape, p)
				require.InEpsilon(t, len(block), n, 1./30, "segment %d", i)
				estimated += n
				coded += len(block)
			}
		}
		t.Logf("%s: %d for %d", set.name, estimated, coded)
		require.InEpsilon(t, coded, estimated, 0.005)
	}
}

func TestTuningAllocatesNothing(t *testing.T) {
	set := readPages(t)[1]
	var tuner Tuner
	var e Encoder
	var params []Params
	segment := set.pages[3][:set.shape.segmentBytes()]
	require.Zero(t, testing.AllocsPerRun(20, func() {
		params, _ = tuner.Tune(params[:0], set.shape, set.pages[3], set.pages[4])
		_ = e.Estimate(segment, set.shape, params[0])
	}))
}

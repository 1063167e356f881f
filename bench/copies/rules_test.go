package copies

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/gpu"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// measured makes points whose best way is told by the letter: d, s or p.
func measured(direction string, lengths, numbers []int64, best ...string) []Point {
	var ps []Point
	for i, n := range numbers {
		for j, l := range lengths {
			p := Point{Direction: direction, RunBytes: l, Runs: n, Direct: 10, Staged: 10, Plain: 10}
			*p.of(map[byte]gpu.Path{'d': gpu.Direct, 's': gpu.Staged, 'p': gpu.Plain}[best[i][j]]) = 5
			p.Best = p.best()
			ps = append(ps, p)
		}
	}
	return ps
}

// TestRulesChooseWhatWasBest: by the rules, every point that was measured takes
// the way that was best there, and what lies between two points that of one of
// them.
func TestRulesChooseWhatWasBest(t *testing.T) {
	t.Parallel()
	lengths, numbers := []int64{512, 8 << 10, 1 << 20}, []int64{4, 64, 4096}
	for name, best := range map[string][]string{
		"all alike":  {"ddd", "ddd", "ddd"},
		"by length":  {"ssd", "ssd", "ssd"},
		"by number":  {"ppp", "sss", "sss"},
		"by both":    {"pdd", "sdd", "ssd"},
		"back again": {"dsd", "dpd", "dsd"},
	} {
		points := append(measured("out", lengths, numbers, best...), measured("in", lengths, numbers, "ppp", "ppp", "ppp")...)
		paths := &gpu.Paths{Out: rules(points, "out"), In: rules(points, "in")}
		require.NoError(t, paths.Validate(), name)
		for _, p := range points {
			d := pager.Out
			if p.Direction == "in" {
				d = pager.In
			}
			require.Equal(t, p.Best, paths.Choose(d, p.Runs, p.Bytes()), "%s: %+v by %+v", name, p, paths.Out)
		}
		first, last := points[0], points[len(lengths)*len(numbers)-1]
		require.Equal(t, first.Best, paths.Choose(pager.Out, 1, 1), name)
		require.Equal(t, last.Best, paths.Choose(pager.Out, 1<<30, 1<<60), name)
		require.Equal(t, []gpu.Rule{{Path: gpu.Plain}}, paths.In)
	}
	require.Len(t, rules(measured("out", lengths, numbers, "sss", "sss", "sss"), "out"), 1)
	require.Empty(t, rules(nil, "out"))
}

// TestSimplerWayWins: what is faster by less than the margin is not.
func TestSimplerWayWins(t *testing.T) {
	t.Parallel()
	p := Point{Direct: 100, Staged: 98, Plain: 97.5}
	require.Equal(t, gpu.Direct, p.best())
	p.Staged = 96
	require.Equal(t, gpu.Staged, p.best())
	p.Plain = 92
	require.Equal(t, gpu.Plain, p.best())
}

func TestMedian(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 2, median([]float64{3, 1, 2}), 0)
	require.InDelta(t, 2.5, median([]float64{4, 1, 2, 3}), 0)
}

func TestOptionsAreValidated(t *testing.T) {
	t.Parallel()
	var o Options
	o.EnsureDefaults()
	require.NoError(t, o.Validate())
	for _, bad := range []Options{
		{Device: -1}, {RunBytes: []int64{0}}, {RunBytes: []int64{2, 1}}, {RunBytes: []int64{1 << 40}}, {Runs: []int64{1, 1}},
		{Runs: []int64{1, 2, 3, 4, 5, 6, 7, 8, 9}}, {MaxBytes: -1}, {MaxBytes: 1 << 40}, {Rounds: -1}, {Each: -time.Second},
		{RunBytes: []int64{1 << 20}, Runs: []int64{2}, MaxBytes: 1 << 20},
	} {
		bad.EnsureDefaults()
		require.ErrorIs(t, bad.Validate(), kvferry.ErrInvalid, "%+v", bad)
	}
}

// TestWithoutADevice: where there is none, that is the answer.
func TestWithoutADevice(t *testing.T) {
	t.Parallel()
	if cuda.Status() == nil {
		t.Skip("there is a device")
	}
	_, err := Run(t.Context(), Options{})
	require.ErrorIs(t, err, kvferry.ErrNoDevice)
}

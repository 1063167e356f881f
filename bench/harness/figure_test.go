package harness_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/bench/harness"
)

// TestIntervals holds the intervals against the table of order statistics.
func TestIntervals(t *testing.T) {
	for _, c := range []struct {
		n, low, high int // ranks
		level        float64
	}{
		{1, 1, 1, 0}, {2, 1, 2, 0.5}, {5, 1, 5, 0.9375}, {6, 1, 6, 0.96875}, {8, 1, 8, 0.9921875},
		{9, 2, 8, 0.9609375}, {10, 2, 9, 0.978515625}, {20, 6, 15, 0.958610534667968},
	} {
		var v []float64
		for i := range c.n {
			v = append(v, float64(i+1))
		}
		slices.Reverse(v)
		got := harness.IntervalOf(v)
		require.Equal(t, float64(c.low), got.Low, "n=%d", c.n)
		require.Equal(t, float64(c.high), got.High, "n=%d", c.n)
		require.InDelta(t, c.level, got.Level, 1e-9, "n=%d", c.n)
	}
	require.Equal(t, harness.Interval{}, harness.IntervalOf(nil))
}

func TestRatios(t *testing.T) {
	limit := &harness.Figure{Name: "limit", Samples: []float64{10, 20, 40}}
	f := (&harness.Figure{Unit: harness.PerSecond, Samples: []float64{9, 16, 40}}).Versus(limit, harness.Goal{AtLeast: 0.85})
	require.Equal(t, []float64{0.9, 0.8, 1}, f.Ratios)
	require.Equal(t, "limit", f.To)

	none := (&harness.Figure{Samples: []float64{1}}).Versus(nil, harness.Goal{AtLeast: 3})
	require.NotEmpty(t, none.Unjudged, "nothing to hold it against")
	require.Equal(t, harness.Goal{AtLeast: 3}, none.Goal)
	require.Empty(t, none.Ratios)
	none.Versus(&harness.Figure{Name: "op=gone/by=x"}, none.Goal)
	require.Contains(t, none.Unjudged, "gone, by=x")
	again := *none
	require.Empty(t, again.Versus(limit, none.Goal).Unjudged)
	require.False(t, again.Relative)
	aimless := (&harness.Figure{Samples: []float64{1}}).Versus(nil, harness.Goal{})
	require.Equal(t, &harness.Figure{Samples: []float64{1}}, aimless, "no goal, nothing to judge")
	require.Same(t, limit, harness.Fastest([]*harness.Figure{{}, none, limit}))
	require.Nil(t, harness.Fastest(nil))

	slow := &harness.Figure{Name: "slow", Samples: []float64{30}}
	quick := &harness.Figure{Name: "quick", Samples: []float64{20}}
	rate := (&harness.Figure{Unit: harness.PerSecond, Samples: []float64{40}}).Beside(quick, slow, &harness.Figure{})
	require.Equal(t, "slow", rate.BestPeer, "of rates, more is better")
	took := (&harness.Figure{Unit: harness.Seconds, Samples: []float64{10}}).Beside(slow, quick, &harness.Figure{})
	require.Equal(t, "quick", took.BestPeer, "of times, less is")
	require.Equal(t, []float64{0.5}, took.ToPeer)
	require.Empty(t, (&harness.Figure{Samples: []float64{1}}).Beside().BestPeer)
}

func TestText(t *testing.T) {
	for want, got := range map[string]string{
		"1.53 GB/s":              harness.BytesPerSecond.Text(1.53e9),
		"850 MB/s":               harness.BytesPerSecond.Text(850e6),
		"120 ms":                 harness.Seconds.Text(0.12),
		"12.5 s":                 harness.Seconds.Text(12.5),
		"1.013":                  harness.Times.Text(1.0131),
		"187 ns":                 harness.Nanoseconds.Text(187.2),
		"9999 ns":                harness.Nanoseconds.Text(9999),
		"73.4 µs":                harness.Nanoseconds.Text(73400),
		"1.50 s":                 harness.Nanoseconds.Text(1.5e9),
		"8600/s":                 harness.PerSecond.Text(8600),
		"3.00 M/s":               harness.PerSecond.Text(3e6),
		"45.2 bytes":             harness.Bytes.Text(45.2),
		"176 KiB":                harness.SizeText(176 << 10),
		"encode, codec=fast, n=": harness.Label("op=encode/codec=fast/n="),
	} {
		require.Equal(t, want, got)
	}
	require.Equal(t, 2.5, harness.Median([]float64{4, 1, 2, 3}))
	require.Zero(t, harness.Median(nil))
}

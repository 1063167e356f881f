package copies

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/pager/gpu"
)

// TestSuite runs where there is a device, and says that there is none elsewhere,
// with the goal that nothing was measured for.
func TestSuite(t *testing.T) {
	e := &harness.Env{Dir: t.TempDir(), Rounds: 1, Scale: harness.Smoke}
	r, err := harness.Run(t.Context(), e, []harness.Suite{Suite()}, nil)
	require.NoError(t, err)
	s := r.Sections[0]
	require.NotEmpty(t, s.Figures)
	if len(s.Missing) == 0 {
		require.NotEmpty(t, s.Figures[0].Samples)
		return
	}
	require.Len(t, s.Figures, 1)
	require.Empty(t, s.Figures[0].Samples)
	all := r.Goals()
	require.Len(t, all, 1)
	require.Equal(t, "≥ 97.0 %", all[0].Goal)
	require.Contains(t, all[0].Unjudged, "no GPU")
}

func TestPointFigures(t *testing.T) {
	var s harness.Section
	p := &Point{Direction: "out", RunBytes: 1 << 20, Runs: 64, Direct: 2e6, Staged: 1.1e6, Plain: 4e6, Link: 1e6, Best: gpu.Staged}
	addPoint(&s, p)
	require.Len(t, s.Figures, 4)
	require.Equal(t, harness.Limit, s.Figures[0].Role)
	require.InDelta(t, 67.1e9, s.Figures[0].Samples[0], 1e8)
	staged := s.Figures[2]
	require.Equal(t, "op=out/way=staged/run=1048576/runs=64", staged.Name)
	require.Equal(t, harness.Goal{AtLeast: 0.97}, staged.Goal)
	require.InDelta(t, 0.909, staged.Ratios[0], 0.001)
	require.Equal(t, harness.Goal{}, s.Figures[1].Goal)
}

package captures_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/bench/captures"
	"github.com/kvferry/kvferry/bench/harness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSmoke runs the suites on a few pages: every figure has its samples and
// what it is held against, what is stored shrinks as it should, and nothing is
// left behind.
func TestSmoke(t *testing.T) {
	t.Parallel()
	for _, suite := range []harness.Suite{captures.Capture(), captures.Restore()} {
		e := &harness.Env{Dir: t.TempDir(), Rounds: 2, Scale: harness.Smoke, Log: t.Logf}
		s := &harness.Section{Name: suite.Name}
		require.NoError(t, suite.Run(t.Context(), e, s))
		require.Len(t, s.Parts, 1)
		byName := map[string]*harness.Figure{}
		for _, f := range s.Parts[0].Figures {
			require.Len(t, f.Samples, 2, f.Name)
			for _, v := range f.Samples {
				require.Positive(t, v, f.Name)
			}
			byName[f.Name] = f
		}
		auto := byName["op="+suite.Name+"/data=tinyllama/store=pack/codec=auto"]
		require.NotNil(t, auto)
		require.Len(t, auto.Ratios, 2)
		require.Equal(t, "op="+suite.Name+"/data=tinyllama/store=pack/codec=raw", auto.To)
		memory := byName["op="+suite.Name+"/data=tinyllama/store=mem"]
		require.NotNil(t, memory)
		require.True(t, strings.HasPrefix(memory.To, "op=blake3/data=tinyllama/by="))
		require.NotZero(t, memory.Goal)
		if stored := byName["op=stored/data=tinyllama/store=pack/codec=auto"]; suite.Name == "capture" {
			require.Less(t, harness.Median(stored.Samples), 0.72)
			require.Greater(t, harness.Median(stored.Samples), 0.60)
		}
		require.Len(t, s.Parts[0].Missing, 1)
		require.Contains(t, s.Parts[0].Missing[0], "pf-cache: ")
		left, err := os.ReadDir(e.Dir)
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

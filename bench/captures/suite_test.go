package captures_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/bench/captures"
	"github.com/kvferry/kvferry/bench/harness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestBrokenPeer: a peer that fails in its second round is listed with what it
// said and has no figures; the suite goes on.
func TestBrokenPeer(t *testing.T) {
	t.Parallel()
	peers := t.TempDir()
	const script = `#!/bin/sh
while [ $# -gt 1 ]; do case $1 in --store) store=$2 ;; --label) label=$2 ;; esac; shift; done
echo once >>$0.$store
[ $(wc -l <$0.$store) -gt 2 ] && { echo why it failed >&2; exit 1; }
echo '{"name":"op=capture/'$label'/store=pf-cache-'$store'","version":"pf-cache 1","unit":"B/s","value":7}'
`
	require.NoError(t, os.WriteFile(filepath.Join(peers, "pf-cache"), []byte(script), 0o700))
	e := &harness.Env{Dir: t.TempDir(), Rounds: 3, Scale: harness.Smoke, Peers: peers, Log: t.Logf}
	s := &harness.Section{Name: "capture"}
	require.NoError(t, captures.Capture().Run(t.Context(), e, s))
	p := s.Parts[0]
	require.Len(t, p.Missing, 2)
	for _, why := range p.Missing {
		require.Contains(t, why, ": failed: ")
		require.Contains(t, why, "why it failed")
	}
	for _, f := range p.Figures {
		require.NotEqual(t, harness.Peer, f.Role, f.Name)
		require.Len(t, f.Samples, 3, f.Name)
		require.Empty(t, f.BestPeer)
	}
}

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

package index

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/bench/harness"
)

// TestSuite runs the suite on a few records.
func TestSuite(t *testing.T) {
	t.Parallel()
	e := &harness.Env{Dir: t.TempDir(), Rounds: 1, Scale: harness.Smoke, Self: []string{os.Args[0]}}
	r, err := harness.Run(t.Context(), e, []harness.Suite{Suite()}, nil)
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, f := range r.Sections[0].Figures {
		require.False(t, seen[f.Name], "%s is there twice", f.Name)
		require.Len(t, f.Samples, 1, f.Name)
		seen[f.Name] = true
	}
	for _, name := range []string{"op=put/index=memory", "op=scan-p99/index=art", "op=write-amplification/index=lsm"} {
		require.Contains(t, seen, name)
	}
	require.Contains(t, r.Missing(), "index: holt: no folder of peers was given")
}

// TestSuiteGoals holds what the goals are about against the names of figures.
func TestSuiteGoals(t *testing.T) {
	var s harness.Section
	pop := Population{Asked: 1e6, Records: 1e6, PutsPerSec: 2e6, Scan: Latency{P50US: 1, P99US: 2}, MemoryBytes: 200, Amplified: 1.1, ReopenMS: 250,
		Durable: []Puts{{Batch: 2048, Writers: 16, PutsPerSec: 5e5}}, Match: []Match{{Blocks: 2000, Clients: 1, Call: Latency{P50US: 90}}}}
	report := func(name string, peer bool) Report {
		return Report{Backend: name, Round: 1, Persistent: name != "memory", Peer: peer, IngestPerSec: 1e6, ScanP50US: 0.1, ScanP99US: 0.2,
			WriteAmplification: 1.1, Populations: []Population{pop}}
	}
	addReports(&s, []Report{report("memory", false), report("art", false), report("art-write", false), report("holt 0.9.2", true)})
	goals(&s, harness.Full)
	found := 0
	for _, f := range s.Figures {
		if f.Goal != (harness.Goal{}) {
			found++
		}
		require.Equal(t, strings.Contains(f.Name, "index=memory"), f.Note != "", f.Name)
		if f.Name == "op=put/index=art" {
			require.Equal(t, "op=put/index=holt-0.9.2", f.BestPeer)
		}
	}
	require.Equal(t, 12, found)

	var none harness.Section // art and its goals were not measured
	addReports(&none, []Report{report("memory", false)})
	goals(&none, harness.Full)
	_, _, unjudged := harness.Tally((&harness.Report{Sections: []*harness.Section{&none}}).Goals())
	require.Equal(t, 6, unjudged)
}

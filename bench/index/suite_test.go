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
		want := 1
		if strings.HasSuffix(f.Name, "/records=1000000") { // listed, and not measured at this scale
			require.Contains(t, f.Unjudged, "full scale")
			want = 0
		}
		require.Len(t, f.Samples, want, f.Name)
		seen[f.Name] = true
	}
	for _, name := range []string{"op=put/index=memory", "op=scan-p99/index=art", "op=write-amplification/index=lsm"} {
		require.Contains(t, seen, name)
	}
	_, _, unjudged := harness.Tally(r.Goals())
	require.Equal(t, 8, unjudged)
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
	addReports(&s, []Report{report("memory", false), report("art", false), report("holt 0.9.2", true)})
	addReports(&s, []Report{report("art-write", false)}) // of another Run
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
		if strings.Contains(f.Name, "index=art-write") {
			require.Empty(t, f.ToPeer, f.Name)
		}
	}
	require.Equal(t, 12, found)

	var none harness.Section // art and its goals were not measured
	addReports(&none, []Report{report("memory", false)})
	goals(&none, harness.Full)
	_, _, unjudged := harness.Tally((&harness.Report{Sections: []*harness.Section{&none}}).Goals())
	require.Equal(t, 6, unjudged)
}

// TestShortFill: what is of fewer records than its name says reaches no goal,
// whichever round it was in, and is held beside nothing.
func TestShortFill(t *testing.T) {
	report := func(name string, round, records int) Report {
		return Report{Backend: name, Round: round, Peer: name == "holt", IngestPerSec: 1e6, Populations: []Population{{
			Asked: 1e6, Records: records, PutsPerSec: 2e6, Scan: Latency{P50US: 0.1, P99US: 0.2}, MemoryBytes: 200,
		}}}
	}
	const million = "/index=memory/records=1000000"
	for cut, left := range map[string]int{"memory": 0, "holt": 3, "": 3} {
		var s harness.Section
		var all []Report
		for round := 1; round <= 2; round++ {
			for _, name := range []string{"memory", "holt"} {
				records := 1_000_000
				if name == cut && round == 1 {
					records = 70_000
				}
				all = append(all, report(name, round, records))
			}
		}
		addReports(&s, all)
		goals(&s, harness.Full)
		reached := 0
		for _, g := range (&harness.Report{Sections: []*harness.Section{&s}}).Goals() {
			if strings.HasSuffix(g.Figure, harness.Label(million)) && g.Reached {
				reached++
			}
		}
		require.Equal(t, left, reached, cut)
		fill := figure(&s, "op=fill"+million, harness.PerSecond)
		require.Equal(t, cut == "memory", strings.Contains(fill.Unjudged, "70000 records"), cut)
		require.Equal(t, cut == "", len(fill.ToPeer) == 2, cut)
		require.Len(t, figure(&s, "op=put/index=memory", harness.PerSecond).ToPeer, 2, cut)
	}
}

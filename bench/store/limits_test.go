package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/bench/harness"
)

// program makes an executable of a shell script.
func executable(t *testing.T, path, script string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700))
}

// parts runs some parts of the suite on a few megabytes and returns its report.
func parts(t *testing.T, peers string, names ...string) *harness.Report {
	t.Helper()
	e := &harness.Env{Dir: t.TempDir(), Rounds: 2, Scale: harness.Smoke, Peers: peers}
	r, err := harness.Run(t.Context(), e, []harness.Suite{SuiteOf(&Options{Only: names})}, nil)
	require.NoError(t, err)
	return r
}

// TestLimitsWithoutFio: without fio, or with one that fails, the rates are held
// against the loop.
func TestLimitsWithoutFio(t *testing.T) {
	for why, script := range map[string]string{"not installed": "", "it broke": "echo it broke >&2; exit 1"} {
		path := t.TempDir()
		if script != "" {
			executable(t, filepath.Join(path, "fio"), "[ $1 = --version ] || [ $1 = version ] && { echo fio-0; exit; }\n"+script)
		}
		t.Setenv("PATH", path)
		r := parts(t, "", "write", "read")
		if !(&bench{root: t.TempDir()}).direct() { // a file system in memory, say
			_, _, unjudged := harness.Tally(r.Goals())
			require.Equal(t, 4, unjudged)
			continue
		}
		for _, p := range r.Sections[0].Parts {
			require.Len(t, p.Missing, 1)
			require.Contains(t, p.Missing[0], why)
			loop := "op=" + p.Name + "/by=direct/block=4MiB/jobs=4"
			for _, f := range p.Figures {
				require.NotContains(t, f.Name, "fio")
				if f.Goal != (harness.Goal{}) {
					require.Equal(t, loop, f.To, f.Name)
					require.Len(t, f.Ratios, 2)
				}
			}
		}
	}
}

// TestBest: the limit is the fastest way, whether it is fio's or not.
func TestBest(t *testing.T) {
	slow, fast := &harness.Figure{Samples: []float64{1}}, &harness.Figure{Samples: []float64{2}}
	require.Same(t, fast, (&diskLimits{loop: fast, fio: []*harness.Figure{slow}}).best())
	require.Same(t, fast, (&diskLimits{loop: slow, fio: []*harness.Figure{slow, fast}}).best())
	require.Nil(t, (&diskLimits{}).best())
}

// TestBrokenPeers: peers that fail are listed with what they said, have no
// figures, and leave goals that nobody can judge.
func TestBrokenPeers(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"restic", "kopia"} {
		executable(t, filepath.Join(dir, name), "[ $1 = version ] && { echo "+name+" 1; exit; }\necho out of "+name+" >&2; exit 1\n")
	}
	r := parts(t, dir, "peers")
	p := r.Sections[0].Parts[0]
	require.Len(t, p.Missing, 3, "restic has two compressions")
	for i, name := range []string{"restic", "restic", "kopia"} {
		require.Contains(t, p.Missing[i], "failed: ")
		require.Contains(t, p.Missing[i], "out of "+name)
	}
	require.Len(t, p.Figures, 2)
	goals := r.Goals()
	require.Len(t, goals, 2)
	for _, g := range goals {
		require.NotEmpty(t, g.Unjudged)
		require.Equal(t, "≥ 3.0x", g.Goal)
	}
}

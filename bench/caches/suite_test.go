package caches

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
)

// peer makes an executable that prints text, whatever it is asked.
func peer(t *testing.T, dir, name, script string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o700))
}

func measured(t *testing.T, e *harness.Env) (*harness.Section, error) {
	t.Helper()
	e.Dir, e.Rounds, e.Scale = t.TempDir(), 2, harness.Smoke
	r, err := harness.Run(t.Context(), e, []harness.Suite{Suite()}, nil)
	return r.Sections[0], err
}

func TestSuiteWithoutPeers(t *testing.T) {
	s, err := measured(t, &harness.Env{})
	require.NoError(t, err)
	require.Len(t, s.Missing, 2)
	for _, f := range s.Figures {
		require.Contains(t, f.Name, "op=")
		if f.Unjudged == "" {
			require.Len(t, f.Samples, 2, f.Name)
		}
	}
	unjudged(t, s)
}

// unjudged looks for the goals of SQL, which nothing was measured for.
func unjudged(t *testing.T, s *harness.Section) {
	t.Helper()
	var open []string
	for _, g := range (&harness.Report{Sections: []*harness.Section{s}}).Goals() {
		if g.Unjudged != "" {
			require.Equal(t, "≤ 110.0 %", g.Goal)
			require.Equal(t, "it was not measured", g.Unjudged)
			open = append(open, g.Figure)
		}
	}
	require.Equal(t, []string{"sql, cache=own", "sql, cache=group"}, open)
}

func TestSuiteWithPeers(t *testing.T) {
	peers := t.TempDir()
	peer(t, peers, "caches-bench", `cat <<END
goos: linux
BenchmarkHit/cache=kvferry/goroutines=1-2   	 1000	 20.0 ns/op	 0 B/op
BenchmarkHit/cache=otter/goroutines=1-2   	 1000	 40.0 ns/op	 0 B/op
BenchmarkHit/cache=golang-lru/goroutines=1-2   	 1000	 80.0 ns/op	 0 B/op
PASS
END
`)
	peer(t, peers, "sqlite-cache", `for last; do :; done
case $last in builtin) v=2 ;; *) v=3 ;; esac
echo '{"name":"op=sql/cache='$last'","version":"SQLite 3","unit":"s","value":'$v',"note":"adds up to 7"}'
`)
	s, err := measured(t, &harness.Env{Peers: peers})
	require.NoError(t, err)
	require.Empty(t, s.Missing)
	byName := map[string]*harness.Figure{}
	for _, f := range s.Figures {
		byName[f.Name] = f
	}
	hit := byName["op=page-hit/cache=kvferry/goroutines=1"]
	require.Equal(t, "op=page-hit/cache=otter/goroutines=1", hit.BestPeer)
	require.Equal(t, []float64{0.5, 0.5}, hit.ToPeer)
	sql := byName["op=sql/cache=group"]
	require.Equal(t, []float64{1.5, 1.5}, sql.Ratios)
	require.Equal(t, harness.Goal{AtMost: 1.1}, sql.Goal)
	require.Equal(t, harness.Peer, byName["op=sql/cache=builtin"].Role)
}

// TestSQLiteReadsTheSame: a cache that gives other pages back is no faster one.
func TestSQLiteReadsTheSame(t *testing.T) {
	peers := t.TempDir()
	peer(t, peers, "sqlite-cache", `for last; do :; done
echo '{"name":"op=sql/cache='$last'","unit":"s","value":1,"note":"adds up to '$last'"}'
`)
	_, err := measured(t, &harness.Env{Peers: peers})
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
}

// TestSuiteWithBrokenPeers: one that fails in its second round is listed with
// what it said, has no figure, and ends nothing.
func TestSuiteWithBrokenPeers(t *testing.T) {
	const second = "[ -e $0.ran ] && { echo why it failed >&2; exit 1; }; touch $0.ran\n"
	for name, script := range map[string]string{
		"caches-bench": second + "echo 'BenchmarkHit/cache=otter/goroutines=1-2 1000 40.0 ns/op'",
		"sqlite-cache": "for last; do :; done\n[ $last = own ] && { echo why it failed >&2; exit 1; }\n" +
			`echo '{"name":"op=sql/cache='$last'","unit":"s","value":1,"note":"adds up to 7"}'`,
	} {
		peers := t.TempDir()
		peer(t, peers, name, script)
		s, err := measured(t, &harness.Env{Peers: peers})
		require.NoError(t, err, name)
		require.Empty(t, s.Failed)
		require.Len(t, s.Missing, 2)
		told := strings.Join(s.Missing, "\n")
		require.Contains(t, told, ": failed: ", name)
		require.Contains(t, told, "why it failed", name)
		for _, f := range s.Figures {
			require.NotEqual(t, harness.Peer, f.Role, f.Name)
			require.NotContains(t, f.Name, "otter")
		}
		unjudged(t, s)
	}
	for _, script := range []string{
		"echo '{}'",
		"for last; do :; done\n" + `echo '{"name":"op=sql/cache='$last'","unit":"s","value":1}'`, // says not what it read
	} {
		peers := t.TempDir()
		peer(t, peers, "sqlite-cache", script)
		s, err := measured(t, &harness.Env{Peers: peers})
		require.NoError(t, err)
		require.Contains(t, strings.Join(s.Missing, "\n"), "printed")
		require.Contains(t, strings.Join(s.Missing, "\n"), kvferry.ErrInvalid.Error())
		unjudged(t, s)
	}
}

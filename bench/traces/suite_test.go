package traces

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/bench/harness"
)

// program puts an executable into the folder of peers.
func program(t *testing.T, dir, script string) {
	require.NoError(t, os.WriteFile(filepath.Join(dir, peerName), []byte("#!/bin/sh\n"+script), 0o700)) //nolint:gosec // it has to run
}

func figures(s *harness.Section) map[string]*harness.Figure {
	out := make(map[string]*harness.Figure)
	for _, part := range s.All() {
		for _, f := range part.Figures {
			out[f.Name] = f
		}
	}
	return out
}

func env(t *testing.T) (*harness.Env, *harness.Section) {
	e := &harness.Env{Dir: t.TempDir(), Rounds: 2, Scale: harness.Smoke, Peers: t.TempDir(), Log: t.Logf}
	return e, &harness.Section{}
}

func TestSuite(t *testing.T) {
	e, s := env(t)
	// The program gives the size of the trace back, so that it is seen to get it.
	program(t, e.Peers, `test "$1 $3 $4 $5" = "--trace --capacity 300 --label" || exit 1
tail="$6/capacity=300/cache=other"
echo '{"name": "op=hits/'$tail'", "version": "other 1", "unit": "%", "value": 90, "note": "n"}'
echo '{"name": "op=reference/'$tail'", "version": "other 1", "unit": "ns", "value": '$(wc -c <"$2")'}'
echo '{"name": "op=leading/data=else/capacity=300/cache=other", "version": "other 1", "unit": "%", "value": 1}'
echo '{"name": "op=hits/'$tail'", "version": "broken 2", "error": "no such luck"}'
`)
	require.NoError(t, Suite().Run(t.Context(), e, s))
	all := figures(s)
	tail := "data=synthetic/capacity=300/cache="
	for _, name := range []string{"op=hits/", "op=leading/", "op=reference/"} {
		for _, cache := range []string{"kvferry", "lru"} {
			require.Len(t, all[name+tail+cache].Samples, 2, name+cache)
		}
	}
	ours, optimum := all["op=hits/"+tail+"kvferry"], all["op=hits/"+tail+"optimum"]
	require.Equal(t, optimum.Name, ours.To)
	require.LessOrEqual(t, harness.Median(ours.Ratios), 1.0)
	require.Greater(t, harness.Median(ours.Ratios), 0.1)
	require.Equal(t, "op=hits/"+tail+"other", ours.BestPeer)
	require.Equal(t, "op=reference/"+tail+"other", all["op=reference/"+tail+"kvferry"].BestPeer, "in time, too")
	require.Zero(t, all["op=gap/"+tail+"kvferry"].Goal)
	var order []string
	for _, f := range s.Parts[0].Figures {
		order = append(order, f.Name[:6])
	}
	require.True(t, slices.IsSorted(order), order)
	require.Equal(t, "n", all["op=hits/"+tail+"other"].Note)
	c := Synthetic(1, 500)
	size := float64(8*len(c.Refs) + 4*len(c.Ends))
	require.Equal(t, []float64{size, size}, all["op=reference/"+tail+"other"].Samples)
	require.Equal(t, []string{"other 1", "broken 2"}, s.Parts[len(s.Parts)-1].Versions)
	require.Contains(t, s.Parts[0].Missing, "broken 2: no such luck")
	require.Len(t, s.Tables[0].Rows, 1) // the test does not run where the trace is
	goals := (&harness.Report{Sections: []*harness.Section{s}}).Goals()
	require.Len(t, goals, 1)
	require.Equal(t, "the trace is not here", goals[0].Unjudged)
	require.Len(t, s.Missing, 1)
	left, err := os.ReadDir(e.Dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestSuiteTellsOfBrokenPeers(t *testing.T) {
	e, s := env(t)
	program(t, e.Peers, "echo no JSON\n")
	require.NoError(t, Suite().Run(t.Context(), e, s))
	require.Len(t, s.Parts[0].Missing, 1) // of two rounds
	require.Contains(t, s.Parts[0].Missing[0], "no JSON")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(os.ErrDeadlineExceeded)
	require.ErrorIs(t, Suite().Run(ctx, e, s), os.ErrDeadlineExceeded)
	left, err := os.ReadDir(e.Dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestSuiteForgetsPeersThatFail: what a program did before it failed is not there.
func TestSuiteForgetsPeersThatFail(t *testing.T) {
	e, s := env(t)
	program(t, e.Peers, `test -e "$0.ran" && { echo why >&2; exit 3; }
: >"$0.ran"
echo '{"name": "op=hits/'$6'/capacity=300/cache=other", "version": "other 1", "unit": "%", "value": 90}'
`)
	require.NoError(t, Suite().Run(t.Context(), e, s))
	require.Len(t, s.Parts[0].Missing, 1)
	require.Contains(t, s.Parts[0].Missing[0], "why")
	for name, f := range figures(s) {
		require.NotContains(t, name, "cache=other")
		require.NotContains(t, f.BestPeer, "cache=other")
	}
}

func TestEncode(t *testing.T) {
	c, err := Read(strings.NewReader(`{"hash_ids": [258, 3]}` + "\n" + `{"hash_ids": []}`))
	require.NoError(t, err)
	require.Equal(t, "\x02\x00\x00\x00\x02\x01\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", string(encode(c)))
}

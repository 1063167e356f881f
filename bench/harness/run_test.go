package harness_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
)

// suite is one that does what it is told.
func suite(name string, run func(e *harness.Env, s *harness.Section) error) harness.Suite {
	return harness.Suite{Name: name, Title: name, Run: func(_ context.Context, e *harness.Env, s *harness.Section) error { return run(e, s) }}
}

// TestRun runs suites of which one fails and one leaves a file behind: the
// others are measured all the same.
func TestRun(t *testing.T) {
	broken := errors.New("broken")
	dir := t.TempDir()
	var order []string
	r, err := harness.Run(t.Context(), &harness.Env{Dir: dir}, []harness.Suite{
		suite("a", func(e *harness.Env, s *harness.Section) error {
			require.Equal(t, 1, e.Rounds)
			s.Figure("op=x", harness.Seconds).Add(1)
			return broken
		}),
		suite("b", func(e *harness.Env, _ *harness.Section) error {
			return os.WriteFile(filepath.Join(e.Dir, "left"), nil, 0o600)
		}),
		suite("c", func(e *harness.Env, s *harness.Section) error {
			left, err := os.ReadDir(e.Dir)
			require.Empty(t, left)
			s.Part("p", "P").Figure("op=y", harness.Seconds).Add(2)
			return err
		}),
	}, func(s *harness.Section) error { order = append(order, s.Name); return nil })
	require.ErrorIs(t, err, broken)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.ErrorContains(t, err, "left 1 files behind, such as left")
	require.Equal(t, []string{"a", "b", "c"}, order)
	require.Equal(t, "broken", r.Sections[0].Failed)
	require.Len(t, r.Sections[0].Figures, 1)
	require.Len(t, r.Sections[2].All(), 2)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestRunEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := suite("a", func(*harness.Env, *harness.Section) error { cancel(); return nil })
	r, err := harness.Run(ctx, &harness.Env{Dir: t.TempDir()}, []harness.Suite{s, s}, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, r.Sections, 1)

	_, err = harness.Run(t.Context(), &harness.Env{Dir: filepath.Join(t.TempDir(), "no")}, nil, nil)
	require.ErrorIs(t, err, kvferry.ErrNotFound)
}

func TestChoose(t *testing.T) {
	all := []harness.Suite{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	got, err := harness.Choose(all, []string{"c", "a"})
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, "a", got[0].Name)
	got, err = harness.Choose(all, nil)
	require.NoError(t, err)
	require.Len(t, got, 3)
	_, err = harness.Choose(all, []string{"d"})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

func TestScales(t *testing.T) {
	for _, name := range harness.Scales() {
		s, err := harness.ScaleNamed(name)
		require.NoError(t, err)
		require.Equal(t, name, s.String())
		require.Positive(t, s.DefaultRounds())
	}
	_, err := harness.ScaleNamed("huge")
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

// TestPeers runs peers that are there, not there, and broken.
func TestPeers(t *testing.T) {
	dir := t.TempDir()
	e := &harness.Env{Dir: t.TempDir(), Peers: dir}
	write := func(name, text string, mode os.FileMode) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), mode))
	}
	write("good", "#!/bin/sh\necho '{\"name\":\"op=x/arg='$1'\",\"unit\":\"s\",\"value\":2}'\n", 0o700)
	write("fails", "#!/bin/sh\necho why >&2; exit 3\n", 0o700)
	write("babbles", "#!/bin/sh\necho hello\n", 0o700)
	write("long", `#!/bin/sh
printf '{"name":"%090000d","unit":"s","value":1}\n{"name":"b","unit":"s","value":2}\n' 1
`, 0o700)
	write("text", "no program", 0o600)
	write("gone.missing", "cargo is too old\nmore", 0o600)

	lines, err := e.RunPeer(t.Context(), "good", "a")
	require.NoError(t, err)
	require.Equal(t, []harness.PeerLine{{Name: "op=x/arg=a", Unit: harness.Seconds, Value: 2}}, lines)
	_, err = e.RunPeer(t.Context(), "fails")
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.ErrorContains(t, err, "why")
	require.Equal(t, "3\n4\n5\n6\n7", harness.LastLines([]byte("1\n2\n3\n4\n5\n6\n7\n")))
	require.Len(t, harness.LastLines(bytes.Repeat([]byte{'x'}, 5000)), 1000)
	_, err = e.RunPeer(t.Context(), "babbles")
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	lines, err = e.RunPeer(t.Context(), "long")
	require.NoError(t, err)
	require.Len(t, lines, 2, "no line is lost behind a long one")
	for _, name := range []string{"text", "gone", "never"} {
		_, err = e.RunPeer(t.Context(), name)
		require.ErrorIs(t, err, harness.ErrNoPeer)
	}
	require.Equal(t, "cargo is too old", e.Why("gone"))
	require.Equal(t, "not installed; see make bench-peers", e.Why("never"))
	require.Equal(t, "no folder of peers was given", (&harness.Env{}).Why("gone"))
}

func TestTurns(t *testing.T) {
	var order []string
	measure := func(name string) harness.Measure {
		return harness.Measure{Figure: &harness.Figure{Name: name}, Once: func(context.Context) (float64, error) {
			order = append(order, name)
			return float64(len(order)), nil
		}}
	}
	a, b := measure("a"), measure("b")
	require.NoError(t, harness.Turns(t.Context(), 2, a, b))
	require.Equal(t, []string{"a", "b", "b", "a"}, order)
	require.Equal(t, []float64{1, 4}, a.Figure.Samples)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, harness.Turns(ctx, 1, a), context.Canceled)
}

// TestTurnsWithoutAPeer: a peer that fails in the second round is asked no more
// and leaves no figure; what is not a peer's ends the turns.
func TestTurnsWithoutAPeer(t *testing.T) {
	broken := errors.New("broken\nlast line")
	s := &harness.Section{}
	asked := 0
	peer := s.Figure("op=x/by=peer", harness.Seconds)
	ours := harness.Measure{Figure: s.Figure("op=x/by=us", harness.Seconds), Once: func(context.Context) (float64, error) { return 1, nil }}
	fails := harness.Measure{Figure: peer, Once: func(context.Context) (float64, error) {
		if asked++; asked == 2 {
			return 0, broken
		}
		return 2, nil
	}}
	require.ErrorIs(t, harness.Turns(t.Context(), 3, ours, fails), broken)

	asked = 0
	ours.Figure.Samples, peer.Samples = nil, nil
	fails.Failed = func(err error) { s.Fail("peer", err, peer) }
	require.NoError(t, harness.Turns(t.Context(), 3, ours, fails))
	require.Equal(t, 2, asked)
	require.Equal(t, []*harness.Figure{ours.Figure}, s.Figures)
	require.Equal(t, []float64{1, 1, 1}, ours.Figure.Samples)
	require.Equal(t, []string{"peer: failed: broken\nlast line"}, s.Missing)
	require.Empty(t, ours.Figure.Beside(peer).BestPeer)

	ctx, cancel := context.WithCancel(t.Context())
	fails.Once = func(context.Context) (float64, error) { cancel(); return 0, context.Canceled }
	require.ErrorIs(t, harness.Turns(ctx, 3, fails), context.Canceled, "a run that is over is no peer's fault")
	require.Len(t, s.Missing, 1)
}

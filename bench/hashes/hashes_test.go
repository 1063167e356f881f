package hashes

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/digest/blake3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// smoke runs the suite and returns its section.
func smoke(t *testing.T, peers string) *harness.Section {
	e := &harness.Env{Dir: t.TempDir(), Rounds: 2, Scale: harness.Smoke, Peers: peers}
	r, err := harness.Run(t.Context(), e, []harness.Suite{Suite()}, nil)
	require.NoError(t, err)
	require.Len(t, r.Sections, 1)
	return r.Sections[0]
}

func TestSuite(t *testing.T) {
	t.Parallel()
	s := smoke(t, "")
	kernels := len(blake3.Kernels())
	ours := max(1, kernels-1)
	require.Len(t, s.Figures, 2*(len(sizes())*kernels+3*ours+3+kernels+3))
	require.Len(t, s.Missing, 1)
	goals := 0
	for _, f := range s.Figures {
		require.Len(t, f.Samples, 2, f.Name)
		for _, v := range f.Samples {
			require.Positive(t, v, f.Name)
		}
		if f.Goal != (harness.Goal{}) {
			goals++
			require.Equal(t, harness.Ours, f.Role)
			require.Contains(t, f.To, library)
			require.Len(t, f.Ratios, 2)
		}
	}
	require.Equal(t, 4*(kernels-1), goals, "in cache and in memory, by one thread and two")
}

// TestPeer: what a peer prints becomes a figure, and one that fails is missing.
func TestPeer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := func(text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, rust), []byte("#!/bin/sh\n"+text+"\n"), 0o755))
	}
	script(`echo '{"name":"op=sum/size=1/threads=1/hash=blake3-rs","version":"blake3 9","unit":"B/s","value":7}'`)
	n := 0
	for _, f := range smoke(t, dir).Figures {
		if strings.Contains(f.Name, rust) {
			n++
			require.Equal(t, []float64{7, 7}, f.Samples)
			require.Equal(t, harness.Peer, f.Role)
			require.Equal(t, "blake3 9", f.Note)
		}
	}
	require.Equal(t, 2*len(sizes()), n)
	script("exit 3")
	s := smoke(t, dir)
	require.Len(t, s.Missing, 1)
	require.Contains(t, s.Missing[0], rust)
}

// TestParts: parts are of the size that is asked for and different.
func TestParts(t *testing.T) {
	t.Parallel()
	g := group{settings: settings{memory: 1 << 20}, size: usual, cold: true}
	parts := g.parts(0)
	require.Len(t, parts, 5)
	for i, p := range parts {
		require.Len(t, p, usual)
		require.NotEqual(t, parts[(i+1)%len(parts)], p)
	}
	require.Len(t, group{size: kib}.parts(1), 1)
}

func TestFastestCounts(t *testing.T) {
	t.Parallel()
	var counts [2]int
	work := []func(){func() { counts[0]++ }, func() { counts[1]++ }}
	rate, err := fastest(t.Context(), work, time.Millisecond, 1000)
	require.NoError(t, err)
	require.Positive(t, rate)
	require.Positive(t, counts[0])
	require.Equal(t, counts[0], counts[1], "both take part in every burst")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = fastest(ctx, work, time.Millisecond, 1000)
	require.ErrorIs(t, err, context.Canceled)
}

package hashes

import (
	"context"
	"crypto/sha256"
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
	require.Equal(t, 2*(len(sizes())+1), n, "in cache at all sizes, and from memory")
	const asked = `echo '{"name":"x","version":"blake3 9","unit":"B/s","value":7}'; case "$*" in `
	for _, text := range []string{"exit 3", asked + `*--memory*) echo why >&2; exit 3;; esac`} {
		script(text)
		s := smoke(t, dir)
		require.Len(t, s.Missing, 1)
		require.Contains(t, s.Missing[0], rust+": failed: ")
		for _, f := range s.Figures {
			if strings.Contains(f.Name, rust) {
				require.NotEqual(t, "exit 3", text)
				require.NotContains(t, f.Name, "from=memory")
				require.Contains(t, f.Name, "threads=1", "it is asked no more")
			}
		}
	}
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
	g := group{settings: settings{each: time.Millisecond, shared: time.Millisecond}, size: kib, threads: 2}
	work := []func(int){
		func(parts int) {
			counts[0] += parts
			for range parts {
				sha256.Sum256(make([]byte, kib))
			}
		},
		func(parts int) { counts[1] += parts },
	}
	rate, err := g.fastest(t.Context(), work)
	require.NoError(t, err)
	require.Positive(t, rate)
	require.Equal(t, counts[0], counts[1], "both take part in every burst")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = g.fastest(ctx, work)
	require.ErrorIs(t, err, context.Canceled)
}

// TestMore: bursts grow until they are long enough, and not by too much.
func TestMore(t *testing.T) {
	t.Parallel()
	g := group{settings: settings{shared: 20 * time.Millisecond}}
	require.InDelta(t, 240, g.more(100, 10*time.Millisecond), together)
	require.InDelta(t, 800, g.more(100, time.Microsecond), together)
	require.Greater(t, g.more(1, 19*time.Millisecond), 1)
	require.Zero(t, g.more(100, time.Millisecond)%together)
}

func TestNoteCopy(t *testing.T) {
	t.Parallel()
	limit := &harness.Figure{Samples: []float64{10, 20}}
	f := &harness.Figure{Samples: []float64{5, 10}, Note: "n"}
	noteCopy(f, limit)
	require.Equal(t, "n, 50 % of memcpy", f.Note)
	require.Empty(t, f.Ratios)
	f.Note = ""
	noteCopy(f, limit)
	require.Equal(t, "50 % of memcpy", f.Note)
	noteCopy(f, nil)
	require.Equal(t, "50 % of memcpy", f.Note)
}

package blocks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/bench/pages"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func env(t *testing.T) *harness.Env {
	return &harness.Env{Dir: t.TempDir(), Rounds: 2, Scale: harness.Smoke, Peers: t.TempDir(), Log: t.Logf}
}

// program puts an executable into the folder of peers.
func program(t *testing.T, e *harness.Env, name, script string) {
	require.NoError(t, os.WriteFile(filepath.Join(e.Peers, name), []byte("#!/bin/sh\n"+script), 0o700)) //nolint:gosec // it has to run
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

func TestSizesAreWhatTheySay(t *testing.T) {
	for _, z := range sizes() {
		require.Equal(t, z.name, strings.ReplaceAll(harness.SizeText(z.PageBytes()), " ", ""))
	}
}

func TestSuite(t *testing.T) {
	e, s := env(t), &harness.Section{}
	// The engine says what it was given: the number of sets, and the data's length.
	program(t, e, "sglang", `test "$1 $3" = "--dir --data" || exit 1
echo '{"name": "op=put/size=80KiB/store=sglang-file", "version": "sglang 1", "unit": "B/s", "value": '$#', "note": "no fsync"}'
echo '{"name": "op=get/size=80KiB/store=sglang-file", "version": "sglang 1", "unit": "B/s", "value": '$(wc -c <"$4")'}'
echo '{"name": "op=put/size=1MiB/store=sglang-file", "version": "sglang 1", "error": "no room"}'
`)
	require.NoError(t, Suite().Run(t.Context(), e, s))
	all := figures(s)
	for _, z := range sizes()[:3] {
		for _, v := range variants() {
			for _, op := range []string{"put", "put-sync", "get", "get-warm"} {
				f := all[fmt.Sprintf("op=%s/size=%s/%v", op, z.name, v)]
				require.Len(t, f.Samples, 2, f.Name)
				require.Greater(t, harness.Median(f.Samples), 0.0)
			}
			durable := all[fmt.Sprintf("op=put-sync/size=%s/%v", z.name, v)]
			require.Equal(t, "op=put-sync/size="+z.name+"/by=direct", durable.To)
			require.Equal(t, "op=put-sync/size="+z.name+"/store=files", durable.BestPeer)
			put := all[fmt.Sprintf("op=put/size=%s/%v", z.name, v)]
			require.Empty(t, put.To)
			require.NotEmpty(t, put.BestPeer)
			for i, rate := range put.Samples {
				require.GreaterOrEqual(t, rate, durable.Samples[i])
			}
			ratio := all[fmt.Sprintf("op=ratio/size=%s/%v", z.name, v)]
			if v.mode == codec.OnlyRaw {
				require.Nil(t, ratio)
			} else {
				require.Greater(t, harness.Median(ratio.Samples), 1.35)
			}
		}
		require.Len(t, all["op=put-sync/size="+z.name+"/store=files"].Samples, 2)
	}
	require.Equal(t, []float64{10, 10}, all["op=put/size=80KiB/store=sglang-file"].Samples)
	require.Equal(t, harness.Peer, all["op=put/size=80KiB/store=sglang-file"].Role)
	require.Equal(t, []float64{miB, miB}, all["op=get/size=80KiB/store=sglang-file"].Samples)
	require.Equal(t, []string{
		"lmcache: not installed; see make bench-peers", "vllm-fs: not installed; see make bench-peers",
		"sglang 1: size=1MiB/store=sglang-file: no room",
	}, s.Parts[0].Missing)
	order := make([]string, 0, len(s.Parts[0].Figures))
	for _, f := range s.Parts[0].Figures {
		_, rest, _ := strings.Cut(f.Name, "/")
		order = append(order, strings.TrimPrefix(rest, "size=")[:4])
	}
	require.Equal(t, []string{"80Ki", "176K", "1MiB"}, slices.Compact(order))
	require.Equal(t, harness.Goal{AtMost: lookupGoal}, all["op=lookup/keys=2000/stores=run/quantile=p99"].Goal)
	for _, stores := range []string{"none", "run"} {
		p50, p99 := all["op=lookup/keys=2000/stores="+stores+"/quantile=p50"], all["op=lookup/keys=2000/stores="+stores+"/quantile=p99"]
		require.Len(t, p50.Samples, 2)
		require.LessOrEqual(t, p50.Samples[0], p99.Samples[0])
	}
	left, err := os.ReadDir(e.Dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestSuiteEndsSoon(t *testing.T) {
	e, s := env(t), &harness.Section{}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(os.ErrDeadlineExceeded)
	require.ErrorIs(t, Suite().Run(ctx, e, s), os.ErrDeadlineExceeded)
	program(t, e, "lmcache", "echo broken >&2; exit 3\n")
	s = &harness.Section{}
	require.NoError(t, Suite().Run(t.Context(), e, s))
	require.Len(t, s.Parts[0].Missing, 3)
	require.Contains(t, s.Parts[0].Missing[2], "broken") // once, not in every round
	left, err := os.ReadDir(e.Dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// small is a set of a few short chunks.
func small(t *testing.T, n int) *set {
	z := size{"2KiB", pages.Geometry{Layers: 2, Tokens: 4, Heads: 1, Dim: 64}, "test"}
	require.Equal(t, 2*kiB, z.PageBytes())
	c, err := makeSet(z, scale{bytes: 2 * kiB * n, unique: 8 * kiB}, 1)
	require.NoError(t, err)
	t.Cleanup(func() { freeSets([]*set{c}) })
	return c
}

func TestStampMakesChunksDiffer(t *testing.T) {
	c := small(t, 300)
	require.Equal(t, 300, c.count())
	seen := make(map[string]bool)
	for round := range 3 {
		before := bytes.Clone(c.all)
		c.stamp(round)
		for i := range c.count() {
			require.False(t, seen[string(c.chunk(i))])
			seen[string(c.chunk(i))] = true
		}
		// Signs and exponents stay, and all that lies behind the stamp.
		for i := 0; i < len(before); i += 2 {
			require.Equal(t, before[i+1], c.all[i+1])
			require.Equal(t, before[i]&0x80, c.all[i]&0x80)
			if i%c.PageBytes() >= 2*stamped {
				require.Equal(t, before[i], c.all[i])
			}
		}
	}
}

func TestLoadTellsOfDamage(t *testing.T) {
	c := small(t, 10)
	c.stamp(0)
	s, err := pack.Open(t.TempDir(), pack.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	done, err := store(t.Context(), s, cas.SessionOptions{Hint: codec.Hint{Mode: codec.OnlyRaw}}, c)
	require.NoError(t, err)
	require.GreaterOrEqual(t, done.bytes, int64(len(c.all)))
	require.GreaterOrEqual(t, done.durable, done.put)
	names := done.names
	require.NoError(t, load(t.Context(), s, c, names))
	require.True(t, bytes.Equal(c.all, c.back))
	_, err = store(t.Context(), s, cas.SessionOptions{}, c)
	require.ErrorIs(t, err, kvferry.ErrInvalid) // it would measure nothing
	sum := names[7].Sum()
	sum[0]++
	names[7] = digest.New(digest.BLAKE3, sum)
	require.ErrorIs(t, load(t.Context(), s, c, names), kvferry.ErrNotFound)
}

func TestEach(t *testing.T) {
	var sum atomic.Int64
	require.NoError(t, each(t.Context(), 100, func(_ context.Context, w, i int) error {
		if w < 0 || w >= workers {
			return errors.New("no such worker")
		}
		sum.Add(int64(i))
		return nil
	}))
	require.Equal(t, int64(4950), sum.Load())
	oops := errors.New("oops")
	require.ErrorIs(t, each(t.Context(), 100, func(_ context.Context, _, i int) error {
		if i == 30 {
			return oops
		}
		return nil
	}), oops)
}

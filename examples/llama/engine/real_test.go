//go:build !race

package engine

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/examples/llama/model"
)

// modelDir returns the folder with the real weights, or skips the test; with
// KVFERRY_REQUIRE_MODELS=1 their absence is a failure.
func modelDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("KVFERRY_MODELS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "models")
	}
	if _, err := os.Stat(filepath.Join(dir, "stories260K.bin")); err != nil {
		if os.Getenv("KVFERRY_REQUIRE_MODELS") == "1" {
			t.Fatalf("KVFERRY_REQUIRE_MODELS is set, and there are no weights: %v", err)
		}
		t.Skipf("no real weights (set KVFERRY_MODELS to a folder with stories260K.bin): %v", err)
	}
	return dir
}

// TestRealStoriesInOneBatch reads four texts of the real model in one batch.
// Pages come out near those that another implementation wrote, equal to those
// of each text alone, and two texts with a common beginning share its pages.
func TestRealStoriesInOneBatch(t *testing.T) {
	t.Parallel()
	dir := modelDir(t)
	m, err := model.LoadFile(filepath.Join(dir, "stories260K.bin"))
	require.NoError(t, err)
	b, err := os.ReadFile(filepath.Join(dir, "s260k.json"))
	require.NoError(t, err)
	var g struct {
		Sequences []struct {
			Name   string
			Tokens []int32
			Pages  []int
			Argmax []int32
			Margin []float64
		}
	}
	require.NoError(t, json.Unmarshal(b, &g))
	kv, err := os.ReadFile(filepath.Join(dir, "s260k.kv"))
	require.NoError(t, err)

	e := newEngine(t, m, Config{Pages: 128})
	var rs []Request
	for i := range g.Sequences {
		s := &g.Sequences[i]
		n := len(s.Tokens)
		for s.Margin[n-1] <= 0.01 || n == m.Config().SeqLen {
			n-- // a clear choice must follow, and there must be room for it
		}
		s.Tokens = s.Tokens[:n]
		rs = append(rs, Request{ID: s.Name, Prompt: s.Tokens, MaxTokens: 1})
		require.NoError(t, e.Submit(rs[i]))
	}
	drain(t, e)
	got := results(t, e)
	require.Equal(t, alone(t, m, rs), got)

	equal, total := 0, 0
	for _, s := range g.Sequences {
		n := len(s.Tokens)
		require.Equal(t, s.Argmax[n-1], got[s.Name].Tokens[n], "%s: the token after the text", s.Name)
		for i, page := range got[s.Name].Pages[:n/16] {
			want := kv[s.Pages[i]*len(page):]
			for at := 0; at < len(page); at += 2 {
				x, y := value(page[at:]), value(want[at:])
				// A step of bf16, and what steps in the layers below add up to.
				require.InDelta(t, y, x, math.Abs(y)/128+1.0/32, "%s page %d byte %d", s.Name, i, at)
				if total++; x == y {
					equal++
				}
			}
		}
	}
	t.Logf("%d of %d values are those of the reference", equal, total)
	require.Greater(t, float64(equal)/float64(total), 0.99)

	ss := e.Sequences()
	require.Equal(t, "story-a", ss[0].ID)
	require.Equal(t, "story-a2", ss[2].ID)
	require.Equal(t, ss[0].Pages[:2], ss[2].Pages[:2])
	for i := 2; i < len(ss[2].Pages); i++ {
		require.NotContains(t, ss[0].Pages, ss[2].Pages[i])
	}
}

func value(b []byte) float64 {
	return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
}

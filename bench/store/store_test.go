package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
)

// TestMain lets the test binary be the child of a run, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		if err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// TestSmoke runs every measurement on a few megabytes, so that the harness
// works when it is needed. What it measures is not looked at.
func TestSmoke(t *testing.T) {
	for _, x := range backends() {
		t.Run("store="+x.name, func(t *testing.T) {
			dir := t.TempDir()
			page, raw := filepath.Join(t.TempDir(), "page.md"), filepath.Join(t.TempDir(), "raw.json")
			var log bytes.Buffer
			args := []string{"-dir", dir, "-scale", "smoke", "-store", x.name, "-out", page, "-raw", raw}
			require.NoError(t, run(t.Context(), args, &log, &log), log.String())
			text, err := os.ReadFile(page)
			require.NoError(t, err)
			for _, m := range measures() {
				require.Contains(t, string(text), "## "+m.title+"\n")
			}
			require.Contains(t, string(text), "these figures mean nothing")
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Empty(t, left, "the run cleans up")
			samples, err := os.ReadFile(raw)
			require.NoError(t, err)
			require.Contains(t, string(samples), `"samples"`)
		})
	}
}

// TestPagesStayRaw holds the data against what the goals presume: no store
// gains by compressing it, and no two blobs are alike.
func TestPagesStayRaw(t *testing.T) {
	p := &pages{size: 176 * kiB, count: 40, seed: 1, pool: newPool(4 * miB)}
	var enc codec.Encoder
	seen := make(map[digest.Digest]bool)
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	require.NoError(t, err)
	for i := range p.count {
		plain := p.blob(i)
		f, err := enc.Encode(codec.Hint{}, plain)
		require.NoError(t, err)
		require.Equal(t, codec.Raw, f.Codec())
		seen[h.Sum(plain)] = true
	}
	require.Len(t, seen, p.count)
	require.NotEqual(t, p.pool[:miB][8:], p.pool[miB : 2*miB][8:])
}

func TestLists(t *testing.T) {
	var blobs []digest.Digest
	for i := range uint64(5) {
		blobs = append(blobs, madeUp(i))
	}
	got, err := decodeList(encodeList(blobs))
	require.NoError(t, err)
	require.Equal(t, blobs, got)
	for _, bad := range [][]byte{nil, make([]byte, 7), encodeList(blobs)[:40], append(encodeList(blobs), 0)} {
		_, err := decodeList(bad)
		require.Error(t, err)
	}
}

func TestVerdicts(t *testing.T) {
	limit := &figure{What: "limit", Samples: []float64{10, 20, 40}}
	f := (&figure{Unit: perSecond, Samples: []float64{9, 16, 40}}).versus(limit, goal{AtLeast: 0.85})
	require.Equal(t, []float64{0.9, 0.8, 1}, f.Ratios)
	want, result := f.verdict()
	require.Equal(t, "≥ 85.0 %", want)
	require.Equal(t, "reached", result)
	f.Goal.AtLeast = 0.95
	_, result = f.verdict()
	require.Equal(t, "**missed**", result)

	f = &figure{Unit: seconds, Samples: []float64{1, 3}, Goal: goal{AtMost: 2}}
	want, result = f.verdict()
	require.Equal(t, "≤ 2.00 s", want)
	require.Equal(t, "reached", result)
	f.add(4)
	_, result = f.verdict()
	require.Equal(t, "**missed**", result)

	none := (&figure{Samples: []float64{1}}).versus(nil, goal{AtLeast: 3})
	_, result = none.verdict()
	require.Empty(t, result, "nothing to hold it against")
	require.Same(t, limit, fastest([]*figure{{}, none, limit}))
	require.Nil(t, fastest(nil))
}

func TestText(t *testing.T) {
	for want, got := range map[string]string{
		"1.53 GB/s":                       perSecond.text(1.53e9),
		"850 MB/s":                        perSecond.text(850e6),
		"120 ms":                          seconds.text(0.12),
		"12.5 s":                          seconds.text(12.5),
		"1.013":                           times.text(1.0131),
		"187 ns":                          nanoseconds.text(187.2),
		"45.2 bytes":                      bytesEach.text(45.2),
		"24.0x":                           share(24),
		"84.9 %":                          share(0.849),
		"1 to 3":                          spread([]float64{2, 3, 1}, func(v float64) string { return fmt.Sprint(v) }),
		"176 KiB":                         sizeText(176 * kiB),
		`a b\|c`:                          cell("a b|c"),
		"fio, O_DIRECT, 2 jobs, a, 1 MiB": fioVariant{"a", miB, 1}.String(),
	} {
		require.Equal(t, want, got)
	}
	require.Equal(t, 2.5, median([]float64{4, 1, 2, 3}))
	require.Zero(t, median(nil))
}

func TestFlags(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-list"}, &out, &out))
	require.Contains(t, out.String(), "amplify")
	for _, bad := range [][]string{
		{}, {"-dir", t.TempDir(), "-store", "tape"}, {"-dir", t.TempDir(), "-scale", "huge"},
		{"-dir", t.TempDir(), "-only", "("}, {"-dir", "x", "y"}, {childArg}, {childArg, "{"},
	} {
		require.Error(t, run(t.Context(), bad, &out, &out), "%q", bad)
	}
}

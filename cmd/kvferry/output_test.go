package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture"
)

func TestSize(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1.0 MiB",
		1 << 30: "1.0 GiB", 3 << 40: "3.0 TiB", 1<<63 - 1: "8.0 EiB", -2048: "-2.0 KiB",
	} {
		require.Equal(t, want, size(n), n)
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	require.Equal(t, "2.00 GB/s", rate(4e9, 2*time.Second))
	require.Equal(t, "1.5 MB/s", rate(1.5e6, time.Second))
	require.Equal(t, "0.5 kB/s", rate(500, time.Second))
	require.Equal(t, "-", rate(500, 0))
}

func TestAge(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]time.Duration{
		"7d": 7 * 24 * time.Hour, "2w": 14 * 24 * time.Hour, "36h": 36 * time.Hour, "90m": 90 * time.Minute, "1h30m": 90 * time.Minute,
	} {
		var g age
		require.NoError(t, g.Set(s), s)
		require.Equal(t, want, time.Duration(g), s)
	}
	for _, s := range []string{"", "d", "7", "-7d", "0d", "0h", "-1h", "1.5d", "7 d", "7days", "9223372036854775807d", "106752d", "++1d"} {
		var g age
		require.Error(t, g.Set(s), s)
		require.Zero(t, g, s)
	}
}

func TestParseStoreURL(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]storeURL{
		"dir:a":     {"dir", "a"},
		"dir:/a/b":  {"dir", "/a/b"},
		"dir:a:b":   {"dir", "a:b"},
		"pack:a":    {"pack", "a"},
		"pack:a:b":  {"pack", "a:b"},
		"a":         {"", "a"},
		"./a:b":     {"", "./a:b"},
		"/x/y:z":    {"", "/x/y:z"},
		"../s3:x":   {"", "../s3:x"},
		"mem:":      {"mem", ""},
		"dir:mem:":  {"dir", "mem:"},
		"dir: a":    {"dir", " a"},
		"dir:a/../": {"dir", "a/../"},
	} {
		got, err := parseStoreURL(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{"", "dir:", "mem:x", "s3:b", "pack:", "PACK:p", "DIR:a", ":", ":x", "dir:a\x00b"} {
		_, err := parseStoreURL(s)
		require.Error(t, err, "%q", s)
	}
}

// TestByteSizes: what people write for a number of bytes, and what is none.
func TestByteSizes(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int64{
		"1": 1, "800": 800, "12B": 12, "1k": 1 << 10, "3K": 3 << 10, "2KiB": 2 << 10, "2KB": 2000, "1.5MiB": 3 << 19,
		"500MB": 500_000_000, "7 GB": 7_000_000_000, "2gib": 2 << 30, "1T": 1 << 40, "1PiB": 1 << 50, "0.5GB": 500_000_000,
	} {
		var b byteSize
		require.NoError(t, b.Set(s), s)
		require.EqualValues(t, want, b, s)
	}
	for _, s := range []string{"", "0", "-1", "1e9", "MB", "5XB", "5iB", "5BB", "5KBB", "1.2.3", "0.1", "9999PiB", "1 2", "NaN", "0x10", "5KK"} {
		var b byteSize
		require.Error(t, b.Set(s), s)
		require.Zero(t, b, s)
	}
}

func TestMeterShowsProgressOnATerminalAndNeverGoesBack(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	m := &meter{w: &b, title: "testing"}
	m.update(capture.Progress{Bytes: 100, TotalBytes: 1000})
	m.update(capture.Progress{Bytes: 50, TotalBytes: 1000})
	require.Equal(t, int64(100), m.most)
	m.update(capture.Progress{Bytes: 1000, TotalBytes: 1000})
	m.done()
	m.done()
	require.Contains(t, b.String(), "testing")

	silent := &meter{title: "testing"}
	silent.update(capture.Progress{Bytes: 100, TotalBytes: 1000})
	silent.done()
}

func TestNoProgressWhereNobodyWatches(t *testing.T) {
	t.Parallel()
	a := &app{console: console{err: &bytes.Buffer{}}}
	require.Nil(t, a.progress("x").w)
}

func TestNumbersAreCutWhereTheyGetLong(t *testing.T) {
	t.Parallel()
	require.Equal(t, "1, 2", numbers([]uint32{1, 2}))
	require.Contains(t, numbers(make([]uint32, 100)), "(100 in all)")
	var b bytes.Buffer
	require.NoError(t, writeLosses(&b, make([]loss, shownLosses+5)))
	require.Contains(t, b.String(), "and 5 more")
	require.Equal(t, shownLosses+1, strings.Count(b.String(), "\n"))
}

func TestShortDigestIsAPrefix(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"blake3", "blake3-keyed", "sha256"} {
		d := alg + ":" + strings.Repeat("ab", 32)
		require.Equal(t, alg+":abababababab", shortDigest(d))
	}
	require.Equal(t, "short", shortDigest("short"))
}

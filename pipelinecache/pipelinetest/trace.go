package pipelinetest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pipelinecache"
)

// Trace is a recording of what one of the original's caches did.
type Trace struct {
	Name  string // of the file
	Head  Head
	Steps []Step
	End   End
}

// Head is the first line: what the cache was made with.
type Head struct {
	Trace string // "memory", "layered" or "disk"
	Ops   int
	// MaxEntries and MaxBytes are the limits of each shard of a memory; 0
	// keeps nothing.
	MaxEntries int `json:"max_entries_per_shard"`
	MaxBytes   int `json:"max_bytes_per_shard"`
	// Layers are such limits of each layer.
	Layers [][2]int
	Vanish bool // files are removed that a flush waits for
}

// Step is one operation, what came of it, and the state after it.
type Step struct {
	I  int
	Op string
	// Key is the fingerprint; zero where the operation has none.
	Key Text `json:"fp"`
	// Len and Byte are an artifact: so many of this byte. Hit is whether a get
	// found it.
	Len   int
	Byte  byte
	Hit   bool
	Layer int // which one an operation went to directly

	OK           bool // whether a flush succeeded
	Offset, Size int  // where a file was edited
	Done         bool // and whether it was

	Metrics   Numbers   `json:"m"`
	Reports   []Report  `json:"r"`
	Promotion [6]uint64 `json:"p"` // events, layers, bytes; source, layers, bytes of the last
	Pending   int
	Durable   bool
}

// Artifact returns the bytes that a step put or found.
func (s Step) Artifact() []byte { return bytes.Repeat([]byte{s.Byte}, s.Len) }

// End is the last line: the state at the end.
type End struct {
	End bool

	Len          int
	CachedBytes  uint64     `json:"cached_bytes"`
	Empty        bool       `json:"is_empty"`
	Metrics      Numbers    `json:"m"`
	HitRatePPM   uint32     `json:"hit_rate_ppm"`
	Reports      []Report   `json:"r"`
	LayerMetrics []Numbers  `json:"layer_metrics"`
	LayerReports [][]Report `json:"layer_reports"`
	Promotion    [6]uint64  `json:"p"`
	Files        []string
}

// Numbers is Metrics as a trace writes them: a list, in the order of the
// fields.
type Numbers pipelinecache.Metrics

// UnmarshalJSON implements json.Unmarshaler.
func (c *Numbers) UnmarshalJSON(b []byte) error {
	to := []any{
		&c.Lookups, &c.Hits, &c.Misses, &c.Puts, &c.RejectedPuts,
		&c.Evictions, &c.EvictedBytes, &c.Flushes, &c.FlushErrors, &c.CachedBytes, &c.Entries,
	}
	return list(b, to)
}

// Report is the latest eviction of a shard.
type Report struct {
	Entries, Bytes, MaxAgeTicks uint64
	Reason                      string
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Report) UnmarshalJSON(b []byte) error {
	return list(b, []any{&r.Entries, &r.Bytes, &r.MaxAgeTicks, &r.Reason})
}

// list reads a JSON list of exactly these values.
func list(b []byte, to []any) error {
	var items []json.RawMessage
	if err := json.Unmarshal(b, &items); err != nil {
		return err
	}
	if len(items) != len(to) {
		return fmt.Errorf("a list of %d, want %d", len(items), len(to))
	}
	for i, item := range items {
		if err := json.Unmarshal(item, to[i]); err != nil {
			return err
		}
	}
	return nil
}

// Text is a fingerprint that is read from its text.
type Text pipelinecache.Fingerprint

// UnmarshalText implements encoding.TextUnmarshaler.
func (x *Text) UnmarshalText(b []byte) error {
	f, err := pipelinecache.ParseFingerprint(string(b))
	*x = Text(f)
	return err
}

// Traces returns the traces of a kind ("memory", "layered" or "disk") in the
// folders. The first has some; the others may have none, and one without a name
// is left out. The files are *.jsonl.gz, or *.jsonl; what their first line does
// not call a trace is not looked at.
func Traces(t testing.TB, kind string, folders ...string) []Trace {
	t.Helper()
	var all []Trace
	for _, folder := range folders {
		if folder == "" {
			continue
		}
		entries, err := os.ReadDir(folder)
		require.NoError(t, err)
		for _, e := range entries {
			path := filepath.Join(folder, e.Name())
			if !strings.HasSuffix(strings.TrimSuffix(path, ".gz"), ".jsonl") {
				continue
			}
			if text := unpack(t, path); kindOf(text) == kind {
				all = append(all, readTrace(t, path, text))
			}
		}
		require.NotEmpty(t, all, "no traces of kind %s in %s", kind, folder)
	}
	return all
}

func unpack(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	if filepath.Ext(path) == ".gz" {
		r, err := gzip.NewReader(bytes.NewReader(b))
		require.NoError(t, err)
		b, err = io.ReadAll(r)
		require.NoError(t, err)
	}
	return b
}

// kindOf returns what the first line says; nothing if it is another's.
func kindOf(text []byte) string {
	var h Head
	first, _, _ := bytes.Cut(text, []byte("\n"))
	if json.Unmarshal(first, &h) != nil {
		return ""
	}
	return h.Trace
}

func readTrace(t testing.TB, path string, text []byte) Trace {
	t.Helper()
	trace := Trace{Name: filepath.Base(path)}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	next := func(to any) {
		require.True(t, lines.Scan(), "%s ends early", path)
		require.NoError(t, json.Unmarshal(lines.Bytes(), to), "%s: %s", path, lines.Text())
	}
	next(&trace.Head)
	for i := range trace.Head.Ops {
		var s Step
		next(&s)
		require.Equal(t, i, s.I)
		trace.Steps = append(trace.Steps, s)
	}
	next(&trace.End)
	require.True(t, trace.End.End, "%s has no end", path)
	require.False(t, lines.Scan(), "%s goes on after its end", path)
	require.NoError(t, lines.Err())
	return trace
}

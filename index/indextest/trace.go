package indextest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events"
)

//go:embed testdata/*.jsonl.gz
var recorded embed.FS

// furtherTraces names a folder with more of them.
const furtherTraces = "KVFERRY_GOLDEN_QUILLCACHE"

// Traces replays the operations that were recorded of QuillCache's indexes, line
// by line, and requires the results that it gave: those of its index in memory
// under AsMemory, those of its index on Holt under AsHolt, and those that do not
// depend on it under all rules. The traces of a folder that is named by
// KVFERRY_GOLDEN_QUILLCACHE follow. Under the race detector, the beginning of one
// trace of each kind has to do: one client replays it, and who has no detector
// replays it all.
func Traces(t *testing.T, c Config) {
	own, err := fs.Sub(recorded, "testdata")
	require.NoError(t, err)
	t.Run("recorded", func(t *testing.T) { replayFolder(t, c, own, racing && !soaking()) })
	if folder := os.Getenv(furtherTraces); folder != "" {
		t.Run("further", func(t *testing.T) { replayFolder(t, c, os.DirFS(folder), false) })
	}
	t.Run("moved NUL", func(t *testing.T) { replayNUL(t, c) })
}

// fewLines is which part of a trace few of its lines are.
const fewLines = 8

// header is the first line of a trace.
type header struct {
	Kind    string
	Version int
	Backend string
	Profile string
	Engines []events.Endpoint
}

// line is another one.
type line struct {
	I                                     int
	Op                                    string
	R, Key, Scope, Res, Batch, Summary, M json.RawMessage
	Prefix, Hash, Worker, SHA256, Err, V  string
	N, Safe, Refused                      *int
	Empty                                 *bool
	Hashes                                []string
	Kinds                                 map[string]int
	Done                                  bool
}

// replayFolder replays the traces of a folder, or few of them: the first lines of
// one of each kind.
func replayFolder(t *testing.T, c Config, folder fs.FS, few bool) {
	names, err := fs.Glob(folder, "index-*.jsonl.gz")
	require.NoError(t, err)
	names = slices.DeleteFunc(names, func(n string) bool { return strings.HasPrefix(n, "index-vectors-") })
	if few {
		names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, "-1.jsonl.gz") })
	}
	require.NotEmpty(t, names, "no traces")
	for _, name := range names {
		lines, err := readLines(folder, name)
		require.NoError(t, err, name)
		if few {
			lines = lines[:1+len(lines)/fewLines]
		}
		var h header
		require.NoError(t, json.Unmarshal(lines[0], &h), name)
		require.Equal(t, "quill-index-trace", h.Kind, name)
		require.Equal(t, 1, h.Version, name)
		for _, rule := range h.rules(t, c) {
			t.Run(strings.TrimSuffix(name, ".jsonl.gz")+"/"+rule.String(), func(t *testing.T) {
				t.Parallel()
				replay(t, c, rule, &h, lines[1:])
			})
		}
	}
}

// rules returns the rules under which a trace must give its results: the ones of
// its backend first.
func (h *header) rules(t *testing.T, c Config) []index.Rules {
	backends := map[string]index.Rules{"memory": index.AsMemory, "holt": index.AsHolt, "rocksdb": index.AsHolt}
	rule, ok := backends[h.Backend]
	require.True(t, ok, "unknown backend %q", h.Backend)
	if h.portable() && (!c.Slow && !racing || soaking()) {
		return rules()
	}
	return []index.Rules{rule}
}

func (h *header) portable() bool { return h.Profile == "portable" || h.Profile == "churn" }

// readLines returns the lines of a compressed file.
func readLines(folder fs.FS, name string) ([][]byte, error) {
	data, err := fs.ReadFile(folder, name)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var lines [][]byte
	s := bufio.NewScanner(z)
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		lines = append(lines, bytes.Clone(s.Bytes()))
	}
	if s.Err() == nil && len(lines) < 2 {
		return nil, fmt.Errorf("%s: %d lines", name, len(lines))
	}
	return lines, s.Err()
}

// replay makes the operations on a new index.
func replay(t *testing.T, c Config, rule index.Rules, h *header, lines [][]byte) {
	o := index.Options{Rules: rule}
	p := &player{t: t, config: c, options: o, header: h, index: c.Open(t, o)}
	defer func() { require.NoError(t, p.index.Close()) }()
	for _, text := range lines {
		var l line
		require.NoError(t, json.Unmarshal(text, &l))
		if err := p.play(&l); err != nil {
			require.Fail(t, "not like the original", "%v\n%.2000s", err, text)
		}
	}
}

package httpapi_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index/events"
	"github.com/kvferry/kvferry/index/httpapi"
	"github.com/kvferry/kvferry/index/memory"
)

// documented is a server as docs/index.md has it.
func documented(t *testing.T) *server {
	t.Helper()
	x, err := memory.New(memory.Options{})
	require.NoError(t, err)
	const llama = "meta-llama/Llama-3.1-8B"
	engines := []events.Endpoint{{ID: "vllm-a", Kind: "Vllm", Role: "Aggregated", Model: llama, Tokenizer: llama, Tenant: "acme"}}
	intake := events.NewIntake(x, engines)
	return serve(t, x, httpapi.Options{
		Ingest: intake.Ingest, Engines: engines,
		Collectors: []prometheus.Collector{httpapi.NewEventsCollector(map[string]func() events.Stats{"http": intake.Stats})},
	})
}

// TestDocumentedExamples sends the requests of docs/index.md and wants the answers
// that stand behind them.
func TestDocumentedExamples(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/index.md")
	require.NoError(t, err)
	s := documented(t)
	_ = s.x.Watch(t.Context(), 0) // somebody has watched
	blocks := regexp.MustCompile("(?s)```(http|json|ndjson)( \\d+)?\n(.*?)```").FindAllStringSubmatch(string(doc), -1)
	require.Zero(t, len(blocks)%2)
	require.GreaterOrEqual(t, len(blocks), 18)
	for pair := range slices.Chunk(blocks, 2) {
		require.Equal(t, "http", pair[0][1])
		want := http.StatusOK
		if code := strings.TrimSpace(pair[1][2]); code != "" {
			want, err = strconv.Atoi(code)
			require.NoError(t, err)
		}
		s.example(pair[0][3], want, pair[1][1], pair[1][3])
	}
}

// example sends one request. Of a stream, the answer's first line begins as shown.
func (s *server) example(request string, code int, kind, answer string) {
	s.Helper()
	head, body, _ := strings.Cut(request, "\n\n")
	line, header, _ := strings.Cut(strings.TrimSpace(head), "\n")
	method, path, _ := strings.Cut(line, " ")
	r, err := http.NewRequestWithContext(s.Context(), method, s.base+path, bytes.NewReader([]byte(body)))
	require.NoError(s, err)
	if name, value, ok := strings.Cut(header, ": "); ok {
		r.Header.Set(name, value)
	}
	w, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(s, err)
	defer func() { require.NoError(s, w.Body.Close()) }()
	require.Equal(s, code, w.StatusCode, request)
	if kind == "ndjson" {
		first, err := bufio.NewReader(w.Body).ReadString('\n')
		require.NoError(s, err)
		require.True(s, json.Valid([]byte(first)))
		require.True(s, strings.HasPrefix(first, strings.TrimSpace(answer)), first)
		return
	}
	out, err := io.ReadAll(w.Body)
	require.NoError(s, err)
	require.JSONEq(s, answer, string(out), request)
}

// TestMetricsAreDocumented compares what is published with the table of
// docs/index.md.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/index.md")
	require.NoError(t, err)
	s := documented(t)
	_, _ = s.get("/healthz") // so that there is an answer to count
	code, out := s.get("/metrics")
	require.Equal(t, http.StatusOK, code)
	names := func(re, text string) (all []string) {
		for _, m := range regexp.MustCompile(re).FindAllStringSubmatch(text, -1) {
			all = append(all, m[1])
		}
		slices.Sort(all)
		return slices.Compact(all)
	}
	published := names(`(?m)^# TYPE (kvferry_\w+)`, out)
	require.NotEmpty(t, published)
	require.Equal(t, published, names("`(kvferry_(?:index|http|events)_\\w+)`", string(doc)))
}

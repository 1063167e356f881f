package httpapi_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events"
	"github.com/kvferry/kvferry/index/httpapi"
	"github.com/kvferry/kvferry/index/indextest"
)

func TestToken(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, httpapi.Options{Token: "s3cret"})
	for _, path := range []string{"/v1/state", "/v1/watch", "/v1/scan", "/v1/locate", "/metrics"} {
		for _, header := range []string{"", "Bearer", "Bearer ", "Bearer s3cre", "Basic s3cret"} {
			code, out, _ := s.do(http.MethodGet, path, "", "Authorization", header)
			s.refused(http.StatusUnauthorized, "unauthorized", code, out)
		}
	}
	for _, path := range []string{"/v1/match", "/v1/kv-events"} {
		code, out := s.post(path, `{}`)
		s.refused(http.StatusUnauthorized, "unauthorized", code, out)
	}
	for _, header := range []string{"Bearer s3cret", "bearer s3cret"} {
		code, _, _ := s.do(http.MethodGet, "/v1/state", "", "Authorization", header)
		require.Equal(t, http.StatusOK, code)
	}
	code, out := s.get("/healthz")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, out, `"status":"ok"`)
	require.NotContains(t, out, "s3cret")
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	more := prometheus.NewGauge(prometheus.GaugeOpts{Name: "more", Help: "More."})
	s := serve(t, nil, httpapi.Options{Collectors: []prometheus.Collector{more}})
	s.put(scope("a"), "w0", index.HBM, "h0", "h1")
	_, _ = s.get("/v1/scan?model_id=M&tokenizer_id=T&tenant_id=a&prefix_hash=root")
	_, _ = s.get("/v1/scan")
	code, out := s.get("/metrics")
	require.Equal(t, http.StatusOK, code)
	for _, line := range []string{
		"kvferry_index_resident_blocks 2", "kvferry_index_resident_bytes 8192", "kvferry_index_stale_blocks 0",
		"kvferry_index_workers 1", "kvferry_index_puts_total 2", "kvferry_index_removes_total 0", "kvferry_index_cleared_total 0",
		"kvferry_index_expired_total 0", "kvferry_index_prefix_scans_total 1", "kvferry_index_locates_total 0",
		"kvferry_index_matches_total 0", "kvferry_index_written_bytes_total 0", "kvferry_index_sequence 1",
		"kvferry_index_metrics_failed_total 0", `kvferry_http_requests_total{code="200",route="GET /v1/scan"} 1`,
		`kvferry_http_requests_total{code="400",route="GET /v1/scan"} 1`, `kvferry_http_request_seconds_count{route="GET /v1/scan"} 2`,
		"more 0", `rules="recommended"`, "process_resident_memory_bytes", "go_goroutines",
	} {
		require.Contains(t, out, line)
	}
	_, err := httpapi.New(s.x, httpapi.Options{Collectors: []prometheus.Collector{more, more}})
	require.Error(t, err)
}

func TestOptions(t *testing.T) {
	t.Parallel()
	_, err := httpapi.New(indextest.NewModel(index.Options{}), httpapi.Options{MaxStreams: -1, Timeout: -1})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.ErrorContains(t, err, "streams")
	require.ErrorContains(t, err, "timeout")
}

// slow is an index whose matches wait until they are let go.
type slow struct {
	index.Index

	began chan struct{}
	letGo chan struct{}
}

func (s *slow) Match(ctx context.Context, _ *index.Query, dst []index.Match) ([]index.Match, error) {
	s.began <- struct{}{}
	select {
	case <-s.letGo:
		return dst, nil
	case <-ctx.Done():
		return dst, ctx.Err()
	}
}

const question = `{"scope":{"model_id":"","tokenizer_id":"","tenant_id":""},"hashes":["h"]}`

func TestTooManyAtATime(t *testing.T) {
	t.Parallel()
	x := &slow{indextest.NewModel(index.Options{}), make(chan struct{}, 1), make(chan struct{})}
	s := serve(t, x, httpapi.Options{MaxQueries: 1, MaxWait: time.Millisecond})
	first := make(chan int)
	go func() {
		code, _ := s.post("/v1/match", question)
		first <- code
	}()
	<-x.began
	code, out, header := s.do(http.MethodPost, "/v1/match", question, "Content-Type", "application/json")
	s.refused(http.StatusServiceUnavailable, "busy", code, out)
	require.Equal(t, "1", header.Get("Retry-After"))
	code, _ = s.get("/healthz") // takes no turn
	require.Equal(t, http.StatusOK, code)
	close(x.letGo)
	require.Equal(t, http.StatusOK, <-first)
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	x := &slow{indextest.NewModel(index.Options{}), make(chan struct{}, 1), nil}
	s := serve(t, x, httpapi.Options{Timeout: 50 * time.Millisecond})
	code, out := s.post("/v1/match", question)
	s.refused(http.StatusGatewayTimeout, "timeout", code, out)
}

// torn is an index whose snapshot fails behind its first record.
type torn struct{ index.Index }

func (x torn) Snapshot(ctx context.Context, visit func(*index.Record) error) (uint64, error) {
	n := 0
	return x.Index.Snapshot(ctx, func(r *index.Record) error {
		if n++; n > 1 {
			return kvferry.ErrCorrupt
		}
		return visit(r)
	})
}

func TestStateThatFailsIsNoDocument(t *testing.T) {
	t.Parallel()
	s := serve(t, torn{indextest.NewModel(index.Options{})}, httpapi.Options{})
	long := strings.Repeat("h", 1<<17) // beyond the buffer: the answer has begun
	s.put(scope("a"), "w0", index.HBM, long, "h1")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+"/v1/state", nil)
	require.NoError(t, err)
	w, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	defer func() { _ = w.Body.Close() }()
	_, err = io.Copy(io.Discard, w.Body)
	require.ErrorContains(t, err, "unexpected EOF")
}

// TestServeEndsStreams ends streams with the server, and not when the time is over
// in which a request has to come in.
func TestServeEndsStreams(t *testing.T) {
	t.Parallel()
	x := indextest.NewModel(index.Options{})
	h, err := httpapi.New(x, httpapi.Options{Timeout: 20 * time.Millisecond, Heartbeat: 10 * time.Millisecond, Ingest: func(context.Context, *events.Batch) (events.Summary, error) { return events.Summary{}, nil }})
	require.NoError(t, err)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- httpapi.Serve(ctx, l, h) }()
	s := &server{T: t, x: x, base: "http://" + l.Addr().String()}
	next, stop := s.stream("/v1/watch")
	defer stop()
	beat := func() { require.Empty(t, s.beat()) }
	s.put(scope("a"), "w0", index.HBM, "h0")
	require.Contains(t, next(), "put")
	for range 10 {
		beat()
	}
	s.put(scope("a"), "w0", index.HBM, "h1")
	require.Contains(t, next(), "put")
	cancel()
	require.Empty(t, next())
	require.NoError(t, <-ended)
	require.NoError(t, x.Close())
	require.Error(t, httpapi.Serve(t.Context(), l, h), "the listener is closed")
}

// crowded is an index that is asked for its counts, and takes its time for them.
type crowded struct {
	index.Index

	inside chan struct{}
	two    atomic.Bool // were asking at once
}

// Metrics waits a moment for another to come in.
func (x *crowded) Metrics(ctx context.Context) (index.Metrics, error) {
	select {
	case x.inside <- struct{}{}: // somebody takes it
		x.two.Store(true)
	case <-x.inside:
		x.two.Store(true)
	case <-time.After(20 * time.Millisecond):
	}
	return x.Index.Metrics(ctx)
}

// TestHealthIsAskedOnce for all who ask at a time: they need no token and no turn.
func TestHealthIsAskedOnce(t *testing.T) {
	t.Parallel()
	x := &crowded{Index: indextest.NewModel(index.Options{}), inside: make(chan struct{})}
	s := serve(t, x, httpapi.Options{})
	const crowd = 50
	codes := make(chan int, crowd)
	for range crowd {
		go func() {
			code, _ := s.get("/healthz")
			codes <- code
		}()
	}
	for range crowd {
		require.Equal(t, http.StatusOK, <-codes)
	}
	require.False(t, x.two.Load())
}

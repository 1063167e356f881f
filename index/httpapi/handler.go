package httpapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/singleflight"

	"github.com/kvferry/kvferry/index"
)

// Handler serves an index, which stays the caller's. It is safe for concurrent
// use. Streams end when Close is called or their request's context ends.
type Handler struct {
	x       index.Index
	opt     Options
	mux     *http.ServeMux
	metrics *metrics
	token   [sha256.Size]byte

	asked singleflight.Group // for the health

	closing context.Context // ends the streams
	close   context.CancelFunc
}

var _ http.Handler = (*Handler)(nil)

// New returns a handler of an index.
func New(x index.Index, o Options) (*Handler, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(x, o.Collectors)
	if err != nil {
		return nil, err
	}
	h := &Handler{x: x, opt: o, mux: http.NewServeMux(), metrics: m, token: sha256.Sum256([]byte(o.Token))}
	h.closing, h.close = context.WithCancel(context.Background())
	batches, queries, streams := newTurns(o.MaxBatches), newTurns(o.MaxQueries), newTurns(o.MaxStreams)
	h.route("POST /v1/kv-events", batches, h.bounded(h.events))
	h.route("POST /v1/match", queries, h.bounded(h.match))
	h.route("GET /v1/locate", queries, h.bounded(h.locate))
	h.route("GET /v1/scan", queries, h.bounded(h.scan))
	h.route("GET /v1/state", streams, h.state)
	h.route("GET /v1/watch", streams, h.watch)
	h.route("GET /healthz", nil, h.bounded(h.health))
	h.route("GET /metrics", queries, h.scrape(promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: o.Timeout})))
	return h, nil
}

// Close ends the streams; other requests come to their end by themselves.
func (h *Handler) Close() { h.close() }

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// answer serves a request, or returns why not before anything was written.
type answer func(w http.ResponseWriter, r *http.Request) error

// route serves what may be asked with a token, some at a time.
func (h *Handler) route(pattern string, t turns, serve answer) {
	seen := h.metrics.route(pattern)
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		s := &status{ResponseWriter: w}
		defer func() { seen(s.code, time.Since(began)) }()
		if err := h.admit(r, t, func() error { return serve(s, r) }); err != nil {
			if s.code != 0 { // in the middle of an answer: it must not look whole
				h.opt.Log.Warn("answer cut off", "route", pattern, "error", err)
				panic(http.ErrAbortHandler)
			}
			h.fail(s, r, err)
		}
	})
}

func (h *Handler) admit(r *http.Request, t turns, serve func() error) error {
	if t == nil {
		return serve()
	}
	if !h.authorized(r) {
		return refusal(http.StatusUnauthorized, "unauthorized", "send the token that the server was started with, as Authorization: Bearer TOKEN")
	}
	if !t.take(r.Context(), h.opt.MaxWait) {
		return refusal(http.StatusServiceUnavailable, "busy", "too many requests of this kind at a time; ask again later")
	}
	defer t.give()
	return serve()
}

// authorized compares digests, so that the time it takes tells nothing.
func (h *Handler) authorized(r *http.Request) bool {
	if h.opt.Token == "" {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(token))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(sum[:], h.token[:]) == 1
}

// bounded gives a request its time, reading its body included, and then some to
// write the answer.
func (h *Handler) bounded(serve answer) answer {
	return func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), h.opt.Timeout)
		defer cancel()
		// Where deadlines cannot be set, they are those of the server.
		c, end := http.NewResponseController(w), time.Now().Add(h.opt.Timeout)
		_, _ = c.SetReadDeadline(end), c.SetWriteDeadline(end.Add(h.opt.StallTimeout))
		return serve(w, r.WithContext(ctx))
	}
}

// scrape makes an answer of a handler that answers always.
func (h *Handler) scrape(serve http.Handler) answer {
	return func(w http.ResponseWriter, r *http.Request) error {
		serve.ServeHTTP(w, r)
		return nil
	}
}

// health says whether the index answers. Who asks needs no token and no turn, so the
// index is asked once for all that ask at the same time.
func (h *Handler) health(w http.ResponseWriter, r *http.Request) error {
	if h.closing.Err() != nil {
		return refusal(http.StatusServiceUnavailable, "closed", "the server is ending")
	}
	answered := h.asked.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(h.closing, h.opt.Timeout)
		defer cancel()
		m, err := h.x.Metrics(ctx)
		return &m, err
	})
	select {
	case a := <-answered:
		m, ok := a.Val.(*index.Metrics)
		if a.Err != nil || !ok {
			return a.Err
		}
		return reply(w, append(appendInfo([]byte(`{"status":"ok",`), h.x.Info(), m), '}', '\n'))
	case <-r.Context().Done():
		return r.Context().Err()
	}
}

func reply(w http.ResponseWriter, body []byte) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(body)
	return err
}

// turns bounds how many requests of one kind are served at a time.
type turns chan struct{}

func newTurns(n int) turns { return make(turns, n) }

func (t turns) give() { <-t }

// take waits for a turn, and reports whether there is one.
func (t turns) take(ctx context.Context, wait time.Duration) bool {
	select {
	case t <- struct{}{}:
		return true
	default:
	}
	late := time.NewTimer(wait)
	defer late.Stop()
	select {
	case t <- struct{}{}:
		return true
	case <-late.C:
	case <-ctx.Done():
	}
	return false
}

// status remembers the code of an answer; 0 is none yet.
type status struct {
	http.ResponseWriter

	code int
}

// WriteHeader implements http.ResponseWriter.
func (s *status) WriteHeader(code int) {
	if s.code == 0 {
		s.code = code
	}
	s.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (s *status) Write(p []byte) (int, error) {
	if s.code == 0 {
		s.code = http.StatusOK
	}
	return s.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }

var errStopped = errors.New("httpapi: the server is ending")

package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
)

// Source has frames, as a disk.Store does. Frame returns a whole one that was
// checked, and nobody changes it afterwards; its errors are those of
// pipelinecache.Store's Get.
type Source interface {
	Frame(ctx context.Context, f pipelinecache.Fingerprint) ([]byte, error)
}

// HandlerOptions say what is served and how much at a time.
type HandlerOptions struct {
	// Metadata is what the headers say; both texts are required.
	Metadata Metadata
	// MaxConcurrent is how many artifacts are read and sent at a time: 16. Each
	// takes the memory of its file, 64 MiB at most.
	MaxConcurrent int
	// MaxWait is how long a request waits for its turn: 2 s. Then it is 503,
	// for the client is better off compiling.
	MaxWait time.Duration
	// WriteTimeout bounds sending an artifact: 60 s.
	WriteTimeout time.Duration
}

// EnsureDefaults fills in what is zero.
func (o *HandlerOptions) EnsureDefaults() {
	if o.MaxConcurrent == 0 {
		o.MaxConcurrent = 16
	}
	if o.MaxWait == 0 {
		o.MaxWait = 2 * time.Second
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = time.Minute
	}
}

// Validate returns everything that is wrong, as ErrInvalid.
func (o *HandlerOptions) Validate() error {
	all := []error{
		checkText("provenance", o.Metadata.Provenance),
		checkText("device", o.Metadata.Device),
	}
	if o.Metadata.Provenance == "" || o.Metadata.Device == "" {
		all = append(all, fmt.Errorf("remote: say what the artifacts were built from (provenance) and what they run on (device): %w", kvferry.ErrInvalid))
	}
	if o.MaxConcurrent < 0 || o.MaxWait < 0 || o.WriteTimeout < 0 {
		all = append(all, fmt.Errorf("remote: limits of %d answers, %v and %v: want more than 0: %w", o.MaxConcurrent, o.MaxWait, o.WriteTimeout, kvferry.ErrInvalid))
	}
	return errors.Join(all...)
}

// Handler serves the artifacts of a source. It is safe for concurrent use; who
// serves it under a path takes that off first, as http.StripPrefix does.
type Handler struct {
	source Source
	opt    HandlerOptions
	turns  chan struct{}
	count  struct{ served, missing, refused, failed, bytes atomic.Uint64 }
}

var _ http.Handler = (*Handler)(nil)

// NewHandler returns a handler of a source.
func NewHandler(source Source, o HandlerOptions) (*Handler, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Handler{source: source, opt: o, turns: make(chan struct{}, o.MaxConcurrent)}, nil
}

// Served counts what a handler did.
type Served struct {
	Artifacts uint64 // answers that were sent whole
	Bytes     uint64 // in them
	Missing   uint64 // 404: there is no such artifact, or it cannot be used
	Refused   uint64 // other requests than for an artifact, and those whose turn did not come
	Failed    uint64 // the source could not be read, or the client not be written to
}

// Served returns the counts since the handler was made.
func (h *Handler) Served() Served {
	c := &h.count
	return Served{
		Artifacts: c.served.Load(), Bytes: c.bytes.Load(), Missing: c.missing.Load(),
		Refused: c.refused.Load(), Failed: c.failed.Load(),
	}
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, code := parseRequest(r)
	if code != 0 {
		h.refuse(w, code)
		return
	}
	if !h.turn(r.Context()) {
		w.Header().Set("Retry-After", "1")
		h.refuse(w, http.StatusServiceUnavailable)
		return
	}
	defer func() { <-h.turns }()
	frame, err := h.source.Frame(r.Context(), f)
	switch {
	case err == nil:
		h.send(w, r, f, frame)
	case errors.Is(err, kvferry.ErrNotFound), errors.Is(err, kvferry.ErrCorrupt), errors.Is(err, kvferry.ErrUnsupported):
		h.count.missing.Add(1)
		say(w, http.StatusNotFound)
	default:
		h.count.failed.Add(1)
		say(w, http.StatusInternalServerError)
	}
}

// parseRequest returns the artifact that is asked for, or the status that says
// why there is none.
func parseRequest(r *http.Request) (f pipelinecache.Fingerprint, code int) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return f, http.StatusMethodNotAllowed
	}
	name, rooted := strings.CutPrefix(r.URL.Path, "/")
	hex, bin := strings.CutSuffix(name, ".bin")
	f, err := pipelinecache.ParseFingerprint(hex)
	if err != nil || !rooted || !bin {
		return f, http.StatusNotFound
	}
	if r.Header.Get("Range") != "" {
		return f, http.StatusRequestedRangeNotSatisfiable
	}
	if r.ContentLength != 0 { // the server would wait for it before it answers
		return f, http.StatusBadRequest
	}
	return f, 0
}

func (h *Handler) refuse(w http.ResponseWriter, code int) {
	h.count.refused.Add(1)
	switch code {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", "GET, HEAD")
	case http.StatusRequestedRangeNotSatisfiable:
		w.Header().Set("Accept-Ranges", "none")
	case http.StatusBadRequest:
		w.Header().Set("Connection", "close")
	}
	say(w, code)
}

// say answers with the words for a status, and nothing of why: that is for the
// log of who runs the server.
func say(w http.ResponseWriter, code int) { http.Error(w, http.StatusText(code), code) }

// turn waits until one more may be served.
func (h *Handler) turn(ctx context.Context) bool {
	select {
	case h.turns <- struct{}{}:
		return true
	default:
	}
	late := time.NewTimer(h.opt.MaxWait)
	defer late.Stop()
	select {
	case h.turns <- struct{}{}:
		return true
	case <-late.C:
	case <-ctx.Done():
	}
	return false
}

func (h *Handler) send(w http.ResponseWriter, r *http.Request, f pipelinecache.Fingerprint, frame []byte) {
	to := w.Header()
	to.Set(FingerprintHeader, f.String())
	to.Set(ProvenanceHeader, h.opt.Metadata.Provenance)
	to.Set(DeviceHeader, h.opt.Metadata.Device)
	to.Set("Content-Type", "application/octet-stream")
	to.Set("Content-Length", strconv.Itoa(len(frame)))
	to.Set("Cache-Control", "no-transform") // who compresses it makes it useless
	to.Set("Accept-Ranges", "none")
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return
	}
	// Where it cannot be set, the deadline is that of the server.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(h.opt.WriteTimeout))
	if _, err := w.Write(frame); err != nil {
		h.count.failed.Add(1)
		return
	}
	h.count.served.Add(1)
	h.count.bytes.Add(uint64(len(frame)))
}

package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/kvferry/kvferry"
)

// problem is an error with the status that it has.
type problem struct {
	status int
	kind   string
	text   string
	plain  bool // told as text, as the routes of the original do
}

func (p *problem) Error() string { return p.text }

func refusal(status int, kind, format string, args ...any) *problem {
	return &problem{status: status, kind: kind, text: fmt.Sprintf(format, args...)}
}

// outcomes are what the index's errors are to a client. The first that fits counts.
var outcomes = []struct {
	is     error
	status int
	kind   string
}{
	{context.DeadlineExceeded, http.StatusGatewayTimeout, "timeout"},
	{context.Canceled, http.StatusServiceUnavailable, "cancelled"},
	{kvferry.ErrClosed, http.StatusServiceUnavailable, "closed"},
	{kvferry.ErrCorrupt, http.StatusInternalServerError, "corrupt"},
	{kvferry.ErrUnknownOutcome, http.StatusBadGateway, "unknown-outcome"},
	{kvferry.ErrPoisoned, http.StatusServiceUnavailable, "poisoned"},
	{kvferry.ErrReadOnly, http.StatusServiceUnavailable, "read-only"},
	{kvferry.ErrNoSpace, http.StatusInsufficientStorage, "no-space"},
	{kvferry.ErrQuota, http.StatusInsufficientStorage, "quota"},
	{kvferry.ErrOutOfMemory, http.StatusInsufficientStorage, "out-of-memory"},
	{kvferry.ErrUnsupported, http.StatusNotImplemented, "unsupported"},
	{kvferry.ErrExpired, http.StatusGone, "expired"},
	{kvferry.ErrNotFound, http.StatusNotFound, "not-found"},
	{kvferry.ErrInvalid, http.StatusBadRequest, "invalid"},
}

// problemOf says what an error is to a client. What has no name is told without its
// text, which is for the log.
func (h *Handler) problemOf(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	for _, away := range h.opt.Unavailable {
		if errors.Is(err, away) {
			return refusal(http.StatusServiceUnavailable, "unavailable", "%v", err)
		}
	}
	for _, o := range outcomes {
		if errors.Is(err, o.is) {
			return &problem{status: o.status, kind: o.kind, text: err.Error()}
		}
	}
	return &problem{status: http.StatusInternalServerError, kind: "failed", text: "the index failed; its log says why"}
}

// document is an error as JSON.
type document struct {
	Error struct {
		Message string `json:"message"`
		Type    string `json:"type"`
	} `json:"error"`
}

func (p *problem) document() []byte {
	var d document
	d.Error.Message, d.Error.Type = p.text, p.kind
	b, err := json.Marshal(d)
	if err != nil { // strings always marshal
		panic(err)
	}
	return append(b, '\n')
}

// fail answers with an error.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := h.problemOf(err)
	if p.status >= http.StatusInternalServerError {
		h.opt.Log.Warn("request failed", "route", r.Pattern, "status", p.status, "error", err)
	}
	if p.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	if p.plain {
		http.Error(w, p.text, p.status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(p.status)
	_, _ = w.Write(p.document()) // a client that is gone knows
}

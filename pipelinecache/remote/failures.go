package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/kvferry/kvferry"
)

// StatusError is returned for an answer that is neither an artifact nor says
// that there is none.
type StatusError struct{ Code int }

// Error names the status.
func (e *StatusError) Error() string {
	return fmt.Sprintf("the server answers %d %s", e.Code, http.StatusText(e.Code))
}

// TransportError is returned when there is no whole answer: the server cannot
// be reached, does not speak HTTP, breaks off, or takes longer than the options
// allow.
type TransportError struct{ Err error }

// Error tells what happened.
func (e *TransportError) Error() string { return "no whole answer: " + e.Err.Error() }

// Unwrap returns what happened.
func (e *TransportError) Unwrap() error { return e.Err }

// transport names the reason why there is no whole answer: the caller's ctx if
// that ended.
func transport(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	return &TransportError{Err: err}
}

// Failures counts the misses that say something about the server or the way to
// it, rather than about an artifact: all but those that were not found, or
// cancelled.
type Failures struct {
	Status    uint64 // StatusError
	Transport uint64 // TransportError
	Headers   uint64 // HeaderError
	Frames    uint64 // damaged, or of a schema that is not known
}

// counters are those of the metrics.
type counters struct {
	hits, misses, flushErrors          atomic.Uint64
	status, transport, headers, frames atomic.Uint64
}

func (c *counters) note(err error) {
	if err == nil {
		c.hits.Add(1)
		return
	}
	c.misses.Add(1)
	var (
		status    *StatusError
		transport *TransportError
		header    *HeaderError
	)
	switch {
	case errors.As(err, &status):
		c.status.Add(1)
	case errors.As(err, &transport):
		c.transport.Add(1)
	case errors.As(err, &header):
		c.headers.Add(1)
	case errors.Is(err, kvferry.ErrCorrupt), errors.Is(err, kvferry.ErrUnsupported):
		c.frames.Add(1)
	}
}

// Failures returns how many of the misses were failures.
func (c *Client) Failures() Failures {
	return Failures{
		Status: c.count.status.Load(), Transport: c.count.transport.Load(),
		Headers: c.count.headers.Load(), Frames: c.count.frames.Load(),
	}
}

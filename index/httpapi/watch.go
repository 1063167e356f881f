package httpapi

import (
	"context"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kvferry/kvferry/index"
)

// watch answers GET /v1/watch.
func (h *Handler) watch(w http.ResponseWriter, r *http.Request) error {
	p, err := parametersOf(r, "after")
	if err != nil {
		return err
	}
	only, err := p.maybeScope()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(h.closing, func() { cancel(errStopped) })()
	_ = h.x.Watch(ctx, 0) // from here on changes are kept
	after, err := h.after(r, p)
	if err != nil {
		return err
	}
	events := strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	kind := "application/x-ndjson"
	if events {
		kind = "text/event-stream"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep changes back
	out := &moving{w, http.NewResponseController(w), h.opt.StallTimeout}
	w.WriteHeader(http.StatusOK)
	if err := out.c.Flush(); err != nil {
		return err
	}
	return h.stream(ctx, func() { cancel(nil) }, out, h.x.Watch(ctx, after), only, events)
}

// after returns the number of the change behind which a watch begins. One that
// there has not been yet is of another life of the index.
func (h *Handler) after(r *http.Request, p parameters) (uint64, error) {
	m, err := h.x.Metrics(r.Context())
	if err != nil {
		return 0, err
	}
	after := m.Seq
	if p["after"] != nil {
		if after, err = p.number("after", 64); err != nil {
			return 0, err
		}
	}
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		if after, err = strconv.ParseUint(id, 10, 64); err != nil {
			return 0, refusal(http.StatusBadRequest, "invalid", "Last-Event-ID %.100q is no number of a change", id)
		}
	}
	if after > m.Seq {
		return 0, refusal(http.StatusGone, "expired", "there is no change %d yet, the newest is %d: the index began anew; read /v1/state and go on from its seq", after, m.Seq)
	}
	return after, nil
}

// stream sends changes until somebody ends it. What the index has to say goes
// through a channel, so that a heartbeat can come in between.
func (h *Handler) stream(ctx context.Context, stop func(), out *moving, changes iter.Seq2[*index.Change, error], only *index.Scope, events bool) error {
	lines := make(chan []byte)
	go func() { // it is joined by reading until it closes lines
		defer close(lines)
		for c, err := range changes {
			line := h.line(c, err, only, events)
			if ctx.Err() != nil || line == nil {
				continue
			}
			select {
			case lines <- line:
			case <-ctx.Done():
			}
		}
	}()
	err := h.send(ctx, out, lines, events)
	stop()
	for range lines { // until the watch has ended
	}
	return err
}

func (h *Handler) send(ctx context.Context, out *moving, lines <-chan []byte, events bool) error {
	beat := time.NewTicker(h.opt.Heartbeat)
	defer beat.Stop()
	for {
		var line []byte
		select {
		case next, more := <-lines:
			if !more {
				return nil
			}
			line = next
		case <-beat.C:
			if line = []byte("\n"); events {
				line = []byte(":\n\n")
			}
		case <-ctx.Done():
			return nil
		}
		if _, err := out.Write(line); err != nil {
			return err
		}
		if err := out.c.Flush(); err != nil {
			return err
		}
	}
}

// line returns what is sent of a change or of an error; nil: nothing.
func (h *Handler) line(c *index.Change, err error, only *index.Scope, events bool) []byte {
	if err != nil {
		b := h.problemOf(err).document()
		if events {
			return append(append([]byte("event: error\ndata: "), b...), '\n')
		}
		return b
	}
	if only != nil {
		if c = within(c, only, h.x.Info().Rules); c == nil {
			return nil
		}
	}
	if !events {
		return append(AppendChange(nil, c), '\n')
	}
	b := strconv.AppendUint([]byte("id: "), c.Seq, 10)
	b = append(b, "\nevent: "...)
	b = append(b, c.Kind.String()...)
	b = append(b, "\ndata: "...)
	return append(AppendChange(b, c), "\n\n"...)
}

// within returns what of a change concerns a scope, for which there may be two names
// by the rules; nil if nothing does.
func within(c *index.Change, s *index.Scope, rules index.Rules) *index.Change {
	if c.Kind != index.DidPut && c.Kind != index.DidRemove && len(c.Records) == 0 {
		return c
	}
	scope := rules.Scope(*s)
	out := *c
	out.Records, out.Removals = nil, nil
	for i := range c.Records {
		if rules.Scope(c.Records[i].Scope) == scope {
			out.Records = append(out.Records, c.Records[i])
		}
	}
	for i := range c.Removals {
		v := c.Removals[i]
		if v.AnyAdapter {
			v.Adapter = s.Adapter
		}
		if rules.Scope(v.Scope) == scope {
			v.AnyAdapter = false
			out.Removals = append(out.Removals, v)
		}
	}
	if len(out.Records)+len(out.Removals) == 0 && c.Kind != index.DidAnnounce {
		return nil
	}
	return &out
}

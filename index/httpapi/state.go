package httpapi

import (
	"bufio"
	"net/http"
	"strconv"
	"time"

	"github.com/kvferry/kvferry/index"
)

// state answers GET /v1/state. The records come last and are sent as they are
// read: an index of any size is told without being held.
func (h *Handler) state(w http.ResponseWriter, r *http.Request) error {
	p, err := parametersOf(r, "residency")
	if err != nil {
		return err
	}
	only, err := p.maybeScope()
	if err != nil {
		return err
	}
	records, err := p.flag("residency", true)
	if err != nil {
		return err
	}
	m, err := h.x.Metrics(r.Context())
	if err != nil {
		return err
	}
	workers, err := h.x.Workers(r.Context())
	if err != nil {
		return err
	}
	head, err := h.appendHead(nil, &m, workers)
	if err != nil {
		return err
	}
	if !records {
		return reply(w, append(head, "}\n"...))
	}
	w.Header().Set("Content-Type", "application/json")
	out := bufio.NewWriterSize(&moving{w, http.NewResponseController(w), h.opt.StallTimeout}, 1<<16)
	if _, err := out.Write(append(head, `,"residency":[`...)); err != nil {
		return err
	}
	rules := h.x.Info().Rules // by which there may be two names for one scope
	var n uint64
	var line []byte
	seq, err := h.x.Snapshot(r.Context(), func(v *index.Record) error {
		if only != nil && rules.Scope(v.Scope) != rules.Scope(*only) {
			return nil
		}
		line = line[:0]
		if n++; n > 1 {
			line = append(line, ',')
		}
		line = v.AppendJSON(line)
		_, err := out.Write(line)
		return err
	})
	if err != nil {
		return err
	}
	line = append(line[:0], `],"resident_blocks":`...)
	line = strconv.AppendUint(line, n, 10)
	line = append(line, `,"seq":`...)
	line = strconv.AppendUint(line, seq, 10)
	if _, err := out.Write(append(line, "}\n"...)); err != nil {
		return err
	}
	return out.Flush()
}

// appendHead appends a state up to its records.
func (h *Handler) appendHead(b []byte, m *index.Metrics, workers []index.Worker) ([]byte, error) {
	b, err := h.appendEngines(append(b, `{"engines":`...))
	if err != nil {
		return b, err
	}
	b = append(b, `,"index":`...)
	b = appendMetrics(b, m)
	b = append(b, `,"index_backend":"`...)
	b = append(b, h.x.Info().Name...)
	b = append(b, `",`...)
	b = appendInfo(b, h.x.Info(), m)
	b = append(b, `,"workers":`...)
	return appendWorkers(b, workers), nil
}

// moving gives each write its time, so that a stream may last but not stall.
type moving struct {
	w     http.ResponseWriter
	c     *http.ResponseController
	stall time.Duration
}

// Write implements io.Writer.
func (m *moving) Write(p []byte) (int, error) {
	// Where it cannot be set, the deadline is that of the server.
	_ = m.c.SetWriteDeadline(time.Now().Add(m.stall))
	return m.w.Write(p)
}

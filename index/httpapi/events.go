package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index/events"
)

// gatewayError is the type of the error document of an unknown engine, as the
// original's gateway names it.
const gatewayError = "quillcache_gateway_error"

// Ingest takes a batch of one engine's events into an index. An engine that is not
// known is ErrNotFound, and nothing was changed then.
type Ingest func(ctx context.Context, b *events.Batch) (events.Summary, error)

// events answers POST /v1/kv-events.
func (h *Handler) events(w http.ResponseWriter, r *http.Request) error {
	if h.opt.Ingest == nil {
		return refusal(http.StatusNotImplemented, "unsupported", "this server takes no events over HTTP")
	}
	doc, err := body(r, h.opt.MaxBatchBytes)
	if err != nil {
		return plain(err)
	}
	b, err := events.ParseJSON(doc)
	if err != nil {
		return plain(refuseDocument(doc, err))
	}
	sum, err := h.opt.Ingest(r.Context(), b)
	if errors.Is(err, kvferry.ErrNotFound) {
		return refusal(http.StatusBadGateway, gatewayError, "unknown engine: %s", b.EngineID)
	}
	if err != nil {
		return err
	}
	out, err := json.Marshal(sum)
	if err != nil {
		return err
	}
	return reply(w, append(out, '\n'))
}

// plain tells a refusal as text.
func plain(err error) error {
	var p *problem
	if errors.As(err, &p) {
		p.plain = true
	}
	return err
}

// appendEngines appends the engines that batches may come from.
func (h *Handler) appendEngines(b []byte) ([]byte, error) {
	engines := h.opt.Engines
	if engines == nil {
		engines = []events.Endpoint{}
	}
	doc, err := json.Marshal(engines)
	return append(b, doc...), err
}

package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index/events"
	"github.com/kvferry/kvferry/index/httpapi"
)

func TestEventsAsTheOriginal(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, httpapi.Options{})
	code, out := s.post("/v1/kv-events", `{"engine_id":"vllm-a","ts_ms":42,"events":[
		{"type":"block_stored","block_hashes":["h0","h1"],"parent_block_hash":null,"block_size":16,"medium":"GPU","lora_name":"ad1"},
		{"type":"block_stored","block_hashes":["h2"],"parent_block_hash":"h1","block_size":16,"medium":"GPU","lora_name":"ad1"}]}`)
	require.Equal(t, http.StatusOK, code, out)
	require.JSONEq(t, `{"stored_blocks":3,"removed_blocks":0,"cleared":false,"total_resident_blocks":3}`, out)
	code, out = s.post("/v1/kv-events", `{"engine_id":"vllm-a","adapter_id":"ad1","events":[{"type":"block_removed","block_hashes":["h0"]}]}`)
	require.Equal(t, http.StatusOK, code, out)
	require.JSONEq(t, `{"stored_blocks":0,"removed_blocks":1,"cleared":false,"total_resident_blocks":2}`, out)

	code, out = s.post("/v1/kv-events", `{"engine_id":"nobody","events":[]}`)
	require.Equal(t, http.StatusBadGateway, code)
	require.JSONEq(t, `{"error":{"message":"unknown engine: nobody","type":"quillcache_gateway_error"}}`, out)
}

func TestEventsRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, httpapi.Options{MaxBatchBytes: 100})
	for doc, want := range map[string]int{
		``:                                 http.StatusBadRequest,
		`{"engine_id":`:                    http.StatusBadRequest,
		`{"engine_id":"e","events":[]}}`:   http.StatusBadRequest,
		`{}`:                               http.StatusUnprocessableEntity,
		`{"Engine_Id":"e","events":[]}`:    http.StatusUnprocessableEntity,
		`{"engine_id":"e","events":["x"]}`: http.StatusUnprocessableEntity,
		`{"engine_id":"e","events":null}`:  http.StatusUnprocessableEntity,
		strings.Repeat(" ", 101):           http.StatusRequestEntityTooLarge,
	} {
		code, out, header := s.do(http.MethodPost, "/v1/kv-events", doc, "Content-Type", "application/json")
		require.Equal(t, want, code, "%s: %s", doc, out)
		require.Contains(t, header.Get("Content-Type"), "text/plain", doc)
	}
	code, out, header := s.do(http.MethodPost, "/v1/kv-events", `{"engine_id":"vllm-a","events":[]}`)
	require.Equal(t, http.StatusUnsupportedMediaType, code)
	require.Contains(t, header.Get("Content-Type"), "text/plain")
	require.Contains(t, out, "Content-Type: application/json")
}

func TestFailuresOfTheIndexAreTold(t *testing.T) {
	t.Parallel()
	var with error
	away := errors.New("away")
	s := serve(t, nil, httpapi.Options{
		Ingest: func(context.Context, *events.Batch) (events.Summary, error) { return events.Summary{}, with }, Unavailable: []error{away},
	})
	for _, tc := range []struct {
		err  error
		code int
		kind string
	}{
		{away, http.StatusServiceUnavailable, "unavailable"},
		{kvferry.ErrNoSpace, http.StatusInsufficientStorage, "no-space"},
		{kvferry.ErrPoisoned, http.StatusServiceUnavailable, "poisoned"},
		{kvferry.ErrClosed, http.StatusServiceUnavailable, "closed"},
		{kvferry.ErrUnknownOutcome, http.StatusBadGateway, "unknown-outcome"},
		{kvferry.ErrCorrupt, http.StatusInternalServerError, "corrupt"},
		{kvferry.ErrInvalid, http.StatusBadRequest, "invalid"},
		{context.DeadlineExceeded, http.StatusGatewayTimeout, "timeout"},
		{fmt.Errorf("secret"), http.StatusInternalServerError, "failed"},
	} {
		with = fmt.Errorf("test: %w", tc.err)
		code, out := s.post("/v1/kv-events", `{"engine_id":"e","events":[]}`)
		s.refused(tc.code, tc.kind, code, out)
		require.NotContains(t, out, "secret")
	}
	s = serve(t, nil, httpapi.Options{Ingest: func(context.Context, *events.Batch) (events.Summary, error) { return events.Summary{}, nil }})
	require.NoError(t, s.x.Close())
	for _, path := range []string{"/healthz", "/v1/state", "/v1/watch", "/v1/scan?model_id=&tokenizer_id=&tenant_id=&prefix_hash="} {
		code, out := s.get(path)
		s.refused(http.StatusServiceUnavailable, "closed", code, out)
	}
	code, out := s.get("/metrics")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, out, "kvferry_index_metrics_failed_total 1")
	require.NotContains(t, out, "kvferry_index_resident_blocks")
}

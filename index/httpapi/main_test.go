package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events"
	"github.com/kvferry/kvferry/index/httpapi"
	"github.com/kvferry/kvferry/index/indextest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a served index with a client of it.
type server struct {
	*testing.T

	x    index.Index
	base string
	beat func() string // reads a line of the last stream that was begun
}

var engines = []events.Endpoint{{
	ID: "vllm-a", Kind: "Vllm", Role: "Aggregated", BaseURL: "http://vllm-a", Model: "M", Tokenizer: "T", Tenant: "tenant-a", LocalityDomain: "d",
}}

// serve serves an index, the reference one if x is nil.
func serve(t *testing.T, x index.Index, o httpapi.Options) *server {
	t.Helper()
	if x == nil {
		x = indextest.NewModel(index.Options{})
	}
	if o.Ingest == nil {
		o.Engines = engines
		o.Ingest = func(ctx context.Context, b *events.Batch) (events.Summary, error) {
			return events.IngestAsOriginal(ctx, x, b, engines)
		}
	}
	h, err := httpapi.New(x, o)
	require.NoError(t, err)
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		h.Close()
		s.Close()
		require.NoError(t, x.Close())
	})
	return &server{T: t, x: x, base: s.URL}
}

// do sends a request and returns the status and the answer's body.
func (s *server) do(method, path, body string, header ...string) (int, string, http.Header) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), method, s.base+path, bytes.NewReader([]byte(body)))
	require.NoError(s, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(s, err)
	defer func() { require.NoError(s, w.Body.Close()) }()
	out, err := io.ReadAll(w.Body)
	require.NoError(s, err)
	return w.StatusCode, string(out), w.Header
}

func (s *server) get(path string) (int, string) {
	s.Helper()
	code, out, _ := s.do(http.MethodGet, path, "")
	return code, out
}

func (s *server) post(path, body string) (int, string) {
	s.Helper()
	code, out, _ := s.do(http.MethodPost, path, body, "Content-Type", "application/json")
	return code, out
}

// refused wants an error document of a type.
func (s *server) refused(wantCode int, wantType string, code int, out string) {
	s.Helper()
	require.Equal(s, wantCode, code, out)
	var d struct {
		Error struct{ Message, Type string }
	}
	require.NoError(s, json.Unmarshal([]byte(out), &d), out)
	require.Equal(s, wantType, d.Error.Type, out)
	require.NotEmpty(s, d.Error.Message)
}

// put puts a chain of blocks of a worker, "root" the first one's parent.
func (s *server) put(scope index.Scope, worker string, tier index.Tier, hashes ...string) {
	s.Helper()
	parent := index.Root
	var rs []index.Record
	for i, h := range hashes {
		rs = append(rs, index.Record{Key: index.Key{Scope: scope, Prefix: parent, Hash: h, Index: uint32(i), Tokens: 16}, Worker: worker, Tier: tier, Bytes: 4096})
		parent = h
	}
	require.NoError(s, s.x.Put(s.Context(), rs))
}

func scope(tenant string) index.Scope {
	return index.Scope{Model: "M", Tokenizer: "T", Tenant: tenant}
}

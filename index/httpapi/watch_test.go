package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/httpapi"
	"github.com/kvferry/kvferry/index/indextest"
)

// stream begins a watch and returns a function that reads its next line which is
// not empty; "" is the end.
func (s *server) stream(path string, header ...string) (next func() string, stop func()) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	require.NoError(s, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(s, err)
	require.Equal(s, http.StatusOK, w.StatusCode)
	in := bufio.NewReader(w.Body)
	s.beat = func() string {
		line, err := in.ReadString('\n')
		require.NoError(s, err)
		return strings.TrimSpace(line)
	}
	return func() string {
			for {
				line, err := in.ReadString('\n')
				if line = strings.TrimSpace(line); line != "" || err != nil {
					return line
				}
			}
		}, func() {
			cancel()
			_ = w.Body.Close() // it was cut off
		}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, httpapi.Options{Heartbeat: time.Millisecond})
	next, stop := s.stream("/v1/watch?after=0")
	defer stop()
	ctx := t.Context()
	s.put(scope("a"), "w0", index.HBM, "h0")
	require.Equal(t, `{"seq":1,"kind":"put","records":[{"key":{"model_id":"M","tokenizer_id":"T","adapter_id":null,"tenant_id":"a","prefix_hash":"root","block_hash":"h0","block_index":0,"token_count":16},"worker_id":"w0","tier":"Hbm","bytes":4096,"last_access_ms":0,"ref_count":0,"pinned":false}]}`, next())
	_, err := s.x.Remove(ctx, []index.Removal{
		{Scope: scope("a"), AnyAdapter: true, Worker: "w\xff", Hash: "h0", Tier: index.CPUDRAM, OneGroup: true, Group: 2},
		{Scope: index.Scope{Model: "M", Tokenizer: "T", Adapter: index.Named("x"), Tenant: "a"}, Worker: "w0", Hash: "h0"},
		{Scope: scope("a"), Worker: "w0", Hash: "h0"},
	})
	require.NoError(t, err)
	line := next()
	require.Contains(t, line, `{"seq":2,"kind":"remove","removals":[{"scope":{"model_id":"M","tokenizer_id":"T","adapter_id":null,"tenant_id":"a"},"any_adapter":true,"worker_id":"w`+"\ufffd"+`","block_hash":"h0","tier":"CpuDram","kv_group":2,"base64":{"worker_id":"d/8="}}`)
	require.Contains(t, line, `"adapter_id":"x"`)
	require.NoError(t, s.x.Announce(ctx, "w0", 9))
	require.Equal(t, `{"seq":3,"kind":"announce","worker_id":"w0","incarnation":9,"gone":false,"records":[]}`, next())
	s.put(scope("a"), "w0", index.LocalSSD, "h1")
	require.Contains(t, next(), `"seq":4`)
	_, err = s.x.Expire(ctx, 77)
	require.NoError(t, err)
	require.Equal(t, `{"seq":5,"kind":"expire","before_ms":77}`, next())
	s.put(scope("a"), "w0", index.LocalSSD, "h1")
	require.Contains(t, next(), `"seq":6`)
	_, err = s.x.ClearWorker(ctx, "w0")
	require.NoError(t, err)
	require.Equal(t, `{"seq":7,"kind":"clear_worker","worker_id":"w0"}`, next())
	s.put(scope("a"), "w0", index.LocalSSD, "h1")
	require.Contains(t, next(), `"seq":8`)
	require.NoError(t, s.x.Clear(ctx))
	require.Equal(t, `{"seq":9,"kind":"clear"}`, next())
}

func TestWatchOfOneScope(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, httpapi.Options{})
	next, stop := s.stream("/v1/watch?model_id=M&tokenizer_id=T&tenant_id=b")
	defer stop()
	other := index.Scope{Model: "M", Tokenizer: "T", Adapter: index.Named("x"), Tenant: "b"}
	s.put(scope("a"), "w0", index.HBM, "secret")
	s.put(other, "w0", index.HBM, "secret")
	require.NoError(t, s.x.Put(t.Context(), []index.Record{
		{Key: index.Key{Scope: scope("a"), Hash: "secret"}, Worker: "w0", Tier: index.HBM},
		{Key: index.Key{Scope: scope("b"), Hash: "ours"}, Worker: "w0", Tier: index.HBM},
	}))
	line := next()
	require.Contains(t, line, `"seq":3`)
	require.Contains(t, line, "ours")
	require.NotContains(t, line, "secret")
	_, err := s.x.Remove(t.Context(), []index.Removal{
		{Scope: scope("a"), Worker: "w0", Hash: "secret"}, {Scope: other, AnyAdapter: true, Worker: "w0", Hash: "ours"},
	})
	require.NoError(t, err)
	line = next()
	require.Contains(t, line, `"seq":4`)
	require.NotContains(t, line, "secret")
	require.Contains(t, line, `"adapter_id":null`)
	require.Contains(t, line, "ours")
	require.NoError(t, s.x.Clear(t.Context()))
	require.Contains(t, next(), `"kind":"clear"`)
}

func TestWatchAsEvents(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, httpapi.Options{})
	s.put(scope("a"), "w0", index.HBM, "h0")
	next, stop := s.stream("/v1/watch", "Accept", "text/event-stream", "Last-Event-ID", "1")
	defer stop()
	require.NoError(t, s.x.Clear(t.Context()))
	require.Equal(t, "id: 2", next())
	require.Equal(t, "event: clear", next())
	require.Equal(t, `data: {"seq":2,"kind":"clear"}`, next())
}

func TestWatchThatCannotGoOn(t *testing.T) {
	t.Parallel()
	x := indextest.NewModel(index.Options{History: 2})
	s := serve(t, x, httpapi.Options{})
	next, stop := s.stream("/v1/watch?after=0") // from now on changes are kept
	for range 9 {
		s.put(scope("a"), "w0", index.HBM, "h0")
		require.Contains(t, next(), "put")
	}
	stop()
	for _, accept := range []string{"", "text/event-stream"} {
		next, stop = s.stream("/v1/watch?after=0", "Accept", accept)
		line := next()
		if accept != "" {
			require.Equal(t, "event: error", line)
			_, line, _ = strings.Cut(next(), "data: ")
		}
		var d struct{ Error struct{ Type string } }
		require.NoError(t, json.Unmarshal([]byte(line), &d), line)
		require.Equal(t, "expired", d.Error.Type)
		require.Empty(t, next(), "it is over")
		stop()
	}
	code, out := s.get("/v1/watch?after=10")
	s.refused(http.StatusGone, "expired", code, out)
	for _, bad := range []string{"/v1/watch?after=x", "/v1/watch?before=1", "/v1/watch?tenant_id=a"} {
		code, out := s.get(bad)
		s.refused(http.StatusBadRequest, "invalid", code, out)
	}
	code, out, _ = s.do(http.MethodGet, "/v1/watch", "", "Last-Event-ID", "x")
	s.refused(http.StatusBadRequest, "invalid", code, out)
}

// TestScopesByTheRules: by the rules of Holt no adapter and one without a name are one
// scope, whichever of them a record has and a request names.
func TestScopesByTheRules(t *testing.T) {
	t.Parallel()
	for _, rules := range []index.Rules{index.AsHolt, index.Recommended} {
		s := serve(t, indextest.NewModel(index.Options{Rules: rules}), httpapi.Options{})
		next, stop := s.stream("/v1/watch?model_id=M&tokenizer_id=T&tenant_id=b&adapter_id=")
		none, empty := scope("b"), scope("b")
		empty.Adapter = index.Named("")
		s.put(none, "w0", index.HBM, "none")
		s.put(empty, "w0", index.HBM, "empty")
		_, err := s.x.Remove(t.Context(), []index.Removal{{Scope: none, Worker: "w0", Hash: "none"}, {Scope: empty, Worker: "w0", Hash: "empty"}})
		require.NoError(t, err)
		s.put(none, "w1", index.HBM, "none")
		one := rules == index.AsHolt
		line := next()
		if one {
			require.Contains(t, line, `"block_hash":"none"`)
			line = next()
		}
		require.Contains(t, line, `"block_hash":"empty"`)
		line = next()
		require.Contains(t, line, `"kind":"remove"`)
		require.Equal(t, one, strings.Contains(line, `"none"`))
		stop()
		_, out := s.get("/v1/state?model_id=M&tokenizer_id=T&tenant_id=b&adapter_id=")
		require.Equal(t, one, strings.Contains(out, `"block_hash":"none"`))
	}
}

package httpapi_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/httpapi"
	"github.com/kvferry/kvferry/index/memory"
)

// BenchmarkMatch answers POST /v1/match, reading and writing documents included,
// the network left out.
func BenchmarkMatch(b *testing.B) {
	const blocks, workers = 2000, 64
	x, err := memory.New(memory.Options{})
	require.NoError(b, err)
	defer func() { require.NoError(b, x.Close()) }()
	doc := []byte(`{"scope":{"model_id":"M","tokenizer_id":"T","tenant_id":"a"},"hashes":[`)
	for w := range workers {
		parent := index.Root
		var rs []index.Record
		for i := range blocks {
			hash := fmt.Sprintf("%064x", uint64(i)*0x9e3779b97f4a7c15)
			rs = append(rs, index.Record{Key: index.Key{Scope: scope("a"), Prefix: parent, Hash: hash, Index: uint32(i)}, Worker: fmt.Sprint("w", w), Tier: index.HBM})
			parent = hash
			if w == 0 {
				doc = fmt.Appendf(doc, "%q,", hash)
			}
		}
		require.NoError(b, x.Put(b.Context(), rs))
	}
	doc = append(bytes.TrimSuffix(doc, []byte(",")), "]}"...)
	h, err := httpapi.New(x, httpapi.Options{})
	require.NoError(b, err)
	defer h.Close()
	b.ReportAllocs()
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/match", bytes.NewReader(doc))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK || !bytes.Contains(w.Body.Bytes(), []byte(`"blocks":2000,"tiers":{"hbm":2000}`)) {
			b.Fatal(w.Code, w.Body.String())
		}
	}
}

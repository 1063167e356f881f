package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/httpapi"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, httpapi.Options{})
	s.put(scope("a"), "w0", index.HBM, "h0", "h1", "h2")
	s.put(scope("a"), "w1", index.HBM, "h0")
	s.put(scope("a"), "w1", index.CPUDRAM, "h0", "h1")
	s.put(scope("b"), "w2", index.HBM, "h0", "h1", "h2", "h3")
	const sc = `"scope":{"model_id":"M","tokenizer_id":"T","adapter_id":null,"tenant_id":"a"}`

	code, out := s.post("/v1/match", `{`+sc+`,"hashes":["h0","h1","h2","h3"]}`)
	require.Equal(t, http.StatusOK, code, out)
	require.Equal(t, `{"blocks":4,"matches":[{"worker_id":"w0","blocks":3,"tiers":{"hbm":3}},{"worker_id":"w1","blocks":2,"tiers":{"cpu_dram":2,"hbm":1}}]}`+"\n", out)
	_, out = s.post("/v1/match", `{`+sc+`,"hashes":["h0","h1"],"workers":["w1"],"kv_group":0}`)
	require.Equal(t, `{"blocks":2,"matches":[{"worker_id":"w1","blocks":2,"tiers":{"cpu_dram":2,"hbm":1}}]}`+"\n", out)
	for _, nothing := range []string{
		`{` + sc + `,"hashes":["h9"]}`, `{` + sc + `,"hashes":["h0"],"workers":[]}`, `{` + sc + `,"hashes":["h0"],"kv_group":1}`,
		`{"scope":{"model_id":"M","tokenizer_id":"T","adapter_id":"","tenant_id":"a"},"hashes":["h0"]}`,
		`{"scope":{"model_id":"M","tokenizer_id":"T","tenant_id":"c"},"hashes":["h0"]}`,
	} {
		code, out = s.post("/v1/match", nothing)
		require.Equal(t, http.StatusOK, code, nothing)
		require.Contains(t, out, `"matches":[]`, nothing)
	}
}

// TestMatchOfTokens hashes a prompt as the engine did whose events are asked for.
func TestMatchOfTokens(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, httpapi.Options{})
	tokens := []uint32{1, 2, 3, 4, 5, 6, 70000, 8, 9}
	for _, p := range []httpapi.Prompt{
		{Algorithm: "sha256"}, {Algorithm: "sha256", HashForm: "bytes", Seed: "0"}, {Algorithm: "sha256_cbor", HashForm: "int"}, {Algorithm: "sglang"},
	} {
		p.Tokens, p.BlockSize = tokens, 4
		hashes, err := p.Hashes()
		require.NoError(t, err)
		require.Len(t, hashes, 2, "the last block is not full")
		s.put(scope("a"), "w-"+p.Algorithm+p.HashForm, index.HBM, hashes...)
		more := ""
		if p.HashForm != "" {
			more = `,"hash_form":"` + p.HashForm + `"`
		}
		if p.Seed != "" {
			more += `,"seed":"` + p.Seed + `"`
		}
		code, out := s.post("/v1/match", `{"scope":{"model_id":"M","tokenizer_id":"T","tenant_id":"a"},"token_ids":[1,2,3,4,5,6,70000,8,9],"block_size":4,"algorithm":"`+p.Algorithm+`"`+more+`}`)
		require.Equal(t, http.StatusOK, code, out)
		require.Equal(t, `{"blocks":2,"matches":[{"worker_id":"w-`+p.Algorithm+p.HashForm+`","blocks":2,"tiers":{"hbm":2}}]}`+"\n", out)
	}
	for _, bad := range []string{
		`"block_size":0,"algorithm":"sha256"`, `"block_size":4294967295,"algorithm":"sha256"`, `"block_size":4,"algorithm":"md5"`,
		`"block_size":4,"algorithm":"sha256","hash_form":"base64"`,
	} {
		code, out := s.post("/v1/match", `{"scope":{"model_id":"M","tokenizer_id":"T","tenant_id":"a"},"token_ids":[1,2,3,4],`+bad+`}`)
		s.refused(http.StatusBadRequest, "invalid", code, out)
	}
}

func TestMatchRefuses(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, httpapi.Options{MaxQueryBytes: 300})
	const sc = `"scope":{"model_id":"M","tokenizer_id":"T","tenant_id":"a"}`
	for doc, want := range map[string]int{
		``:                      http.StatusBadRequest,
		`{`:                     http.StatusBadRequest,
		`{} {}`:                 http.StatusBadRequest,
		"\ufeff{}":              http.StatusBadRequest,
		"{\"hashes\":\"\xff\"}": http.StatusBadRequest,
		`[]`:                    http.StatusUnprocessableEntity,
		`{}`:                    http.StatusUnprocessableEntity,
		`{` + sc + `}`:          http.StatusUnprocessableEntity,
		`{"hashes":["h"]}`:      http.StatusUnprocessableEntity,
		`{` + sc + `,"hashes":["h"],"Workers":[]}`:                                                     http.StatusUnprocessableEntity,
		`{` + sc + `,"hashes":["h"],"hashes":["h"]}`:                                                   http.StatusUnprocessableEntity,
		`{` + sc + `,"hashes":[1]}`:                                                                    http.StatusUnprocessableEntity,
		`{` + sc + `,"hashes":["h"],"kv_group":-1}`:                                                    http.StatusUnprocessableEntity,
		`{` + sc + `,"hashes":["h"],"token_ids":[1],"block_size":1,"algorithm":"sha256"}`:              http.StatusUnprocessableEntity,
		`{` + sc + `,"token_ids":[1],"block_size":1}`:                                                  http.StatusUnprocessableEntity,
		`{"scope":{"model_id":"M","tokenizer_id":"T"},"hashes":["h"]}`:                                 http.StatusUnprocessableEntity,
		`{"scope":{"model_id":"M","tokenizer_id":"T","tenant_id":null},"hashes":["h"]}`:                http.StatusUnprocessableEntity,
		`{"scope":{"model_id":"M","tokenizer_id":"T","tenant_id":"a","Tenant_id":"b"},"hashes":["h"]}`: http.StatusUnprocessableEntity,
		`{"scope":{"model_id":"M","tokenizer_id":"T","tenant_id":"a","tenant_id":"b"},"hashes":["h"]}`: http.StatusUnprocessableEntity,
		`{` + sc + `,"hashes":["` + strings.Repeat("h", 300) + `"]}`:                                   http.StatusRequestEntityTooLarge,
	} {
		code, out := s.post("/v1/match", doc)
		s.refused(want, "invalid", code, out)
	}
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "nonsense;;"} {
		code, out, _ := s.do(http.MethodPost, "/v1/match", `{`+sc+`,"hashes":["h"]}`, "Content-Type", kind)
		s.refused(http.StatusUnsupportedMediaType, "unsupported", code, out)
	}
	code, _, _ := s.do(http.MethodPost, "/v1/match", `{`+sc+`,"hashes":["h"]}`, "Content-Type", "application/json; charset=utf-8")
	require.Equal(t, http.StatusOK, code)
	code, _ = s.get("/v1/match")
	require.Equal(t, http.StatusMethodNotAllowed, code)
	code, _ = s.get("/v1/nothing")
	require.Equal(t, http.StatusNotFound, code)
}

// records reads an answer of locate or scan.
func records(t *testing.T, code int, out string) []index.Record {
	t.Helper()
	require.Equal(t, http.StatusOK, code, out)
	var d struct{ Records []json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(out), &d))
	rs := []index.Record{}
	for _, line := range d.Records {
		r, err := index.ParseRecord(line)
		require.NoError(t, err)
		rs = append(rs, r)
	}
	return rs
}

func TestLocateAndScan(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, httpapi.Options{})
	odd := index.Scope{Model: "m\x00\xff", Tokenizer: "", Adapter: index.Named(""), Tenant: "a&b=c"}
	s.put(odd, "w\xfe", index.LocalSSD, "h/0", "h1")
	s.put(index.Scope{Model: "m\x00\xff", Tenant: "a&b=c"}, "w1", index.LocalSSD, "h/0")
	named := url.Values{"model_id": {"m\x00\xff"}, "tokenizer_id": {""}, "adapter_id": {""}, "tenant_id": {"a&b=c"}}
	ask := func(path string, more ...string) (int, string) {
		q := url.Values{}
		for k, v := range named {
			q[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			q.Add(more[i], more[i+1])
		}
		return s.get(path + "?" + q.Encode())
	}
	code, out := ask("/v1/scan", "prefix_hash", "root")
	rs := records(t, code, out)
	require.Len(t, rs, 1)
	require.Equal(t, odd, rs[0].Scope)
	require.Equal(t, "w\xfe", rs[0].Worker)
	code, out = ask("/v1/locate", "prefix_hash", "h/0", "block_hash", "h1", "block_index", "1")
	require.Len(t, records(t, code, out), 1)
	code, out = ask("/v1/locate", "prefix_hash", "h/0", "block_hash", "h1", "block_index", "1", "kv_group", "1")
	require.Empty(t, records(t, code, out))
	delete(named, "adapter_id") // none is not the one without a name
	code, out = ask("/v1/scan", "prefix_hash", "root")
	require.Equal(t, "w1", records(t, code, out)[0].Worker)

	for _, bad := range [][]string{
		{"/v1/scan"},
		{"/v1/scan", "prefix_hash", "root", "prefix_hash", "root"},
		{"/v1/scan", "prefix_hash", "root", "tenant", "b"},
		{"/v1/scan", "prefix_hash", "root", "tenant_id", "b"},
		{"/v1/locate", "prefix_hash", "root", "block_hash", "h0"},
		{"/v1/locate", "prefix_hash", "root", "block_hash", "h0", "block_index", "-1"},
		{"/v1/locate", "prefix_hash", "root", "block_hash", "h0", "block_index", "4294967296"},
		{"/v1/locate", "prefix_hash", "root", "block_hash", "h0", "block_index", "0", "kv_group", "x"},
	} {
		code, out := ask(bad[0], bad[1:]...)
		s.refused(http.StatusBadRequest, "invalid", code, out)
	}
	for _, missing := range []string{"model_id", "tokenizer_id", "tenant_id"} {
		kept := named[missing]
		delete(named, missing)
		code, out := ask("/v1/scan", "prefix_hash", "root")
		s.refused(http.StatusBadRequest, "invalid", code, out)
		named[missing] = kept
	}
	code, out = s.get("/v1/scan?a;b=%zz")
	s.refused(http.StatusBadRequest, "invalid", code, out)
}

func TestState(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, httpapi.Options{})
	s.put(scope("a"), "w0", index.HBM, "h0", "h1")
	s.put(scope("b"), "w\xff1", index.HBM, "h0")
	require.NoError(t, s.x.Announce(t.Context(), "w0", 7))
	type state struct {
		Engines        []map[string]string
		Index          map[string]uint64
		IndexBackend   string            `json:"index_backend"`
		Residency      []json.RawMessage `json:"residency"`
		ResidentBlocks uint64            `json:"resident_blocks"`
		Seq            uint64
		Workers        []struct {
			Worker      string `json:"worker_id"`
			Incarnation uint64
			Stale       bool
			Blocks      uint64            `json:"resident_blocks"`
			Base64      map[string][]byte `json:"base64"`
		}
	}
	read := func(path string) (st state) {
		code, out := s.get(path)
		require.Equal(t, http.StatusOK, code, out)
		require.NoError(t, json.Unmarshal([]byte(out), &st), out)
		return st
	}
	st := read("/v1/state")
	require.Equal(t, "vllm-a", st.Engines[0]["id"])
	require.Equal(t, "tenant-a", st.Engines[0]["tenant_id"])
	require.EqualValues(t, 3, st.Index["resident_blocks"])
	require.EqualValues(t, 3, st.Index["puts"])
	require.Equal(t, s.x.Info().Name, st.IndexBackend)
	require.EqualValues(t, 3, st.ResidentBlocks)
	require.Len(t, st.Residency, 3)
	require.EqualValues(t, 3, st.Seq)
	require.Len(t, st.Workers, 2)
	require.EqualValues(t, 7, st.Workers[0].Incarnation)
	require.Equal(t, []byte("w\xff1"), st.Workers[1].Base64["worker_id"])

	st = read("/v1/state?model_id=M&tokenizer_id=T&tenant_id=b")
	require.Len(t, st.Residency, 1)
	require.Contains(t, string(st.Residency[0]), `"tenant_id":"b"`)
	code, out := s.get("/v1/state?tenant_id=b")
	s.refused(http.StatusBadRequest, "invalid", code, out)
}

package index_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// TestGoldenValues: records that the original wrote are read, and written again
// byte for byte.
func TestGoldenValues(t *testing.T) {
	t.Parallel()
	n := 0
	golden(t, "index-vectors-keys.jsonl.gz", func(v struct{ Value string }) {
		if !strings.HasPrefix(v.Value, "{") {
			return // the header, or an entry of the reverse index
		}
		r, err := index.ParseRecord([]byte(v.Value))
		require.NoError(t, err)
		require.Equal(t, v.Value, string(r.AppendJSON(nil)))
		n++
	})
	require.Greater(t, n, 1)
}

func full() index.Record {
	return index.Record{
		Key: index.Key{
			Scope:  index.Scope{Model: "m\x00\b\t\n\f\r\x1f\"\\/<>&\u2028\x7f", Tokenizer: "t", Adapter: index.Named(""), Tenant: "テナント"},
			Prefix: index.Root, Hash: "b0", Index: math.MaxUint32, Tokens: 64, Group: 7,
		},
		Worker: "w0", Tier: index.ObjectStore, Bytes: math.MaxUint64, LastAccess: 1<<53 + 1, Refs: 9, Pinned: true,
	}
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	r := full()
	const scope = `"model_id":"m\u0000\b\t\n\f\r\u001f\"\\/<>&` + "\u2028\x7f" + `","tokenizer_id":"t","adapter_id":"","tenant_id":"テナント"`
	const key = `{` + scope + `,"prefix_hash":"root","block_hash":"b0","block_index":4294967295,"token_count":64,"kv_group":7}`
	require.Equal(t, `x{`+scope+`}`, string(r.Scope.AppendJSON([]byte("x"))))
	require.Equal(t, key, string(r.Key.AppendJSON(nil)))
	require.Equal(t, `{"key":`+key+`,"worker_id":"w0","tier":"ObjectStore","bytes":18446744073709551615,"last_access_ms":9007199254740993,"ref_count":9,"pinned":true}`,
		string(r.AppendJSON(nil)))
	requireRead(t, r)
}

// requireRead requires that a record's documents read back.
func requireRead(t *testing.T, r index.Record) {
	t.Helper()
	data := r.AppendJSON(nil)
	require.True(t, json.Valid(data), "%q", data)
	got, err := index.ParseRecord(data)
	require.NoError(t, err, "%q", data)
	require.Equal(t, r, got)
	key, err := index.ParseKey(r.Key.AppendJSON(nil))
	require.NoError(t, err)
	require.Equal(t, r.Key, key)
	scope, err := index.ParseScope(r.Scope.AppendJSON(nil))
	require.NoError(t, err)
	require.Equal(t, r.Scope, scope)
}

func TestTextThatIsNotUTF8(t *testing.T) {
	t.Parallel()
	r := full()
	r.Model, r.Adapter, r.Hash, r.Worker = "\xff\xfem", index.Named("a\xed\xa0\x80"), "\xff", "w\xff"
	requireRead(t, r)
	require.Equal(t, `{"model_id":"`+"\ufffd"+`m","tokenizer_id":"t","adapter_id":"a`+"\ufffd"+`","tenant_id":"テナント","base64":{"model_id":"//5t","adapter_id":"Ye2ggA=="}}`,
		string(r.Scope.AppendJSON(nil)))
	for _, bad := range []string{
		`{"model_id":"x","tokenizer_id":"","tenant_id":"","base64":{"model_id":"/w=="}}`,                // not what the text stands for
		`{"model_id":"` + "\ufffd" + `","tokenizer_id":"","tenant_id":"","base64":{"model_id":"/w"}}`,   // no padding
		`{"model_id":"` + "\ufffd" + `","tokenizer_id":"","tenant_id":"","base64":{"model_id":"/x=="}}`, // bits behind the end
		`{"model_id":"","tokenizer_id":"","tenant_id":"","base64":{"adapter_id":""}}`,
		`{"model_id":"","tokenizer_id":"","adapter_id":null,"tenant_id":"","base64":{"adapter_id":""}}`,
		`{"model_id":"","tokenizer_id":"","tenant_id":"","base64":{"worker_id":""}}`,
		`{"model_id":"","tokenizer_id":"","tenant_id":"","base64":{"other":""}}`,
		`{"model_id":"","tokenizer_id":"","tenant_id":"","base64":{"model_id":"","model_id":""}}`,
		`{"model_id":"","tokenizer_id":"","tenant_id":"","base64":null}`,
	} {
		_, err := index.ParseScope([]byte(bad))
		require.ErrorIs(t, err, kvferry.ErrCorrupt, bad)
	}
}

func TestReading(t *testing.T) {
	t.Parallel()
	const good = ` { "tier" : "Hbm", "unknown":[{"a":1}], "unknown":2, "key":{"prefix_hash":"p","extra":{},"model_id":"m","tokenizer_id":"t",` +
		`"tenant_id":"x","block_hash":"b","token_count":0,"block_index":1},"worker_id":"w","bytes":2,"last_access_ms":3,"ref_count":4,"pinned":false}` + "\n"
	r, err := index.ParseRecord([]byte(good))
	require.NoError(t, err)
	require.Equal(t, index.Record{
		Key:    index.Key{Scope: index.Scope{Model: "m", Tokenizer: "t", Tenant: "x"}, Prefix: "p", Hash: "b", Index: 1},
		Worker: "w", Tier: index.HBM, Bytes: 2, LastAccess: 3, Refs: 4,
	}, r)
	for _, change := range [][2]string{
		{`"Hbm"`, `"hbm"`},
		{`"Hbm"`, `null`},
		{`"Hbm"`, `{}`},
		{`"Hbm"`, `{"Hbm":1}`},
		{`"Hbm"`, `{"Hbm":null,"Hbm":null}`},
		{`"bytes":2`, `"bytes":-2`},
		{`"bytes":2`, `"bytes":2.0`},
		{`"bytes":2`, `"bytes":18446744073709551616`},
		{`"bytes":2`, `"bytes":"2"`},
		{`"bytes":2,`, ``},
		{`"bytes":2`, `"Bytes":2`},
		{`"bytes":2`, `"bytes":2,"bytes":2`},
		{`"ref_count":4`, `"ref_count":4294967296`},
		{`"block_index":1`, `"block_index":4294967296`},
		{`"block_index":1`, `"block_index":1,"kv_group":-1`},
		{`"pinned":false`, `"pinned":0`},
		{`"pinned":false`, `"pinned":null`},
		{`"tenant_id":"x",`, ``},
		{`"tenant_id":"x"`, `"tenant_id":null`},
		{`"tenant_id":"x"`, `"tenant_id":"x","tenant_id":"x"`},
		{`"tenant_id":"x"`, `"tenant_id":"x","adapter_id":1`},
		{`"tenant_id":"x"`, `"tenant_id":"x","adapter_id":nul`},
		{`"worker_id":"w"`, `"worker_id":"\ud800"`},
		{`"worker_id":"w"`, "\"worker_id\":\"\xff\""},
		{"}\n", "}x"},
		{"}\n", ""},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		require.NotEqual(t, good, bad)
		r, err := index.ParseRecord([]byte(bad))
		require.ErrorIs(t, err, kvferry.ErrCorrupt, bad)
		require.ErrorContains(t, err, "offset")
		require.Zero(t, r)
	}
}

// FuzzParseRecord: what is read is written and read again without a loss.
func FuzzParseRecord(f *testing.F) {
	r := full()
	f.Add(r.AppendJSON(nil))
	r.Worker, r.Hash = "\xff", "\xfe"
	f.Add(r.AppendJSON(nil))
	f.Add([]byte(`{"key":{},"base64":{"worker_id":"/w=="}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := index.ParseRecord(data)
		if err != nil {
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			return
		}
		requireRead(t, r)
	})
}

// FuzzText: every string survives in every field.
func FuzzText(f *testing.F) {
	f.Add("a\x00\"\\\u2028\xff", "", true)
	f.Fuzz(func(t *testing.T, a, b string, named bool) {
		r := full()
		r.Model, r.Tokenizer, r.Tenant, r.Prefix, r.Hash, r.Worker = a, b, a+b, b+a, a, b
		r.Adapter = index.Adapter{}
		if named {
			r.Adapter = index.Named(a)
		}
		requireRead(t, r)
	})
}

func BenchmarkAppendJSON(b *testing.B) {
	r, dst := full(), make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = r.AppendJSON(dst[:0])
	}
}

func BenchmarkParseRecord(b *testing.B) {
	r := full()
	data := r.AppendJSON(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := index.ParseRecord(data); err != nil {
			b.Fatal(err)
		}
	}
}

package httpapi

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzQuestion reads documents of POST /v1/match: what is taken is JSON that names
// all of a scope, and either hashes or tokens.
func FuzzQuestion(f *testing.F) {
	for _, doc := range []string{
		`{"scope":{"model_id":"M","tokenizer_id":"T","adapter_id":null,"tenant_id":"x"},"hashes":["h0","h1"],"kv_group":3,"workers":["w0"]}`,
		`{"token_ids":[1,2,4294967295],"block_size":16,"algorithm":"sha256","hash_form":"bytes","seed":"0","scope":{"tenant_id":"","tokenizer_id":"","model_id":"","adapter_id":""}}`,
		`{"scope":{"model_id":"M","tokenizer_id":"T"},"hashes":[]}`, `{"scope":{},"scope":{}}`, `[]`, `{"hashes":[1e1]} `,
	} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		q, err := parseQuestion(doc)
		if err != nil {
			return
		}
		require.True(t, json.Valid(doc) && utf8.Valid(doc))
		var d struct {
			Scope struct {
				Model     *string `json:"model_id"`
				Tokenizer *string `json:"tokenizer_id"`
				Adapter   *string `json:"adapter_id"`
				Tenant    *string `json:"tenant_id"`
			} `json:"scope"`
			Hashes  []string `json:"hashes"`
			Tokens  []uint32 `json:"token_ids"`
			Workers []string `json:"workers"`
			Group   uint32   `json:"kv_group"`
		}
		require.NoError(t, json.Unmarshal(doc, &d))
		require.Equal(t, *d.Scope.Model, q.Scope.Model)
		require.Equal(t, *d.Scope.Tokenizer, q.Scope.Tokenizer)
		require.Equal(t, *d.Scope.Tenant, q.Scope.Tenant)
		name, named := q.Scope.Adapter.Name()
		require.Equal(t, d.Scope.Adapter != nil, named)
		if named {
			require.Equal(t, *d.Scope.Adapter, name)
		}
		require.Equal(t, d.Hashes, q.Hashes)
		require.Equal(t, d.Tokens, q.prompt.Tokens)
		require.Equal(t, d.Workers, q.Workers)
		require.Equal(t, d.Group, q.Group)
	})
}

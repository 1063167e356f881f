package events_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index/events"
)

// The original read or refused each of these documents, and this is what it read.
func TestParseJSONVectors(t *testing.T) {
	t.Parallel()
	accepted, refused := 0, 0
	for _, line := range lines(t, "index-vectors-events.jsonl.gz") {
		var v struct {
			In    string          `json:"in"`
			OK    bool            `json:"ok"`
			Batch json.RawMessage `json:"batch"`
		}
		require.NoError(t, json.Unmarshal(line, &v))
		b, err := events.ParseJSON([]byte(v.In))
		if !v.OK {
			refused++
			require.ErrorIs(t, err, kvferry.ErrCorrupt, v.In)
			continue
		}
		accepted++
		require.NoError(t, err, v.In)
		require.JSONEq(t, string(v.Batch), batchJSON(t, b), v.In)
	}
	require.Greater(t, accepted, 20)
	require.Greater(t, refused, 30)
}

// batchJSON writes a batch with every key that the original writes.
func batchJSON(t testing.TB, b *events.Batch) string {
	es := []map[string]any{}
	for i := range b.Events {
		e := &b.Events[i]
		m := map[string]any{"type": e.Kind.String()}
		if e.Kind != events.Cleared {
			m["block_hashes"], m["medium"], m["group_idx"] = e.Hashes, e.Medium, e.Group
		}
		if e.Kind == events.Stored {
			m["parent_block_hash"], m["token_ids"], m["block_size"] = e.Parent, e.TokenIDs, e.BlockSize
			m["lora_name"], m["bytes_per_block"] = e.LoRA, e.BytesPerBlock
		}
		es = append(es, m)
	}
	out, err := json.Marshal(map[string]any{
		"engine_id": b.EngineID, "ts_ms": b.Millis, "model_id": b.Model, "tokenizer_id": b.Tokenizer,
		"adapter_id": b.Adapter, "tenant_id": b.Tenant, "bytes_per_block": b.BytesPerBlock, "events": es,
	})
	require.NoError(t, err)
	return string(out)
}

func TestParseJSONRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		`["e",1,null,null,null,null,null,[],0]`,
		`["e",1,null,null,null,null,null]`,
		`{"engine_id":"e","events":[["all_blocks_cleared",1]]}`,
		`{"engine_id":"e","events":[[]]}`,
		`{"engine_id":"e","events":[],"x":` + strings.Repeat("[", 1000),
		"{\"engine_id\":\"\xff\",\"events\":[]}",
		`{"engine_id":"e","events":[],"ts_ms":184467440737095516150}`,
		`{"engine_id":"e","events":[],"ts_ms":99999999999999999999}`,
		`{"engine_id":"e","events":[],"ts_ms":nul}`,
	} {
		_, err := events.ParseJSON([]byte(in))
		require.ErrorIs(t, err, kvferry.ErrCorrupt, in)
	}
}

func FuzzParseJSON(f *testing.F) {
	for _, line := range lines(f, "index-vectors-events.jsonl.gz") {
		var v struct {
			In string `json:"in"`
		}
		require.NoError(f, json.Unmarshal(line, &v))
		f.Add([]byte(v.In))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := events.ParseJSON(data)
		if err != nil {
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			return
		}
		again, err := events.ParseJSON([]byte(batchJSON(t, b)))
		require.NoError(t, err)
		require.Equal(t, batchJSON(t, b), batchJSON(t, again))
	})
}

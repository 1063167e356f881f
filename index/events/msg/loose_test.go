package msg_test

import (
	"bufio"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index/events/msg"
)

type record struct{ payload, decoded []byte }

func recorded(t testing.TB, name string) []record {
	t.Helper()
	f, err := os.Open("../testdata/" + name + ".jsonl.gz")
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	var out []record
	s := bufio.NewScanner(z)
	s.Buffer(nil, 1<<22)
	for s.Scan() {
		var v struct {
			Hex     string          `json:"hex"`
			Decoded json.RawMessage `json:"decoded"`
		}
		require.NoError(t, json.Unmarshal(s.Bytes(), &v))
		p, err := hex.DecodeString(v.Hex)
		require.NoError(t, err)
		out = append(out, record{p, v.Decoded})
	}
	require.NoError(t, s.Err())
	return out
}

var fieldNames = map[string][]string{
	"BlockStored":  {"block_hashes", "parent_block_hash", "token_ids", "block_size", "lora_id", "medium", "lora_name", "", "group_idx", "", "", "locality"},
	"BlockRemoved": {"block_hashes", "medium", "group_idx", "locality"},
}

// lookLoose reads a batch with a msgpack library and no rules: the reference of
// the differential tests, right for batches that Decode takes.
func lookLoose(t testing.TB, payload []byte) seen {
	t.Helper()
	var v any
	require.NoError(t, msgpack.Unmarshal(payload, &v))
	s := seen{Rank: -1}
	var evs []any
	switch v := v.(type) {
	case []any:
		evs, _ = v[1].([]any)
		if len(v) > 2 && v[2] != nil {
			_, err := fmt.Sscan(fmt.Sprint(v[2]), &s.Rank)
			require.NoError(t, err)
		}
	case map[string]any:
		evs, _ = v["events"].([]any)
		if v["data_parallel_rank"] != nil {
			_, err := fmt.Sscan(fmt.Sprint(v["data_parallel_rank"]), &s.Rank)
			require.NoError(t, err)
		}
	}
	for _, e := range evs {
		if line := looseEvent(e); line != "" {
			s.Events = append(s.Events, line)
		} else {
			s.Unknown++
		}
	}
	return s
}

func looseEvent(e any) string {
	m, ok := e.(map[string]any)
	if a, isArray := e.([]any); isArray {
		m = map[string]any{"type": a[0]}
		tag, _ := a[0].(string)
		for i, name := range fieldNames[tag] {
			if i+1 < len(a) && name != "" {
				m[name] = a[i+1]
			}
		}
	} else if !ok {
		return ""
	}
	kind := map[any]int{"BlockStored": 1, "BlockRemoved": 2, "AllBlocksCleared": 3}[m["type"]]
	if kind == 0 {
		return ""
	}
	if kind == 3 {
		m = nil
	}
	medium := map[any]int{nil: 0, "GPU": 1, "CPU": 2, "CPU_PINNED": 2, "DISK": 3, "STORAGE": 4, "EXTERNAL": 5}
	place, known := medium[m["medium"]]
	if !known {
		place = 6
	}
	tokens, _ := m["token_ids"].([]any)
	line := fmt.Sprintf("%d m%d l%d g%v/%s size%s tokens%d", kind, place, map[any]int{"LOCAL": 1, "REMOTE": 2}[m["locality"]],
		m["group_idx"] != nil, number(m["group_idx"]), number(m["block_size"]), len(tokens))
	if p := m["parent_block_hash"]; p != nil {
		line += " parent=" + textOf(p)
	}
	if name, ok := m["lora_name"].(string); ok {
		line += " lora=" + name
	} else if m["lora_id"] != nil {
		line += " lora=" + textOf(m["lora_id"])
	}
	hashes, _ := m["block_hashes"].([]any)
	for _, h := range hashes {
		line += " " + textOf(h)
	}
	return line
}

func number(v any) string {
	if v == nil {
		return "0"
	}
	return fmt.Sprint(v)
}

func textOf(v any) string {
	if b, ok := v.([]byte); ok {
		return hex.EncodeToString(b)
	}
	return fmt.Sprint(v)
}

func fuzzDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, payload []byte) {
		var b msg.Batch
		if err := b.Decode(payload); err != nil {
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			require.Empty(t, b.Events)
			return
		}
		require.LessOrEqual(t, len(b.Events), len(payload))
		require.LessOrEqual(t, b.Blocks, len(payload))
		got := look(&b)
		if want, ok := tryLoose(t, payload); ok {
			require.Equal(t, want, got)
		}
	})
}

// tryLoose returns false for payloads that the library cannot read into plain
// values: maps with other keys than text, keys twice, extension types.
func tryLoose(t testing.TB, payload []byte) (seen, bool) {
	var v any
	if msgpack.Unmarshal(payload, &v) != nil {
		return seen{}, false
	}
	again, err := msgpack.Marshal(v)
	if err != nil || len(again) != len(payload) {
		return seen{}, false // not the library's spelling: keys may be there twice
	}
	return lookLoose(t, payload), true
}

func FuzzDecodeMaps(f *testing.F) {
	for _, name := range []string{"kvevents-int", "kvevents-bytes", "kvevents-selfdescribing"} {
		for _, r := range recorded(f, name) {
			f.Add(r.payload)
		}
	}
	fuzzDecode(f)
}

// The same batches, and SGLang's, in the positional form.
func FuzzDecodePositions(f *testing.F) {
	for _, name := range []string{"kvevents-int", "kvevents-bytes", "kvevents-selfdescribing"} {
		for _, r := range recorded(f, name) {
			f.Add(positional(f, r.payload))
		}
	}
	f.Add(pack(f, list{1.0, list{list{"BlockStored", list{-5, int64(-1) << 63}, -7, list{1}, 1, nil, "CPU_PINNED", dict{"cache_salt": "x"}}}, nil}))
	f.Add(pack(f, list{1.0, list{list{"BlockRemoved", list{-5}, "DISK"}, list{"AllBlocksCleared"}, list{"Odd"}}}))
	fuzzDecode(f)
}

// positional rewrites a batch of maps into the form of vLLM 0.26.
func positional(t testing.TB, payload []byte) []byte {
	var v []any
	require.NoError(t, msgpack.Unmarshal(payload, &v))
	es, ok := v[1].([]any)
	require.True(t, ok)
	for i := range es {
		m, ok := es[i].(map[string]any)
		require.True(t, ok)
		tag, ok := m["type"].(string)
		require.True(t, ok)
		row := []any{tag}
		for _, name := range fieldNames[tag] {
			row = append(row, m[name])
		}
		es[i] = row
	}
	return pack(t, v)
}

func TestDecodeRecordedAsPositions(t *testing.T) {
	t.Parallel()
	for _, r := range recorded(t, "kvevents-selfdescribing") {
		var a, b msg.Batch
		require.NoError(t, a.Decode(r.payload))
		require.NoError(t, b.Decode(positional(t, r.payload)))
		require.Equal(t, look(&a), look(&b))
	}
}

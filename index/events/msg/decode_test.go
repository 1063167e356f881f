package msg_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index/events/msg"
)

// seen is a batch as a test compares it.
type seen struct {
	Rank    int
	Unknown int
	Events  []string
}

func look(b *msg.Batch) seen {
	s := seen{Rank: b.Rank, Unknown: b.Unknown}
	for i := range b.Events {
		e := &b.Events[i]
		line := fmt.Sprintf("%d m%d l%d g%v/%d size%d tokens%d", e.Kind, e.Medium, e.Locality, e.HasGroup, e.Group, e.Size, e.Tokens)
		if p, ok := b.Parent(e); ok {
			line += " parent=" + p.String()
		}
		if l, ok := b.AppendLoRA(nil, e); ok {
			line += " lora=" + string(l)
		}
		for h := b.Hashes(e); e.Hashes > 0; e.Hashes-- {
			v := h.Next()
			line += " " + v.String()
		}
		s.Events = append(s.Events, line)
	}
	return s
}

func pack(t testing.TB, v any) []byte {
	t.Helper()
	out, err := msgpack.Marshal(v)
	require.NoError(t, err)
	return out
}

type (
	list = []any
	dict = map[string]any
)

func TestDecodeForms(t *testing.T) {
	t.Parallel()
	digest := make([]byte, 32)
	digest[0], digest[31] = 0xab, 0x01
	hexed := "ab" + fmt.Sprintf("%060x", 0) + "01"
	tests := []struct {
		name  string
		batch any
		want  seen
	}{
		{
			"vllm positional", list{1.5, list{
				list{"BlockStored", list{uint64(1) << 63, 7}, 5, list{1, 2, 300, 70000}, 2, nil, "GPU", "ad", nil, 3, "full", nil, "REMOTE"},
				list{"BlockRemoved", list{digest}, "CPU", 2, "LOCAL", nil},
				list{"AllBlocksCleared"},
			}, 4},
			seen{4, 0, []string{
				"1 m1 l2 gtrue/3 size2 tokens4 parent=5 lora=ad 9223372036854775808 7",
				"2 m2 l1 gtrue/2 size0 tokens0 " + hexed,
				"3 m0 l0 gfalse/0 size0 tokens0",
			}},
		},
		{
			"vllm short", list{1, list{list{"BlockStored", list{1}, nil, list{}, 16, 9}, list{"BlockRemoved", list{1}}}},
			seen{-1, 0, []string{"1 m0 l0 gfalse/0 size16 tokens0 lora=9 1", "2 m0 l0 gfalse/0 size0 tokens0 1"}},
		},
		{
			"maps, unknown keys and events", list{1.0, list{
				dict{"type": "BlockStored", "block_hashes": list{digest}, "parent_block_hash": digest, "lora_id": nil, "new": dict{"a": list{1, dict{}}}, "medium": "STORAGE", "token_ids": list{list{1, 2}, list{2, 3}}},
				dict{"type": "BlockMoved", "block_hashes": "what", "medium": 7},
				dict{"type": "AllBlocksCleared", "block_hashes": 7},
				list{"Odd", 1, 2},
			}, nil, "more"},
			seen{-1, 2, []string{"1 m4 l0 gfalse/0 size0 tokens2 parent=" + hexed + " " + hexed, "3 m0 l0 gfalse/0 size0 tokens0"}},
		},
		{
			"sglang salted", list{1.0, list{list{"BlockStored", list{-5, int64(-1) << 63}, -7, list{1}, 1, nil, "CPU_PINNED", dict{"cache_salt": "x"}}}, nil},
			seen{-1, 0, []string{"1 m2 l0 gfalse/0 size1 tokens1 parent=-7 -5 -9223372036854775808"}},
		},
		{
			"name beats number", list{1.0, list{list{"BlockStored", list{"h"}, nil, list{}, 1, 3, "tape", "n"}}},
			seen{-1, 0, []string{"1 m6 l0 gfalse/0 size1 tokens0 lora=n h"}},
		},
		{"batch as a map", dict{"ts": 1.0, "events": list{list{"AllBlocksCleared"}}, "data_parallel_rank": 1, "x": 1}, seen{1, 0, []string{"3 m0 l0 gfalse/0 size0 tokens0"}}},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var b msg.Batch
			payload := pack(t, c.batch)
			require.NoError(t, b.Decode(payload))
			require.Equal(t, c.want, look(&b))
			for n := range payload {
				require.ErrorIs(t, b.Decode(payload[:n]), kvferry.ErrCorrupt, "cut at %d", n)
				require.Empty(t, b.Events)
			}
			require.ErrorIs(t, b.Decode(append(payload, 0xc0)), kvferry.ErrCorrupt)
		})
	}
}

func TestDecodeKeyOrder(t *testing.T) {
	t.Parallel()
	var b msg.Batch
	// {"block_hashes": [1], "medium": "GPU", "type": "BlockRemoved"}, and as a map32
	body := "\xacblock_hashes\x91\x01\xa6medium\xa3GPU\xa4type\xacBlockRemoved"
	for _, head := range []string{"\x83", "\xde\x00\x03", "\xdf\x00\x00\x00\x03"} {
		require.NoError(t, b.Decode([]byte("\x92\x01\x91"+head+body)))
		require.Equal(t, []string{"2 m1 l0 gfalse/0 size0 tokens0 1"}, look(&b).Events)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	var b msg.Batch
	for _, v := range []any{
		nil, 1, list{}, list{1.0}, list{1.0, nil}, list{"x", list{}}, list{1.0, list{}, -1}, list{1.0, list{1}},
		list{1.0, list{list{}}}, list{1.0, list{list{nil}}}, list{1.0, list{dict{}}}, list{1.0, list{dict{"block_hashes": list{1}}}},
		list{1.0, list{list{"BlockStored"}}}, list{1.0, list{list{"BlockStored", nil}}}, list{1.0, list{list{"BlockStored", list{nil}}}},
		list{1.0, list{list{"BlockStored", list{1.5}}}}, list{1.0, list{list{"BlockStored", list{1}, list{}}}},
		list{1.0, list{list{"BlockStored", list{1}, nil, 7}}}, list{1.0, list{list{"BlockStored", list{1}, nil, nil, -1}}},
		list{1.0, list{list{"BlockStored", list{make([]byte, 257)}}}},
	} {
		require.ErrorIs(t, b.Decode(pack(t, v)), kvferry.ErrCorrupt, "%v", v)
	}
	for _, s := range []string{
		"", "\xc1", "\x92\x01\xdd\xff\xff\xff\xff", "\x92\x01\x91\x92\xabBlockStored\xdd\x7f\xff\xff\xff\x01",
		"\x93\x01\x90\xc0\xdf\xff\xff\xff\xff", "\x94\x01\x90\xc0\xdf\x80\x00\x00\x00\x00", "\x94\x01\x90\xc0\xc6\xff\xff\xff\xff", "\x94\x01\x90\xc0\xc1",
	} {
		require.ErrorIs(t, b.Decode([]byte(s)), kvferry.ErrCorrupt, "%q", s)
	}
}

// Batches that a real vLLM 0.33 published, beside what msgspec read of them.
func TestDecodeRecorded(t *testing.T) {
	t.Parallel()
	total := 0
	for _, name := range []string{"kvevents-int", "kvevents-bytes", "kvevents-selfdescribing"} {
		for _, r := range recorded(t, name) {
			var b msg.Batch
			require.NoError(t, b.Decode(r.payload))
			var want []any
			require.NoError(t, json.Unmarshal(r.decoded, &want))
			require.Equal(t, want[0], b.Seconds)
			es, ok := want[1].([]any)
			require.True(t, ok)
			require.Len(t, b.Events, len(es))
			require.Zero(t, b.Unknown)
			total += len(es)
			require.Equal(t, lookLoose(t, r.payload).Events, look(&b).Events)
		}
	}
	require.Greater(t, total, 60)
}

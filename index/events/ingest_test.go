package events_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events"
	"github.com/kvferry/kvferry/index/events/msg"
)

func ingest(t testing.TB, in *events.Ingester, payloads ...[]byte) {
	t.Helper()
	var b msg.Batch
	for _, p := range payloads {
		require.NoError(t, b.Decode(p))
		require.NoError(t, in.Ingest(t.Context(), &b))
		require.NoError(t, in.Flush(t.Context()))
	}
}

// brief is a record in few words.
func brief(r *index.Record) string {
	return fmt.Sprintf("%s %v %s<%s #%d g%d t%d %v", r.Worker, r.Tier, r.Hash, r.Prefix, r.Index, r.Group, r.Tokens, r.Adapter)
}

func briefs(t testing.TB, x index.Reader) []string {
	out := []string{}
	for _, r := range records(t, x) {
		out = append(out, brief(&r))
	}
	return out
}

func store(hashes list, parent any, more dict) dict {
	d := dict{"type": "BlockStored", "block_hashes": hashes, "parent_block_hash": parent, "token_ids": list{}, "block_size": 0, "medium": "GPU"}
	tokens := list{}
	for range hashes {
		tokens = append(tokens, 1, 2)
	}
	d["token_ids"], d["block_size"] = tokens, 2
	for k, v := range more {
		d[k] = v
	}
	return d
}

// offload is an event of a tier behind the GPU: neither tokens nor a parent.
func offload(medium string, hashes ...any) dict {
	return dict{"type": "BlockStored", "block_hashes": hashes, "parent_block_hash": nil, "token_ids": list{}, "block_size": 0, "medium": medium, "lora_name": nil}
}

func remove(medium any, more dict, hashes ...any) dict {
	d := dict{"type": "BlockRemoved", "block_hashes": hashes, "medium": medium}
	for k, v := range more {
		d[k] = v
	}
	return d
}

func TestIngest(t *testing.T) {
	t.Parallel()
	lora := dict{"lora_name": "ad"}
	tests := []struct {
		name   string
		events list
		want   []string
	}{
		{
			"positions go on behind the parent", list{store(list{1, 2}, nil, nil), store(list{3}, 2, nil)},
			[]string{"a hbm 2<1 #1 g0 t2 none", "a hbm 3<2 #2 g0 t2 none", "a hbm 1<root #0 g0 t2 none"},
		},
		{
			"unknown parent", list{store(list{3, 4}, 2, nil)},
			[]string{"a hbm 3<2 #0 g0 t2 none", "a hbm 4<3 #1 g0 t2 none"},
		},
		{
			"a parent that comes later moves what is stored again", list{store(list{3}, 2, nil), store(list{1, 2}, nil, nil), store(list{3}, 2, dict{"medium": "CPU"})},
			[]string{"a hbm 2<1 #1 g0 t2 none", "a cpu_dram 3<2 #2 g0 t2 none", "a hbm 3<2 #2 g0 t2 none", "a hbm 1<root #0 g0 t2 none"},
		},
		{"removal without an adapter", list{store(list{1}, nil, lora), remove("GPU", nil, 1)}, []string{}},
		{
			"removal of one tier", list{store(list{1}, nil, nil), offload("CPU", 1), remove("GPU", nil, 1)},
			[]string{"a cpu_dram 1<root #0 g0 t2 none"},
		},
		{"removal without a medium", list{store(list{1}, nil, nil), offload("CPU", 1), remove(nil, nil, 1)}, []string{}},
		{
			"removal of one group", list{store(list{1}, nil, dict{"group_idx": 0}), store(list{1}, nil, dict{"group_idx": 1}), remove("GPU", dict{"group_idx": 1}, 1)},
			[]string{"a hbm 1<root #0 g0 t2 none"},
		},
		{"removal of any group", list{store(list{1}, nil, dict{"group_idx": 0}), store(list{1}, nil, dict{"group_idx": 1}), remove("GPU", nil, 1)}, []string{}},
		{"unknown medium", list{store(list{1}, nil, dict{"medium": "TAPE"}), store(list{2}, nil, nil), remove("TAPE", nil, 2)}, []string{"a hbm 2<root #0 g0 t2 none"}},
		{
			"media", list{
				store(list{1}, nil, dict{"medium": nil}), offload("CPU_PINNED", 1), offload("DISK", 1), offload("EXTERNAL", 1),
				store(list{1}, nil, dict{"locality": "REMOTE"}), offload("STORAGE", 2),
			},
			[]string{
				"a local_ssd 2< #0 g0 t0 none", "a cpu_dram 1<root #0 g0 t2 none", "a hbm 1<root #0 g0 t2 none", "a local_ssd 1<root #0 g0 t2 none",
				"a object_store 1<root #0 g0 t2 none", "a remote_hbm 1<root #0 g0 t2 none",
			},
		},
		{
			"offload takes parent and adapter from what is known", list{store(list{1, 2}, nil, lora), offload("CPU", 2, 1), offload("STORAGE", 9)},
			[]string{
				"a local_ssd 9< #0 g0 t0 none", `a cpu_dram 2<1 #1 g0 t2 "ad"`, `a hbm 2<1 #1 g0 t2 "ad"`, `a cpu_dram 1<root #0 g0 t2 "ad"`, `a hbm 1<root #0 g0 t2 "ad"`,
			},
		},
		{
			"what is told later moves what was offloaded", list{offload("CPU", 2, 1), store(list{1, 2}, nil, lora)},
			[]string{`a cpu_dram 2<1 #1 g0 t2 "ad"`, `a hbm 2<1 #1 g0 t2 "ad"`, `a cpu_dram 1<root #0 g0 t2 "ad"`, `a hbm 1<root #0 g0 t2 "ad"`},
		},
		{
			"a parent that was evicted is still a parent", list{store(list{1, 2}, nil, nil), remove("GPU", nil, 1), offload("CPU", 2), store(list{3}, 2, nil)},
			[]string{"a cpu_dram 2<1 #1 g0 t2 none", "a hbm 2<1 #1 g0 t2 none", "a hbm 3<2 #2 g0 t2 none"},
		},
		{
			"sliding window", list{store(list{5, 7}, nil, dict{"token_ids": list{1, 2, 3, 4, 5, 6}})},
			[]string{"a hbm 5< #0 g0 t2 none", "a hbm 7< #1 g0 t2 none"},
		},
		{"removed and stored at once", list{store(list{1}, nil, nil), remove("GPU", nil, 1), store(list{1}, nil, nil), remove("GPU", nil, 1), store(list{1}, nil, nil)}, []string{"a hbm 1<root #0 g0 t2 none"}},
		{"stored and removed at once", list{store(list{1, 2}, nil, nil), remove("GPU", nil, 2, 1, 1)}, []string{}},
		{"cleared", list{store(list{1}, nil, nil), dict{"type": "AllBlocksCleared"}, store(list{3}, 1, nil)}, []string{"a hbm 3<1 #0 g0 t2 none"}},
		{
			"a block twice in one event", list{store(list{3, 4, 3}, 2, nil)},
			[]string{"a hbm 4<3 #1 g0 t2 none", "a hbm 3<4 #2 g0 t2 none"},
		},
		{
			"a block behind itself", list{store(list{3}, 3, nil), remove("GPU", nil, 3), store(list{3}, nil, nil), store(list{4}, 3, nil)},
			[]string{"a hbm 4<3 #1 g0 t2 none", "a hbm 3<root #0 g0 t2 none"},
		},
		{"number of an adapter", list{store(list{1}, nil, dict{"lora_id": 3})}, []string{`a hbm 1<root #0 g0 t2 "3"`}},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := model(t)
			ingest(t, events.NewIngester(x, engineA), pack(t, list{1.5, c.events, 0}))
			require.Equal(t, c.want, briefs(t, x))
			// The same in as many batches as events.
			y := model(t)
			in := events.NewIngester(y, engineA)
			for _, e := range c.events {
				ingest(t, in, pack(t, list{1.5, list{e}, 0}))
			}
			require.Equal(t, records(t, x), records(t, y))
		})
	}
}

func TestIngestRecordData(t *testing.T) {
	t.Parallel()
	x := model(t)
	ingest(t, events.NewIngester(x, engineA), pack(t, list{1.5, list{store(list{1}, nil, nil)}, 0}))
	require.Equal(t, []index.Record{{
		Key:    index.Key{Scope: index.Scope{Model: "m", Tokenizer: "t", Tenant: "x"}, Prefix: index.Root, Hash: "1", Tokens: 2},
		Worker: "a", Tier: index.HBM, Bytes: 100, LastAccess: 1500,
	}}, records(t, x))
}

func TestIngestRanks(t *testing.T) {
	t.Parallel()
	x := model(t)
	in := events.NewIngester(x, engineA)
	require.NoError(t, in.Announce(t.Context(), 5))
	for _, rank := range []any{0, 1, 2, nil} {
		ingest(t, in, pack(t, list{1.5, list{store(list{1}, nil, nil)}, rank}))
	}
	ingest(t, in, pack(t, list{1.5, list{dict{"type": "AllBlocksCleared"}}, 1}))
	require.Equal(t, []string{"a hbm 1<root #0 g0 t2 none", "a/dp2 hbm 1<root #0 g0 t2 none"}, briefs(t, x))
	ws, err := x.Workers(t.Context())
	require.NoError(t, err)
	require.Len(t, ws, 3)
	for _, w := range ws {
		require.Equal(t, uint64(5), w.Incarnation, w.Name)
	}
	require.NoError(t, in.Clear(t.Context()))
	require.Empty(t, briefs(t, x))
}

func TestIngestBounds(t *testing.T) {
	t.Parallel()
	x := model(t)
	small := engineA
	small.MaxBlocks = 4
	in := events.NewIngester(x, small)
	hashes := list{}
	for i := range 100 {
		hashes = append(hashes, i)
	}
	ingest(t, in, pack(t, list{1.5, list{store(hashes, nil, nil)}, 0}))
	require.Len(t, records(t, x), 100)
	m, err := x.Match(t.Context(), &index.Query{Scope: index.Scope{Model: "m", Tokenizer: "t", Tenant: "x"}, Hashes: []string{"0", "1", "2", "3", "4", "5", "6"}}, nil)
	require.NoError(t, err)
	require.Len(t, m, 1)
	require.Equal(t, 7, m[0].Blocks)
	ingest(t, in, pack(t, list{1.5, list{store(list{200}, nil, nil), remove("GPU", nil, 200), remove("GPU", nil, hashes...)}, 0}))
	require.Empty(t, records(t, x))
	var b msg.Batch
	require.NoError(t, b.Decode(pack(t, list{1.5, list{store(list{1}, nil, dict{"lora_name": string(make([]byte, 5000))})}, 0})))
	require.ErrorIs(t, in.Ingest(t.Context(), &b), kvferry.ErrCorrupt)
	for rank := range 4097 {
		require.NoError(t, b.Decode(pack(t, list{1.5, list{}, rank})))
		err = in.Ingest(t.Context(), &b)
	}
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
}

// What a worker holds in which tier is what a set makes of the same events, and
// all records of one block have one key.
func TestIngestRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 9))
		x := model(t)
		in := events.NewIngester(x, engineA)
		held := map[string]bool{}
		for range 60 {
			var es list
			for range 1 + r.IntN(8) {
				es = append(es, randomEvent(r, held))
			}
			ingest(t, in, pack(t, list{1.0, es, 0}))
			got, keys := map[string]bool{}, map[string]index.Key{}
			for _, rec := range records(t, x) {
				got[fmt.Sprint(rec.Hash, " ", rec.Tier, " ", rec.Group)] = true
				id := fmt.Sprint(rec.Hash, " ", rec.Group)
				if k, ok := keys[id]; ok {
					k.Tokens = rec.Tokens
					require.Equal(t, k, rec.Key, "seed %d", seed)
				}
				keys[id] = rec.Key
			}
			require.Equal(t, held, got, "seed %d", seed)
		}
	}
}

func randomEvent(r *rand.Rand, held map[string]bool) dict {
	tiers := map[string]index.Tier{"GPU": index.HBM, "CPU": index.CPUDRAM, "STORAGE": index.LocalSSD}
	medium := []string{"GPU", "GPU", "CPU", "STORAGE"}[r.IntN(4)]
	group := r.IntN(2)
	hashes, n := list{}, 1+r.IntN(4)
	first := r.IntN(12)
	for i := range n {
		hashes = append(hashes, first+i)
	}
	note := func(store bool) {
		for _, h := range hashes {
			k := fmt.Sprint(h, " ", tiers[medium], " ", group)
			if delete(held, k); store {
				held[k] = true
			}
		}
	}
	switch r.IntN(12) {
	case 0, 1, 2, 3:
		note(true)
		var parent any
		if first > 0 {
			parent = first - 1
		}
		return store(hashes, parent, dict{"medium": medium, "group_idx": group, "lora_name": []any{nil, "ad"}[r.IntN(2)]})
	case 4, 5, 6:
		note(true)
		d := offload(medium, hashes...)
		d["group_idx"] = group
		return d
	case 7:
		clear(held)
		return dict{"type": "AllBlocksCleared"}
	default:
		note(false)
		return remove(medium, dict{"group_idx": group}, hashes...)
	}
}

func TestIntake(t *testing.T) {
	t.Parallel()
	x := model(t)
	in := events.NewIntake(x, []events.Endpoint{{ID: "vllm-a", Model: "M", Tokenizer: "M", Tenant: "tenant-a"}})
	take := func(doc string) events.Summary {
		b, err := events.ParseJSON([]byte(doc))
		require.NoError(t, err)
		sum, err := in.Ingest(t.Context(), b)
		require.NoError(t, err)
		return sum
	}
	sum := take(`{"engine_id":"vllm-a","ts_ms":42,"events":[
		{"type":"block_stored","block_hashes":["h0","h1"],"parent_block_hash":null,"block_size":16,"medium":"GPU","lora_name":"ad1"},
		{"type":"block_stored","block_hashes":["h2"],"parent_block_hash":"h1","block_size":16,"medium":"gpu","lora_name":"ad1"},
		{"type":"block_stored","block_hashes":["h3"],"block_size":16,"medium":"tape"}]}`)
	require.Equal(t, events.Summary{StoredBlocks: 3, TotalResident: 3}, sum)
	require.Equal(t, []string{
		`vllm-a hbm h1<h0 #1 g0 t16 "ad1"`, `vllm-a hbm h2<h1 #2 g0 t16 "ad1"`, `vllm-a hbm h0<root #0 g0 t16 "ad1"`,
	}, briefs(t, x))
	require.Equal(t, events.Summary{RemovedBlocks: 1, TotalResident: 2}, take(`{"engine_id":"vllm-a","events":[{"type":"block_removed","block_hashes":["h0","h0"]}]}`))
	require.Equal(t, events.Summary{TotalResident: 2}, take(`{"engine_id":"vllm-a","adapter_id":"other","events":[{"type":"block_removed","block_hashes":["h1"]}]}`))
	require.Equal(t, events.Summary{Cleared: true}, take(`{"engine_id":"vllm-a","events":[{"type":"all_blocks_cleared"}]}`))
	_, err := in.Ingest(t.Context(), &events.Batch{EngineID: "nobody"})
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	long := string(make([]byte, index.MaxFieldBytes+1))
	_, err = in.Ingest(t.Context(), &events.Batch{EngineID: "vllm-a", Tenant: &long})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	many := events.Batch{EngineID: "vllm-a"}
	for g := range uint32(300) {
		many.Events = append(many.Events, events.Event{Kind: events.Stored, Hashes: []string{"h"}, BlockSize: 16, Group: &g})
	}
	_, err = in.Ingest(t.Context(), &many)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.NotErrorIs(t, err, kvferry.ErrCorrupt, "nothing is damaged")
	require.Equal(t, uint64(1), in.Stats().UnknownMediums)
}

// The contract's own example of what the original does.
func TestIngestAsOriginal(t *testing.T) {
	t.Parallel()
	x := model(t)
	engines := []events.Endpoint{{ID: "vllm-a", Model: "M", Tokenizer: "M", Tenant: "tenant-a"}}
	take := func(doc string) events.Summary {
		b, err := events.ParseJSON([]byte(doc))
		require.NoError(t, err)
		sum, err := events.IngestAsOriginal(t.Context(), x, b, engines)
		require.NoError(t, err)
		return sum
	}
	take(`{"engine_id":"vllm-a","ts_ms":42,"events":[
		{"type":"block_stored","block_hashes":["h0","h1"],"block_size":16,"medium":"GPU","lora_name":"ad1"},
		{"type":"block_stored","block_hashes":["h2"],"parent_block_hash":"h1","block_size":16,"lora_name":"ad1"}]}`)
	require.Equal(t, []string{
		`vllm-a hbm h1<h0 #1 g0 t16 "ad1"`, `vllm-a hbm h2<h1 #0 g0 t16 "ad1"`, `vllm-a hbm h0<root #0 g0 t16 "ad1"`,
	}, briefs(t, x))
	gone := `"events":[{"type":"block_removed","block_hashes":["h0"]}]}`
	require.Equal(t, events.Summary{TotalResident: 3}, take(`{"engine_id":"vllm-a",`+gone))
	require.Equal(t, events.Summary{RemovedBlocks: 1, TotalResident: 2}, take(`{"engine_id":"vllm-a","adapter_id":"ad1",`+gone))
	_, err := events.IngestAsOriginal(t.Context(), x, &events.Batch{EngineID: "nobody"}, engines)
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	require.ErrorContains(t, err, "unknown engine: nobody")
	out, err := json.Marshal(events.Summary{Cleared: true})
	require.NoError(t, err)
	require.Equal(t, `{"stored_blocks":0,"removed_blocks":0,"cleared":true,"total_resident_blocks":0}`, string(out))
}

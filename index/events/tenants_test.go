package events_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index/events"
)

// What an engine holds for one tenant says nothing of what it holds for another,
// though the hashes are the same.
func TestIntakeKeepsTenantsApart(t *testing.T) {
	t.Parallel()
	const (
		head = `{"engine_id":"a","tenant_id":`
		cpu  = `"events":[{"type":"block_stored","block_hashes":["x"],"parent_block_hash":"p","token_ids":[1],"block_size":1,"medium":"CPU"}]}`
		gpu  = `"events":[{"type":"block_stored","block_hashes":["x"],"parent_block_hash":null,"token_ids":[1],"block_size":1,"medium":"GPU"}]}`
		disk = `"events":[{"type":"block_stored","block_hashes":["x"],"parent_block_hash":null,"token_ids":[],"block_size":0,"medium":"DISK"}]}`
		gone = `"events":[{"type":"block_removed","block_hashes":["x"],"medium":"GPU"}]}`
		all  = `"events":[{"type":"all_blocks_cleared"}]}`
	)
	x := model(t)
	in := events.NewIntake(x, []events.Endpoint{{ID: "a", Model: "m", Tokenizer: "t", Tenant: "own"}})
	give := func(batch string) {
		t.Helper()
		b, err := events.ParseJSON([]byte(batch))
		require.NoError(t, err)
		_, err = in.Ingest(t.Context(), b)
		require.NoError(t, err)
	}
	have := func(want ...string) {
		t.Helper()
		out := []string{}
		for _, r := range records(t, x) {
			out = append(out, r.Tenant+": "+brief(&r))
		}
		require.ElementsMatch(t, want, out)
	}
	ofA := `A: a cpu_dram x<p #0 g0 t1 "secret"`
	give(head + `"A","adapter_id":"secret",` + cpu)
	have(ofA)
	give(head + `"B",` + disk)
	have(ofA, "B: a local_ssd x< #0 g0 t0 none")
	give(head + `"own",` + gpu)
	have(ofA, "B: a local_ssd x< #0 g0 t0 none", "own: a hbm x<root #0 g0 t1 none")
	give(head + `"B",` + gpu)
	have(ofA, "B: a hbm x<root #0 g0 t1 none", "B: a local_ssd x<root #0 g0 t1 none", "own: a hbm x<root #0 g0 t1 none")
	give(head + `"own",` + gone)
	give(head + `"B",` + gone)
	have(ofA, "B: a local_ssd x<root #0 g0 t1 none")
	give(head + `"own",` + gone)
	give(head + `"A",` + disk)
	have(ofA, `A: a local_ssd x<p #0 g0 t1 "secret"`, "B: a local_ssd x<root #0 g0 t1 none")
	give(head + `"B",` + all)
	have()
}

// Tenants without blocks are forgotten when there are many.
func TestIntakeForgetsTenants(t *testing.T) {
	t.Parallel()
	x := model(t)
	in := events.NewIntake(x, []events.Endpoint{{ID: "a", Model: "m"}})
	give := func(tenant int) {
		name := strconv.Itoa(tenant)
		_, err := in.Ingest(t.Context(), &events.Batch{EngineID: "a", Tenant: &name, Events: []events.Event{
			{Kind: events.Stored, Hashes: []string{"x"}, BlockSize: 1}, {Kind: events.Removed, Hashes: []string{"x"}},
		}})
		require.NoError(t, err)
	}
	for tenant := range 40_000 {
		give(tenant)
	}
	require.Empty(t, records(t, x))
}

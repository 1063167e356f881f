package index_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// ascending are records of which each differs from the one before in the field
// named, and is behind it though all later fields are lower.
func ascending() []index.Record {
	r := index.Record{Tier: index.RemoteHBM}
	var out []index.Record
	next := func(change func()) {
		change()
		out = append(out, r)
	}
	next(func() {})
	next(func() { r.Worker, r.Tier = "w", index.CPUDRAM })
	next(func() { r.Tokens, r.Worker = 1, "" })
	next(func() { r.Group, r.Tokens = 1, 0 })
	next(func() { r.Index, r.Group = 1, 0 })
	next(func() { r.Hash, r.Index = "h", 0 })
	next(func() { r.Prefix, r.Hash = "p", "" })
	next(func() { r.Tenant, r.Prefix = "x", "" })
	next(func() { r.Adapter, r.Tenant = index.Named(""), "" })
	next(func() { r.Adapter = index.Named("\x00") })
	next(func() { r.Adapter = index.Named("a") })
	next(func() { r.Tokenizer, r.Adapter = "\xff", index.Adapter{} })
	next(func() { r.Model, r.Tokenizer = "\x00", "" })
	next(func() { r.Model = "B" })
	next(func() { r.Model = "b" })
	next(func() { r.Model = "é" })
	return out
}

func TestOrder(t *testing.T) {
	t.Parallel()
	want := ascending()
	for i := range want {
		for j := range want {
			a, b := want[i], want[j]
			a.Bytes, a.LastAccess, a.Refs, a.Pinned = 1, 2, 3, true // data
			got := index.Compare(&a, &b)
			require.Equal(t, i < j, got < 0, "%d %d", i, j)
			require.Equal(t, i == j, got == 0, "%d %d", i, j)
		}
	}
	got := slices.Clone(want)
	rand.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
	index.Sort(got)
	require.Equal(t, want, got)
	index.Sort(got)
	require.Equal(t, want, got)
	index.Sort(nil)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	long := string(make([]byte, index.MaxFieldBytes))
	r := index.Record{
		Key:    index.Key{Scope: index.Scope{Model: long, Tokenizer: long, Adapter: index.Named(long), Tenant: long}, Prefix: long, Hash: long},
		Worker: long, Tier: index.HBM,
	}
	require.NoError(t, r.Check())
	for _, change := range []func(r *index.Record){
		func(r *index.Record) { r.Model += "x" },
		func(r *index.Record) { r.Tokenizer += "x" },
		func(r *index.Record) { r.Adapter = index.Named(long + "x") },
		func(r *index.Record) { r.Tenant += "x" },
		func(r *index.Record) { r.Prefix += "x" },
		func(r *index.Record) { r.Hash += "x" },
		func(r *index.Record) { r.Worker += "x" },
		func(r *index.Record) { r.Tier = 0 },
		func(r *index.Record) { r.Tier = index.Tiers },
	} {
		bad := r
		change(&bad)
		require.ErrorIs(t, bad.Check(), kvferry.ErrInvalid)
	}
}

package indextest

import (
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

var writeTests = []test{
	{name: "a new index is empty", run: testEmpty},
	{name: "put, read and remove", run: testRoundTrip},
	{name: "the later put wins", run: testUnique},
	{name: "invalid records", run: testInvalid},
}

// block returns a record of the scope m, t, none, tenant-a.
func block(prefix, hash, worker string, tier index.Tier) index.Record {
	return index.Record{
		Key:    index.Key{Scope: index.Scope{Model: "m", Tokenizer: "t", Tenant: "tenant-a"}, Prefix: prefix, Hash: hash, Tokens: 64},
		Worker: worker, Tier: tier, Bytes: 1024,
	}
}

func testEmpty(s *subject) {
	s.holds()
	r := block(index.Root, "b0", "w0", index.HBM)
	require.Empty(s, s.locate(r.Key))
	require.Empty(s, s.scan(r.Scope, index.Root))
	require.Equal(s, 0, s.remove(index.Removal{Scope: r.Scope, Worker: "w0", Hash: "b0"}))
	require.NoError(s, s.Clear(s.Context()))
	require.NoError(s, s.Put(s.Context(), nil))
	require.NoError(s, s.Flush(s.Context()))
	ws, err := s.Workers(s.Context())
	require.NoError(s, err)
	require.Empty(s, ws)
	m := s.metrics()
	require.Zero(s, m.ResidentBlocks+m.ResidentBytes+m.Puts+m.Removes+m.Workers+m.StaleBlocks)
}

func testRoundTrip(s *subject) {
	a, b, c := block(index.Root, "b0", "w0", index.HBM), block("b0", "b1", "w0", index.HBM), block("b0", "b1", "w1", index.LocalSSD)
	a.LastAccess, a.Refs, a.Pinned = 7, 3, true
	s.put(a)
	s.put(b, c)
	s.holds(a, b, c)
	require.Equal(s, 1, s.remove(index.Removal{Scope: a.Scope, Worker: "w0", Hash: "b0"}))
	s.holds(b, c)
	require.Equal(s, 0, s.remove(index.Removal{Scope: a.Scope, Worker: "w0", Hash: "b0"}))
	n, err := s.ClearWorker(s.Context(), "w0")
	require.NoError(s, err)
	require.Equal(s, 1, n)
	s.holds(c)
	s.put(a)
	s.holds(a, c)
	require.NoError(s, s.Clear(s.Context()))
	s.holds()
}

func testUnique(s *subject) {
	a := block(index.Root, "b0", "w0", index.HBM)
	b := a
	b.Bytes, b.LastAccess, b.Refs, b.Pinned, b.Tokens = 1, 2, 3, true, 5
	s.put(a)
	s.put(b)
	s.holds(b)
	s.put(b, a)
	s.holds(a)
	other := a
	other.Tier = index.CPUDRAM
	s.put(other)
	s.holds(a, other)
}

func testInvalid(s *subject) {
	good, bad := block(index.Root, "b0", "w0", index.HBM), block(index.Root, "b1", "w0", 0)
	long := block(index.Root, string(make([]byte, index.MaxFieldBytes+1)), "w0", index.HBM)
	for _, r := range []index.Record{bad, long} {
		require.ErrorIs(s, s.Put(s.Context(), []index.Record{good, r}), kvferry.ErrInvalid)
		s.holds()
	}
	require.ErrorIs(s, s.Announce(s.Context(), "w0", 0), kvferry.ErrInvalid)
	s.put(good)
	s.holds(good)
}

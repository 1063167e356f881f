package indextest

import (
	"fmt"
	"math"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

var writeTests = []test{
	{name: "a new index is empty", run: testEmpty},
	{name: "put, read and remove", run: testRoundTrip},
	{name: "the later put wins", run: testUnique},
	{name: "each field of the identity makes another record", run: testIdentity},
	{name: "invalid records", run: testInvalid},
	{name: "what a removal selects", run: testRemovals},
	{name: "several removals in one call", run: testRemovalBatch},
	{name: "clear a worker", run: testClearWorker},
	{name: "expire", run: testExpire},
	{name: "a large batch", run: testLargeBatch},
	{name: "the caller's slices are not kept", run: testArguments},
}

// block returns a record of the scope m, t, none, tenant-a.
func block(prefix, hash, worker string, tier index.Tier) index.Record {
	return index.Record{
		Key:    index.Key{Scope: index.Scope{Model: "m", Tokenizer: "t", Tenant: "tenant-a"}, Prefix: prefix, Hash: hash, Tokens: 64},
		Worker: worker, Tier: tier, Bytes: 1024,
	}
}

// removalOf returns the removal of a record's hash on its worker.
func removalOf(r *index.Record) index.Removal {
	return index.Removal{Scope: r.Scope, Worker: r.Worker, Hash: r.Hash}
}

// with returns a record with changes.
func with(r index.Record, change func(r *index.Record)) index.Record {
	change(&r)
	return r
}

func testEmpty(s *subject) {
	s.holds()
	r := block(index.Root, "b0", "w0", index.HBM)
	require.Empty(s, s.locate(r.Key))
	require.Empty(s, s.scan(r.Scope, index.Root))
	require.Equal(s, 0, s.remove(removalOf(&r)))
	require.Equal(s, 0, s.remove())
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
	require.Equal(s, 1, s.remove(removalOf(&a)))
	s.holds(b, c)
	require.Equal(s, 0, s.remove(removalOf(&a)))
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
	b.Bytes, b.LastAccess, b.Refs, b.Pinned, b.Tokens = math.MaxUint64, math.MaxUint64, math.MaxUint32, true, math.MaxUint32
	s.put(a)
	s.put(b)
	s.holds(b)
	s.put(b, a)
	s.holds(a)
	s.put(with(a, func(r *index.Record) { r.Tier = index.CPUDRAM }))
	s.holds(a, with(a, func(r *index.Record) { r.Tier = index.CPUDRAM }))
	require.Equal(s, uint64(2*1024), s.metrics().ResidentBytes)
}

func testIdentity(s *subject) {
	rs := []index.Record{block(index.Root, "b0", "w0", index.HBM)}
	for _, change := range []func(r *index.Record){
		func(r *index.Record) { r.Model = "M" },
		func(r *index.Record) { r.Tokenizer = "T" },
		func(r *index.Record) { r.Adapter = index.Named("") },
		func(r *index.Record) { r.Adapter = index.Named("a") },
		func(r *index.Record) { r.Tenant = "tenant-b" },
		func(r *index.Record) { r.Prefix = "" },
		func(r *index.Record) { r.Hash = "B0" },
		func(r *index.Record) { r.Index = 1 << 24 },
		func(r *index.Record) { r.Group = 1 << 8 },
		func(r *index.Record) { r.Worker = "w1" },
		func(r *index.Record) { r.Tier = index.ObjectStore },
	} {
		rs = append(rs, with(rs[0], change))
	}
	s.put(rs...)
	s.holds(rs...)
	for len(rs) > 0 { // take any away, and the others stay
		r := rs[len(rs)/2]
		x := removalOf(&r)
		x.Tier, x.OneGroup, x.Group = r.Tier, true, r.Group
		rs = slices.DeleteFunc(rs, func(o index.Record) bool {
			return o.Scope == r.Scope && o.Hash == r.Hash && o.Worker == r.Worker && o.Tier == r.Tier && o.Group == r.Group
		})
		s.remove(x)
		s.holds(rs...)
	}
}

func testInvalid(s *subject) {
	good, bad := block(index.Root, "b0", "w0", index.HBM), block(index.Root, "b1", "w0", 0)
	long := block(index.Root, string(make([]byte, index.MaxFieldBytes+1)), "w0", index.HBM)
	before := s.metrics().Seq
	for _, r := range []index.Record{bad, long, with(good, func(r *index.Record) { r.Tier = index.Tiers })} {
		require.ErrorIs(s, s.Put(s.Context(), []index.Record{good, r}), kvferry.ErrInvalid)
		s.holds()
	}
	require.ErrorIs(s, s.Announce(s.Context(), "w0", 0), kvferry.ErrInvalid)
	require.ErrorIs(s, s.Announce(s.Context(), string(make([]byte, index.MaxFieldBytes+1)), 1), kvferry.ErrInvalid)
	require.Equal(s, before, s.metrics().Seq, "what fails is no change")
	require.Zero(s, s.metrics().Puts)
	s.put(good)
	s.holds(good)
}

// testRemovals: one hash in two tiers, two groups, under two parents, with three
// adapters, on two workers, in two tenants.
func testRemovals(s *subject) {
	var all []index.Record
	for i := range 1 << 5 {
		for _, a := range []index.Adapter{{}, index.Named(""), index.Named("a")} {
			r := block([]string{index.Root, "p"}[i&1], "b", []string{"w0", "w1"}[i>>1&1], []index.Tier{index.HBM, index.LocalSSD}[i>>2&1])
			r.Group, r.Tenant, r.Adapter = uint32(i>>3&1)*7, []string{"x", "y"}[i>>4&1], a
			all = append(all, r)
		}
	}
	base := index.Removal{Scope: index.Scope{Model: "m", Tokenizer: "t", Tenant: "x"}, Worker: "w0", Hash: "b"}
	for _, c := range []struct {
		change func(x *index.Removal)
		want   int
	}{
		{func(*index.Removal) {}, 8},
		{func(x *index.Removal) { x.Adapter = index.Named("") }, 8},
		{func(x *index.Removal) { x.AnyAdapter = true }, 24},
		{func(x *index.Removal) { x.AnyAdapter, x.Adapter = true, index.Named("not looked at") }, 24},
		{func(x *index.Removal) { x.Tier = index.LocalSSD }, 4},
		{func(x *index.Removal) { x.Tier = index.RemoteHBM }, 0},
		{func(x *index.Removal) { x.OneGroup = true }, 4},
		{func(x *index.Removal) { x.OneGroup, x.Group = true, 7 }, 4},
		{func(x *index.Removal) { x.Group = 7 }, 8},
		{func(x *index.Removal) { x.OneGroup, x.Group, x.Tier, x.AnyAdapter = true, 7, index.HBM, true }, 6},
		{func(x *index.Removal) { x.OneGroup, x.Group = true, 1 }, 0},
		{func(x *index.Removal) { x.Hash = "" }, 0},
		{func(x *index.Removal) { x.Worker = "w" }, 0},
		{func(x *index.Removal) { x.Tenant = "X" }, 0},
	} {
		x := base
		c.change(&x)
		m := NewModel(s.options)
		require.NoError(s, m.Put(s.Context(), all))
		s.put(all...)
		n, err := m.Remove(s.Context(), []index.Removal{x})
		require.NoError(s, err)
		require.Equal(s, c.want, n, "the model: %+v", x)
		require.Equal(s, c.want, s.remove(x), "%+v", x)
		want, err := snapshot(s.Context(), m)
		require.NoError(s, err)
		requireRecords(s, want, s.all())
	}
}

func testRemovalBatch(s *subject) {
	a, b, c := block(index.Root, "b0", "w0", index.HBM), block(index.Root, "b0", "w0", index.LocalSSD), block("b0", "b1", "w1", index.HBM)
	s.put(a, b, c)
	hbm, absent := removalOf(&a), removalOf(&a)
	hbm.Tier, absent.Hash = index.HBM, "nobody's"
	before := s.metrics().Seq
	require.Equal(s, 3, s.remove(hbm, removalOf(&a), absent, removalOf(&c), removalOf(&c)), "each record counts once")
	require.Equal(s, before+1, s.metrics().Seq, "one call is one change")
	require.Equal(s, uint64(3), s.metrics().Removes)
	s.holds()
}

func testClearWorker(s *subject) {
	var mine, others []index.Record
	for i := range 40 {
		r := block(index.Root, fmt.Sprint("b", i%7), "w", index.Tier(1+i%5))
		r.Tenant, r.Adapter, r.Index = fmt.Sprint(i%3), index.Named(fmt.Sprint(i%2)), uint32(i)
		mine = append(mine, r)
		for _, w := range []string{"", "w\x00", "ww", "W"} {
			others = append(others, with(r, func(r *index.Record) { r.Worker = w }))
		}
	}
	s.put(slices.Concat(mine, others)...)
	n, err := s.ClearWorker(s.Context(), "w")
	require.NoError(s, err)
	require.Equal(s, len(mine), n)
	s.holds(others...)
	n, err = s.ClearWorker(s.Context(), "w")
	require.NoError(s, err)
	require.Zero(s, n)
	require.Equal(s, uint64(len(mine)), s.metrics().Cleared)
}

func testExpire(s *subject) {
	at := func(hash string, ms uint64) index.Record {
		return with(block(index.Root, hash, "w", index.HBM), func(r *index.Record) { r.LastAccess = ms })
	}
	never, old, now, later := at("0", 0), at("1", 99), at("2", 100), at("3", math.MaxUint64)
	pinned := with(at("4", 5), func(r *index.Record) { r.Pinned = true })
	used := with(at("5", 5), func(r *index.Record) { r.Refs = 1 })
	s.put(never, old, now, later, pinned, used)
	for _, c := range []struct {
		before uint64
		n      int
		left   []index.Record
	}{
		{0, 0, []index.Record{never, old, now, later, pinned, used}},
		{1, 1, []index.Record{old, now, later, pinned, used}},
		{100, 1, []index.Record{now, later, pinned, used}},
		{100, 0, []index.Record{now, later, pinned, used}},
		{math.MaxUint64, 1, []index.Record{later, pinned, used}},
	} {
		n, err := s.Expire(s.Context(), c.before)
		require.NoError(s, err)
		require.Equal(s, c.n, n, "before %d", c.before)
		s.holds(c.left...)
	}
	require.Equal(s, uint64(3), s.metrics().Expired)
	s.put(with(pinned, func(r *index.Record) { r.Pinned = false }), with(used, func(r *index.Record) { r.LastAccess, r.Refs = 6, 0 }))
	n, err := s.Expire(s.Context(), 6)
	require.NoError(s, err)
	require.Equal(s, 1, n, "what a put says of a block counts, not what one before said")
}

func testLargeBatch(s *subject) {
	n := 5000
	if s.config.Slow || racing {
		n = 1000
	}
	rs := make([]index.Record, n)
	removals := make([]index.Removal, n/2)
	for i := range rs {
		rs[i] = block(fmt.Sprint("p", i%50), fmt.Sprint("h", i), fmt.Sprint("w", i%3), index.Tier(1+i%5))
		if i < len(removals) {
			removals[i] = removalOf(&rs[i])
		}
	}
	before := s.metrics().Seq
	s.put(rs...)
	require.Equal(s, before+1, s.metrics().Seq, "one call is one change")
	require.Len(s, s.scan(rs[0].Scope, "p7"), n/50)
	require.Equal(s, len(removals), s.remove(removals...))
	want := slices.Clone(rs[len(removals):])
	index.Sort(want)
	requireRecords(s, want, s.all())
}

func testArguments(s *subject) {
	a := block(index.Root, "b0", "w0", index.HBM)
	rs, xs := []index.Record{a}, []index.Removal{removalOf(&a)}
	s.put(rs...)
	rs[0] = block("other", "other", "other", index.LocalSSD)
	s.holds(a)
	require.Equal(s, 1, s.remove(xs...))
	require.Equal(s, removalOf(&a), xs[0], "arguments are not written to")
	s.put(a)
	got := s.scan(a.Scope, index.Root)
	got[0] = rs[0]
	s.holds(a)
}

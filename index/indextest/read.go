package indextest

import (
	"errors"
	"math/rand/v2"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

var readTests = []test{
	{name: "records come in order", run: testOrder},
	{name: "a prefix is matched exactly", run: testExactPrefix},
	{name: "a hash is found in all scopes", run: testByHash},
	{name: "snapshots", run: testSnapshot},
	{name: "any bytes", run: testAnyBytes},
	{name: "long fields", run: testLongFields},
	{name: "scopes that look alike", run: testAlike},
	{name: "many keys", run: testManyKeys},
	{name: "many scopes and workers", run: testManyScopes},
	{name: "matches", run: testMatches},
	{name: "matches of random prompts", run: testRandomMatches},
}

// testOrder puts in random order what differs in one field, in all of them, or in
// tokens alone: they are data, but what is before the worker in the order.
func testOrder(s *subject) {
	var rs []index.Record
	for i := range uint32(300) {
		r := block([]string{"", "p", "q"}[i%3], []string{"", "h", "\xff", "h\x00"}[i/3%4], []string{"a", "b", ""}[i/12%3], index.Tier(1+i%5))
		r.Index, r.Group, r.Tokens = i/36%2, i/72%2, rand.Uint32N(3)
		r.Adapter = []index.Adapter{{}, index.Named(""), index.Named("b")}[i/144%3]
		rs = append(rs, r)
	}
	rand.Shuffle(len(rs), func(i, j int) { rs[i], rs[j] = rs[j], rs[i] })
	s.put(rs...)
	s.holds(rs...)
}

func testExactPrefix(s *subject) {
	a := block("p", "b", "w", index.HBM)
	s.put(a, block("pp", "b", "w", index.HBM), block("", "b", "w", index.HBM), block("p\x00", "b", "w", index.HBM), block("P", "b", "w", index.HBM))
	requireRecords(s, []index.Record{a}, s.scan(a.Scope, "p"))
	require.Empty(s, s.scan(a.Scope, "ppp"))
	require.Len(s, s.scan(a.Scope, ""), 1)
}

func testByHash(s *subject) {
	var want []index.Record
	for i, tenant := range []string{"x", "y", ""} {
		r := block([]string{"p", "q", ""}[i], "b", "w", index.HBM)
		r.Tenant, r.Index, r.Group = tenant, uint32(i), uint32(i)
		other := r
		other.Hash = "c"
		s.put(r, other)
		want = append(want, r)
	}
	index.Sort(want)
	got, err := s.ByHash(s.Context(), "b", []index.Record{sentinel})
	require.NoError(s, err)
	requireRecords(s, append([]index.Record{sentinel}, want...), got)
	got, err = s.ByHash(s.Context(), "", nil)
	require.NoError(s, err)
	require.Empty(s, got)
}

func testSnapshot(s *subject) {
	seq, err := s.Snapshot(s.Context(), func(*index.Record) error { return errors.New("no record is there") })
	require.NoError(s, err)
	require.Equal(s, s.metrics().Seq, seq)
	for _, h := range []string{"c", "a", "b"} {
		s.put(block(index.Root, h, "w", index.HBM))
	}
	stop := errors.New("enough")
	var seen []string
	_, err = s.Snapshot(s.Context(), func(r *index.Record) error {
		seen = append(seen, strings.Clone(r.Hash))
		if len(seen) == 2 {
			return stop
		}
		return nil
	})
	require.ErrorIs(s, err, stop)
	require.Equal(s, []string{"a", "b"}, seen)
	seq, err = s.Snapshot(s.Context(), func(*index.Record) error { return nil })
	require.NoError(s, err)
	require.Equal(s, s.metrics().Seq, seq)
}

// setters set the strings of a record.
var setters = []func(r *index.Record, v string){
	func(r *index.Record, v string) { r.Model = v },
	func(r *index.Record, v string) { r.Tokenizer = v },
	func(r *index.Record, v string) { r.Adapter = index.Named(v) },
	func(r *index.Record, v string) { r.Tenant = v },
	func(r *index.Record, v string) { r.Prefix = v },
	func(r *index.Record, v string) { r.Hash = v },
	func(r *index.Record, v string) { r.Worker = v },
}

func testAnyBytes(s *subject) {
	m := NewModel(s.options)
	for _, set := range setters {
		var rs []index.Record
		for _, v := range oddities {
			rs = append(rs, with(block("p", "b", "w", index.HBM), func(r *index.Record) { set(r, v) }))
		}
		s.put(rs...)
		require.NoError(s, m.Put(s.Context(), rs))
	}
	want, err := snapshot(s.Context(), m)
	require.NoError(s, err)
	s.holds(want...)
	for i := range want {
		r := &want[i]
		wantN, err := m.Remove(s.Context(), []index.Removal{removalOf(r)})
		require.NoError(s, err)
		require.Equal(s, wantN, s.remove(removalOf(r)), "%+v", r)
	}
	s.holds()
}

// testLongFields has strings of 64 KiB that differ in their last byte or length,
// and one record with the longest in every field.
func testLongFields(s *subject) {
	length, most := 64<<10, index.MaxFieldBytes
	if racing {
		length, most = length/8, most/16 // there is one client
	}
	long := strings.Repeat("x", length)
	all := block("", "", "", index.LocalSSD)
	longest := all
	var rs []index.Record
	for _, set := range setters {
		set(&all, long)
		set(&longest, strings.Repeat("\xff", most))
		for _, v := range []string{long, long[:len(long)-1] + "y", long[1:]} {
			rs = append(rs, with(block("p", "b", "w", index.HBM), func(r *index.Record) { set(r, v) }))
		}
	}
	rs = append(rs, all, longest)
	s.put(rs...)
	s.holds(rs...)
	got, err := s.Match(s.Context(), &index.Query{Scope: rs[12].Scope, Hashes: []string{long}}, nil)
	require.NoError(s, err)
	require.Empty(s, got)
	n := 0
	for i := range rs {
		n += s.remove(removalOf(&rs[i]))
	}
	require.Equal(s, len(rs), n)
	s.holds()
}

// testAlike cuts one string into the fields of many records, at other places each:
// joined without lengths, all of them are the same.
func testAlike(s *subject) {
	u := newUniverse(runSeed(s, 0))
	rounds, records := 6, 120
	switch {
	case racing:
		rounds, records = 1, 25
	case s.config.Slow:
		rounds = 2
	}
	for range rounds {
		m := NewModel(s.options)
		var rs []index.Record
		joined := make([]byte, 3+u.IntN(6))
		for i := range joined {
			joined[i] = "\x00\x00\x00ab\x01\xff"[u.IntN(7)]
		}
		for range records {
			rs = append(rs, cut(u, joined))
		}
		s.put(rs...)
		require.NoError(s, m.Put(s.Context(), rs))
		for i := range rs {
			s.alone(m, &rs[i])
		}
		for i := range rs {
			o := op{kind: opRemove, removals: []index.Removal{removalOf(&rs[i])}}
			want, got := o.apply(s.Context(), m), o.apply(s.Context(), s)
			require.NoError(s, same(&want, &got), "%v of %q", o, joined)
			if i%20 == 0 {
				left, err := snapshot(s.Context(), m)
				require.NoError(s, err)
				requireRecords(s, left, s.all())
			}
		}
		s.holds()
	}
}

func cut(u *universe, joined []byte) index.Record {
	r := block("", "", "", u.tier())
	rest := string(joined)
	for i, set := range setters {
		n := u.IntN(len(rest) + 1)
		if i == len(setters)-1 {
			n = len(rest)
		}
		set(&r, rest[:n])
		rest = rest[n:]
	}
	if name, _ := r.Adapter.Name(); name == "" && u.IntN(2) == 0 {
		r.Adapter = index.Adapter{}
	}
	return r
}

// alone requires that what is asked of a record's scope is answered by records of
// that scope, the same as the model's.
func (s *subject) alone(m *Model, r *index.Record) {
	s.Helper()
	for _, o := range []op{
		{kind: opLocate, key: r.Key}, {kind: opScan, key: r.Key}, {kind: opByHash, key: r.Key},
		{kind: opMatch, query: index.Query{Scope: r.Scope, Hashes: []string{r.Hash, r.Prefix}}},
	} {
		want, got := o.apply(s.Context(), m), o.apply(s.Context(), s)
		require.NoError(s, same(&want, &got), "%v", o)
		if o.kind == opLocate || o.kind == opScan {
			for _, x := range got.records[1:] {
				require.Equal(s, r.Scope, x.Scope, "a record of %+v for %+v", x.Scope, r.Scope)
			}
		}
	}
}

package indextest

import (
	"context"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

var keeperTests = []test{
	{name: "metrics", run: testMetrics},
	{name: "info", options: index.Options{Rules: index.AsHolt}, run: testInfo},
	{name: "closed", run: testClosed},
	{name: "cancelled", run: testCancelled},
	{name: "as the original in memory", options: index.Options{Rules: index.AsMemory}, run: testAsMemory},
	{name: "as the original on disk", options: index.Options{Rules: index.AsHolt}, run: testAsHolt},
	{name: "opened again", reopens: true, run: testReopen},
	{name: "many times opened again", reopens: true, run: testReopenOften},
	{name: "open once at a time", again: true, run: testAgain},
}

func testMetrics(s *subject) {
	ctx := s.Context()
	a, b := block(index.Root, "b0", "w0", index.HBM), block(index.Root, "b1", "w1", index.HBM)
	b.Bytes = 1 << 40
	s.put(a, b)
	s.put(b)
	s.put(a)
	want := index.Metrics{ResidentBlocks: 2, ResidentBytes: 1024 + 1<<40, Puts: 4, Workers: 2}
	require.Equal(s, uint64(3), s.metrics().Seq)
	s.counts(want)
	s.remove(removalOf(&a))
	want.ResidentBlocks, want.ResidentBytes, want.Removes, want.Workers = 1, 1<<40, 1, 1
	s.counts(want)
	s.locate(a.Key)
	s.scan(a.Scope, index.Root)
	s.scan(a.Scope, "nowhere")
	_, err := s.Match(ctx, &index.Query{Scope: a.Scope, Hashes: []string{"b0"}}, nil)
	require.NoError(s, err)
	want.Locates, want.PrefixScans, want.Matches = 1, 2, 1
	s.counts(want)
	b.Bytes = 5
	s.put(b)
	want.ResidentBytes, want.Puts = 5, 5
	s.counts(want)
	s.put(a)
	n, err := s.ClearWorker(ctx, "w0")
	require.NoError(s, err)
	require.Equal(s, 1, n)
	want.Puts, want.Cleared = 6, 1
	s.counts(want)
	n, err = s.Expire(ctx, 1)
	require.NoError(s, err)
	require.Equal(s, 1, n)
	want.Expired, want.ResidentBlocks, want.ResidentBytes, want.Workers = 1, 0, 0, 0
	s.counts(want)
	s.put(a, b)
	require.NoError(s, s.Clear(ctx))
	want.Puts, want.Cleared = 8, 3
	s.counts(want)
	require.NoError(s, s.Flush(ctx))
	if info := s.Info(); info.Persistent {
		require.Positive(s, s.metrics().BytesWritten)
	} else if !info.Shared {
		require.Zero(s, s.metrics().BytesWritten)
	}
}

// counts requires these metrics, whatever the newest change and the bytes written.
func (s *subject) counts(want index.Metrics) {
	s.Helper()
	got := s.metrics()
	want.BytesWritten, want.Seq = got.BytesWritten, got.Seq
	require.Equal(s, want, got)
}

func testInfo(s *subject) {
	info := s.Info()
	require.NotEmpty(s, info.Name)
	require.Equal(s, index.AsHolt, info.Rules)
	if info.Persistent && !info.Shared { // else who closes it ends nothing
		require.NotNil(s, s.config.Reopen, "what is persistent can be opened again")
		require.NotNil(s, s.config.Again, "and has one owner")
	}
}

// everyCall returns one call of each method that takes a context.
func everyCall() []op {
	r := block(index.Root, "b0", "w0", index.HBM)
	return []op{
		{kind: opPut, records: []index.Record{with(r, func(r *index.Record) { r.Bytes = 7 }), block("b0", "b1", "w0", index.HBM)}},
		{kind: opRemove, removals: []index.Removal{removalOf(&r)}},
		{kind: opClearWorker, worker: "w1"},
		{kind: opExpire, number: 1},
		{kind: opAnnounce, worker: "w2", number: 5},
		{kind: opClear},
		{kind: opLocate, key: r.Key},
		{kind: opScan, key: r.Key},
		{kind: opByHash, key: r.Key},
		{kind: opMatch, query: index.Query{Scope: r.Scope, Hashes: []string{"b0"}}},
		{kind: opSnapshot},
		{kind: opWorkers},
		{kind: opMetrics},
		{kind: opFlush},
	}
}

func testClosed(s *subject) {
	s.put(block(index.Root, "b0", "w0", index.HBM))
	require.NoError(s, s.Close())
	require.NoError(s, s.Close(), "a second time")
	for _, o := range everyCall() {
		got := o.apply(s.Context(), s)
		require.ErrorIs(s, got.err, kvferry.ErrClosed, "%s", o.kind)
		require.Zero(s, got.n)
	}
	n := 0
	for c, err := range s.Watch(s.Context(), 0) {
		require.Nil(s, c)
		require.ErrorIs(s, err, kvferry.ErrClosed)
		n++
	}
	require.Equal(s, 1, n)
	require.NotEmpty(s, s.Info().Name)
}

// testCancelled: a call whose context has ended does nothing, or all of it.
func testCancelled(s *subject) {
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	m := NewModel(s.options)
	for _, o := range everyCall() {
		rs := []index.Record{block(index.Root, "b0", "w0", index.HBM), block(index.Root, "b0", "w1", index.HBM)}
		s.put(rs...)
		require.NoError(s, m.Put(s.Context(), rs))
		got := o.apply(ctx, s)
		if got.err != nil {
			require.ErrorIs(s, got.err, context.Canceled, "%s", o.kind)
			require.Zero(s, got.n)
		} else {
			want := o.apply(s.Context(), m)
			if o.kind != opMetrics {
				require.NoError(s, same(&want, &got), "%s", o.kind)
			}
		}
		want, err := snapshot(s.Context(), m)
		require.NoError(s, err)
		requireRecords(s, want, s.all())
	}
	var last error
	for _, err := range s.Watch(ctx, s.metrics().Seq) {
		last = err
	}
	require.ErrorIs(s, last, context.Canceled)
}

// adapters returns the same block with no adapter, with one without a name, and
// with a named one, each with other tokens.
func adapters() (none, empty, named index.Record) {
	none = block(index.Root, "b", "w", index.HBM)
	empty = with(none, func(r *index.Record) { r.Adapter, r.Tokens = index.Named(""), 16 })
	named = with(none, func(r *index.Record) { r.Adapter, r.Tokens = index.Named("a"), 8 })
	return none, empty, named
}

func testAsMemory(s *subject) {
	none, empty, named := adapters()
	other := with(none, func(r *index.Record) { r.Tokens++ })
	s.put(none, empty, named, other)
	s.holds(none, empty, named, other)
	requireRecords(s, []index.Record{other}, s.locate(other.Key))
	require.Equal(s, 1, s.remove(removalOf(&empty)))
	require.Equal(s, 2, s.remove(removalOf(&none)))
	s.holds(named)
}

func testAsHolt(s *subject) {
	none, empty, named := adapters()
	s.put(none)
	s.holds(none)
	s.put(empty, named)
	s.holds(empty, named)
	requireRecords(s, []index.Record{empty}, s.locate(none.Key))
	requireRecords(s, []index.Record{empty}, s.scan(none.Scope, index.Root))
	s.matches("none for empty", index.Query{Scope: none.Scope, Hashes: []string{"b"}}, []index.Match{matchOf("w", empty)})
	a, b := with(empty, func(r *index.Record) { r.Hash = "a" }), with(none, func(r *index.Record) { r.Hash = "c" })
	s.put(a, b)
	requireRecords(s, []index.Record{b, a, empty}, s.scan(empty.Scope, index.Root)) // as the order of records is, none first
	require.Equal(s, 1, s.remove(removalOf(&none)))
	s.holds(a, b, named)
}

func testReopen(s *subject) {
	u := newUniverse(runSeed(s, 0))
	m := NewModel(s.options)
	for range 150 {
		o := u.write()
		want, got := o.apply(s.Context(), m), o.apply(s.Context(), s)
		require.NoError(s, same(&want, &got), "%v", o)
	}
	require.NoError(s, s.Flush(s.Context()))
	before := s.metrics().Seq
	for range 2 {
		s.reopen()
		m.Reopen()
		want, err := snapshot(s.Context(), m)
		require.NoError(s, err)
		requireRecords(s, want, s.all())
		got := s.metrics()
		require.GreaterOrEqual(s, got.Seq, before, "numbers go on")
		require.Zero(s, got.Puts+got.Removes+got.Cleared+got.Expired, "events count since the opening")
		require.Equal(s, uint64(len(want)), got.ResidentBlocks)
	}
	require.ErrorIs(s, m.Announce(s.Context(), "", 0), kvferry.ErrInvalid)
}

func testReopenOften(s *subject) {
	var rs []index.Record
	for i := range 12 {
		r := with(block(index.Root, "b", "w", index.LocalSSD), func(r *index.Record) { r.Index = uint32(i) })
		rs = append(rs, r)
		s.put(r)
		if i%3 == 0 {
			require.NoError(s, s.Flush(s.Context()))
		}
		if i == 6 {
			n, err := s.ClearWorker(s.Context(), "w")
			require.NoError(s, err)
			require.Equal(s, len(rs), n)
			rs = nil
		}
		s.reopen()
		s.holds(rs...)
	}
}

// testAgain: who has an index open goes on, whoever else tries to.
func testAgain(s *subject) {
	a, b := block(index.Root, "b0", "w", index.LocalSSD), block("b0", "b1", "w", index.LocalSSD)
	s.put(a)
	for range 2 {
		require.ErrorIs(s, s.config.Again(s.T, s.Index, s.options), kvferry.ErrReadOnly)
	}
	s.put(b)
	s.holds(a, b)
	require.NoError(s, s.Flush(s.Context()))
	s.reopen()
	s.holds(a, b)
}

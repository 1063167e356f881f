package indextest

import (
	"slices"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

var workerTests = []test{
	{name: "announcements", run: testAnnounce},
	{name: "workers", run: testWorkers},
	{name: "names are copied", run: testNamesAreCopied},
	{name: "stale after a reopening", reopens: true, run: testStale},
	{name: "nothing is stale by the original's rules", reopens: true, options: index.Options{Rules: index.AsHolt}, run: testNeverStale},
	{name: "an incarnation outlives a reopening", reopens: true, run: testKnownIncarnation},
	{name: "a put makes a worker known again", reopens: true, run: testPutConfirms},
	{name: "stale records are taken away too", reopens: true, run: testTakeStale},
	{name: "stale twice", reopens: true, run: testStaleTwice},
}

// tiers returns one record of a worker for each tier: what is volatile of them,
// and what is not.
func tiers(worker string) (volatile, lasting []index.Record) {
	for t := index.Tier(1); t < index.Tiers; t++ {
		r := block(index.Root, "b", worker, t)
		r.Bytes = 10
		if t.Volatile() {
			volatile = append(volatile, r)
		} else {
			lasting = append(lasting, r)
		}
	}
	return volatile, lasting
}

func (s *subject) announce(worker string, incarnation uint64) {
	s.Helper()
	require.NoError(s, s.Announce(s.Context(), worker, incarnation))
}

// workers returns what Workers does.
func (s *subject) workers() []index.Worker {
	s.Helper()
	ws, err := s.Workers(s.Context())
	require.NoError(s, err)
	require.Equal(s, uint64(len(ws)), s.metrics().Workers)
	return ws
}

func testAnnounce(s *subject) {
	volatile, lasting := tiers("w")
	other, _ := tiers("other")
	everything := slices.Concat(volatile, lasting, other)
	s.put(everything...)
	s.announce("w", 7)
	s.holds(everything...)
	s.announce("w", 7)
	s.holds(everything...)
	s.announce("w", 8)
	s.holds(slices.Concat(lasting, other)...)
	require.Equal(s, uint64(len(volatile)), s.metrics().Cleared)
	s.put(volatile...)
	s.announce("w", 7)
	s.holds(slices.Concat(lasting, other)...)
}

func testWorkers(s *subject) {
	require.Empty(s, s.workers())
	volatile, lasting := tiers("b")
	s.put(slices.Concat(volatile, lasting)...)
	s.announce("c", 1<<63)
	s.put(block(index.Root, "b", "", index.LocalSSD), block(index.Root, "b", "\xff", index.HBM))
	want := []index.Worker{
		{Name: "", Blocks: 1}, {Name: "b", Blocks: index.Tiers - 1}, {Name: "c", Incarnation: 1 << 63}, {Name: "\xff", Blocks: 1},
	}
	require.Equal(s, want, s.workers())
	s.announce("b", 5)
	x := removalOf(&volatile[0])
	x.Tier = index.HBM
	require.Equal(s, 1, s.remove(x))
	want[1].Incarnation, want[1].Blocks = 5, index.Tiers-2
	require.Equal(s, want, s.workers())
	for _, name := range []string{"", "b", "\xff"} {
		_, err := s.ClearWorker(s.Context(), name)
		require.NoError(s, err)
	}
	require.Equal(s, []index.Worker{{Name: "b", Incarnation: 5}, {Name: "c", Incarnation: 1 << 63}}, s.workers(), "announced, or with records")
	require.NoError(s, s.Clear(s.Context()))
	require.Len(s, s.workers(), 2)
	for i, name := range oddities {
		s.announce(name, uint64(1+i))
	}
	got := map[string]uint64{}
	for _, w := range s.workers() {
		got[w.Name] = w.Incarnation
	}
	for i, name := range oddities {
		require.Equal(s, uint64(1+i), got[name], "%q", name)
	}
}

// testNamesAreCopied: a name may be a part of a large buffer, which no index keeps.
func testNamesAreCopied(s *subject) {
	put, announced := string([]byte("put")), string([]byte("announced"))
	s.put(block(index.Root, "b", put, index.HBM))
	s.announce(announced, 7)
	ws := s.workers()
	require.Equal(s, []string{announced, put}, []string{ws[0].Name, ws[1].Name})
	require.NotSame(s, unsafe.StringData(announced), unsafe.StringData(ws[0].Name))
	require.NotSame(s, unsafe.StringData(put), unsafe.StringData(ws[1].Name))
}

func testStale(s *subject) {
	volatile, lasting := tiers("w")
	s.put(slices.Concat(volatile, lasting)...)
	s.reopen()
	s.holds(lasting...)
	m := s.metrics()
	require.Equal(s, uint64(len(volatile)), m.StaleBlocks)
	require.Equal(s, uint64(10*len(lasting)), m.ResidentBytes)
	require.Equal(s, []index.Worker{{Name: "w", Stale: true, Blocks: uint64(len(lasting))}}, s.workers())
	s.matches("stale", index.Query{Scope: volatile[0].Scope, Hashes: []string{"b"}}, []index.Match{matchOf("w", lasting...)})
	s.put(lasting[0]) // not volatile: says nothing of the process
	s.holds(lasting...)
	s.announce("w", 3) // a worker that was never announced has no incarnation to be known by
	s.holds(lasting...)
	require.Zero(s, s.metrics().StaleBlocks)
	require.Equal(s, uint64(len(volatile)), s.metrics().Cleared)
	require.Equal(s, []index.Worker{{Name: "w", Incarnation: 3, Blocks: uint64(len(lasting))}}, s.workers())
}

// matchOf is the match of a prompt of one block with these records of a worker.
func matchOf(worker string, rs ...index.Record) index.Match {
	m := index.Match{Worker: worker, Blocks: 1}
	for _, r := range rs {
		m.InTier[r.Tier] = 1
	}
	return m
}

func testNeverStale(s *subject) {
	volatile, lasting := tiers("w")
	s.put(slices.Concat(volatile, lasting)...)
	s.announce("w", 1)
	s.reopen()
	s.holds(slices.Concat(volatile, lasting)...)
	s.announce("w", 1)
	s.holds(slices.Concat(volatile, lasting)...)
	s.announce("w", 2)
	s.holds(lasting...)
}

func testKnownIncarnation(s *subject) {
	same, lasting := tiers("same")
	another, more := tiers("another")
	unheard, rest := tiers("unheard")
	lasting = slices.Concat(lasting, more, rest)
	s.put(slices.Concat(same, another, unheard, lasting)...)
	for _, w := range []string{"same", "another", "unheard"} {
		s.announce(w, 5)
	}
	s.reopen()
	s.holds(lasting...)
	s.announce("same", 5)
	s.announce("another", 6)
	s.holds(slices.Concat(same, lasting)...)
	require.Equal(s, uint64(len(unheard)), s.metrics().StaleBlocks)
	s.announce("unheard", 5)
	s.holds(slices.Concat(same, unheard, lasting)...)
	s.announce("same", 5)
	require.Equal(s, []uint64{6, 5, 5}, []uint64{s.workers()[0].Incarnation, s.workers()[1].Incarnation, s.workers()[2].Incarnation})
}

func testPutConfirms(s *subject) {
	volatile, lasting := tiers("w")
	other, _ := tiers("other")
	s.put(slices.Concat(volatile, lasting, other)...)
	s.reopen()
	fresh := block("p", "fresh", "w", index.CPUDRAM)
	s.put(block("p", "fresh", "w", index.LocalSSD), fresh)
	want := append(slices.Clone(lasting), fresh, block("p", "fresh", "w", index.LocalSSD))
	s.holds(want...)
	require.Equal(s, uint64(len(other)), s.metrics().StaleBlocks, "those of another worker")
	s.announce("w", 9)
	s.holds(want...)
	s.put(volatile[0]) // again what was stale
	s.holds(append(want, volatile[0])...)
}

func testTakeStale(s *subject) {
	a, lasting := tiers("a")
	b, _ := tiers("b")
	c, _ := tiers("c")
	for i := range c {
		c[i].Pinned = true
	}
	s.put(slices.Concat(a, lasting, b, c)...)
	s.reopen()
	x := removalOf(&a[0])
	require.Equal(s, len(a)+len(lasting), s.remove(x))
	n, err := s.ClearWorker(s.Context(), "b")
	require.NoError(s, err)
	require.Equal(s, len(b), n)
	n, err = s.Expire(s.Context(), 1)
	require.NoError(s, err)
	require.Zero(s, n)
	require.Equal(s, uint64(len(c)), s.metrics().StaleBlocks)
	require.NoError(s, s.Clear(s.Context()))
	require.Zero(s, s.metrics().StaleBlocks)
	s.holds()
}

func testStaleTwice(s *subject) {
	volatile, lasting := tiers("w")
	s.put(slices.Concat(volatile, lasting)...)
	s.announce("w", 4)
	s.reopen()
	s.reopen()
	s.holds(lasting...)
	s.announce("w", 4)
	s.holds(slices.Concat(volatile, lasting)...)
	s.reopen()
	s.holds(lasting...)
	s.announce("w", 5)
	s.reopen()
	s.announce("w", 5)
	s.holds(lasting...)
}

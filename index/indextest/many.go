package indextest

import (
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// testManyKeys puts hashes that share beginnings of every length and go on with
// every byte, and removes them in another order, so that what keeps them grows,
// splits, shrinks and joins.
func testManyKeys(s *subject) {
	u := newUniverse(runSeed(s, 1))
	n := 3000
	switch {
	case racing: // for what it does beside the caller
		n = 200
	case s.config.Slow:
		n = 600
	}
	kept := map[string]index.Record{}
	for len(kept) < n {
		hash := make([]byte, u.IntN(7))
		for i := range hash {
			hash[i] = byte(u.IntN(256))
			if i < u.IntN(4) {
				hash[i] &= 3
			}
		}
		r := block([]string{"", "p"}[u.IntN(2)], string(hash), "w", index.LocalSSD)
		r.Bytes = u.Uint64()
		kept[r.Prefix+"/"+r.Hash] = r
	}
	sorted := func() []index.Record {
		var rs []index.Record
		for _, r := range kept {
			rs = append(rs, r)
		}
		index.Sort(rs)
		return rs
	}
	all := sorted()
	u.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for batch := range slices.Chunk(all, 100) {
		s.put(batch...)
	}
	requireRecords(s, sorted(), s.all())
	u.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for len(all) > 0 {
		var xs []index.Removal
		some := all[:min(len(all), n/8)]
		for i := range some {
			xs = append(xs, removalOf(&some[i]))
			for _, prefix := range []string{"", "p"} {
				delete(kept, prefix+"/"+some[i].Hash)
			}
		}
		all = all[len(some):]
		s.remove(xs...)
		left := sorted()
		requireRecords(s, left, s.all())
		behind := slices.DeleteFunc(slices.Clone(left), func(r index.Record) bool { return r.Prefix != "p" })
		requireRecords(s, behind, s.scan(some[0].Scope, "p"))
		if len(left) > 0 {
			r := left[u.IntN(len(left))]
			requireRecords(s, []index.Record{r}, s.locate(r.Key))
		}
	}
	s.holds()
}

// testManyScopes has more scopes and workers than fit into a byte.
func testManyScopes(s *subject) {
	n := 700
	switch {
	case racing: // one client, and numbers of any size are the same to the detector
		n = 60
	case s.config.Slow:
		n = 300
	}
	var rs []index.Record
	for i := range n {
		r := block(index.Root, "b", fmt.Sprint("w", i), index.LocalSSD)
		r.Tenant, r.Model = fmt.Sprint("tenant", i), fmt.Sprint("model", i%3)
		rs = append(rs, r, with(r, func(r *index.Record) { r.Tenant = "shared" }))
	}
	s.put(rs...)
	want := slices.Clone(rs)
	index.Sort(want)
	requireRecords(s, want, s.all())
	q := index.Query{Scope: rs[1].Scope, Hashes: []string{"b"}}
	got, err := s.Match(s.Context(), &q, nil)
	require.NoError(s, err)
	require.Len(s, got, (n+2)/3, "a third of the workers have the model")
	ws, err := s.Workers(s.Context())
	require.NoError(s, err)
	require.Len(s, ws, n)
	for i := range n / 2 {
		r := rs[2*i]
		requireRecords(s, []index.Record{r}, s.scan(r.Scope, index.Root))
		taken, err := s.ClearWorker(s.Context(), r.Worker)
		require.NoError(s, err)
		require.Equal(s, 2, taken)
	}
	want = slices.Clone(rs[n/2*2:])
	index.Sort(want)
	requireRecords(s, want, s.all())
	require.Equal(s, uint64(n-n/2), s.metrics().Workers)
}

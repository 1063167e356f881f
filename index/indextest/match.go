package indextest

import (
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// prompt returns hashes of a prompt of n blocks.
func prompt(n int) []string {
	hashes := make([]string, n)
	for i := range hashes {
		hashes[i] = fmt.Sprint("h", i)
	}
	return hashes
}

// chained returns the records of the first blocks of a prompt on a worker.
func chained(hashes []string, worker string, tier index.Tier) []index.Record {
	rs := make([]index.Record, len(hashes))
	parent := index.Root
	for i, h := range hashes {
		rs[i] = block(parent, h, worker, tier)
		rs[i].Index = uint32(i)
		parent = h
	}
	return rs
}

func testMatches(s *subject) {
	hashes := prompt(8)
	put := func(rs []index.Record, change func(i int, r *index.Record)) {
		for i := range rs {
			change(i, &rs[i])
		}
		s.put(rs...)
	}
	same := func(int, *index.Record) {}
	put(chained(hashes, "all", index.HBM), same)
	put(chained(hashes[:3], "some", index.CPUDRAM), same)
	put(chained(hashes, "hole", index.HBM)[:2], same)
	put(chained(hashes, "hole", index.HBM)[3:], same)
	put(chained(hashes, "headless", index.HBM)[1:], same)
	put(chained(hashes[:6], "tiers", index.HBM), func(i int, r *index.Record) {
		if i >= 2 {
			r.Tier = index.LocalSSD
		}
	})
	put(chained(hashes[:1], "tiers", index.LocalSSD), same)
	put(chained(hashes[:3], "orphan", index.HBM), func(i int, r *index.Record) {
		if i == 1 {
			r.Prefix = "" // its parent is not known
		}
	})
	put(chained(hashes[:5], "numbered", index.HBM), func(_ int, r *index.Record) { r.Index, r.Tokens = 0, 7 })
	put(chained(hashes[:4], "group", index.HBM), func(_ int, r *index.Record) { r.Group = 2 })
	put(chained(hashes[:4], "tenant", index.HBM), func(_ int, r *index.Record) { r.Tenant = "tenant-b" })
	put(chained(hashes[:4], "adapter", index.HBM), func(_ int, r *index.Record) { r.Adapter = index.Named("") })
	put(chained(hashes[:4], "parents", index.HBM), func(i int, r *index.Record) {
		if i == 2 {
			r.Prefix = "another"
		}
	})
	in := func(worker string, blocks, hbm, dram, ssd int) index.Match {
		m := index.Match{Worker: worker, Blocks: blocks}
		m.InTier[index.HBM], m.InTier[index.CPUDRAM], m.InTier[index.LocalSSD] = hbm, dram, ssd
		return m
	}
	scope := block("", "", "", 0).Scope
	for _, c := range []struct {
		name string
		q    index.Query
		want []index.Match
	}{
		{"the whole prompt", index.Query{Hashes: hashes}, []index.Match{
			in("all", 8, 8, 0, 0), in("tiers", 6, 2, 0, 1), in("numbered", 5, 5, 0, 0), in("orphan", 3, 3, 0, 0), in("some", 3, 0, 3, 0),
			in("hole", 2, 2, 0, 0), in("parents", 2, 2, 0, 0),
		}},
		{"a longer prompt", index.Query{Hashes: append(prompt(8), "more", "h0"), Workers: []string{"all"}}, []index.Match{in("all", 8, 8, 0, 0)}},
		{"its beginning", index.Query{Hashes: hashes[:1], Workers: []string{"some", "all", "nobody", "some", ""}}, []index.Match{in("all", 1, 1, 0, 0), in("some", 1, 0, 1, 0)}},
		{"another beginning", index.Query{Hashes: hashes[1:]}, []index.Match{in("orphan", 2, 2, 0, 0)}},
		{"another group", index.Query{Hashes: hashes, Group: 2}, []index.Match{in("group", 4, 4, 0, 0)}},
		{"no such group", index.Query{Hashes: hashes, Group: 3}, nil},
		{"nothing", index.Query{}, nil},
		{"unknown", index.Query{Hashes: []string{"x", "h0"}}, nil},
		{"the same block twice", index.Query{Hashes: []string{"h0", "h0"}, Workers: []string{"all"}}, []index.Match{in("all", 1, 1, 0, 0)}},
	} {
		c.q.Scope = scope
		s.matches(c.name, c.q, c.want)
	}
	other := index.Query{Scope: scope, Hashes: hashes}
	other.Tenant = "tenant-b"
	s.matches("another tenant", other, []index.Match{in("tenant", 4, 4, 0, 0)})
	other.Tenant = "tenant-c"
	s.matches("no tenant", other, nil)
}

func (s *subject) matches(name string, q index.Query, want []index.Match) {
	s.Helper()
	mine := index.Match{Worker: "the caller's own"}
	got, err := s.Match(s.Context(), &q, []index.Match{mine})
	require.NoError(s, err, name)
	require.Equal(s, append([]index.Match{mine}, want...), got, name)
}

// testRandomMatches compares with another oracle than the model: sets of what is
// resident, and each position looked up.
func testRandomMatches(s *subject) {
	u := newUniverse(runSeed(s, 1))
	hashes := prompt(60)
	type at struct {
		worker       string
		tier         index.Tier
		prefix, hash string
	}
	resident := map[at]bool{}
	var rs []index.Record
	for w := range 12 {
		worker := fmt.Sprint("w", w)
		tier := u.tier()
		for _, r := range chained(hashes[:u.IntN(len(hashes)+1)], worker, tier) {
			switch u.IntN(60) {
			case 0:
				continue
			case 1:
				r.Prefix = ""
			case 2:
				tier = u.tier()
			}
			r.Tier = tier
			for range 1 + u.IntN(2) {
				rs = append(rs, r)
				resident[at{worker, r.Tier, r.Prefix, r.Hash}] = true
				r.Tier = u.tier()
			}
		}
	}
	s.put(rs...)
	reach := func(worker string, tiers ...index.Tier) int {
		parent := index.Root
		for i, h := range hashes {
			found := false
			for _, t := range tiers {
				found = found || resident[at{worker, t, parent, h}] || resident[at{worker, t, "", h}]
			}
			if !found {
				return i
			}
			parent = h
		}
		return len(hashes)
	}
	var want []index.Match
	for w := range 12 {
		m := index.Match{Worker: fmt.Sprint("w", w)}
		m.Blocks = reach(m.Worker, 1, 2, 3, 4, 5)
		for t := index.Tier(1); t < index.Tiers; t++ {
			m.InTier[t] = reach(m.Worker, t)
		}
		if m.Blocks > 0 {
			want = append(want, m)
		}
	}
	sortMatches(want)
	s.matches("random", index.Query{Scope: rs[0].Scope, Hashes: hashes}, want)
}

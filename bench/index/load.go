package index

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/kvferry/kvferry/index"
)

// mixed lets one client, and then several at once, do all kinds of calls.
func (f *filled) mixed(ctx context.Context, rep *Population) error {
	for _, clients := range slices.Compact([]int{1, f.t.Clients}) {
		m, err := f.load(ctx, clients)
		if err != nil {
			return err
		}
		rep.Mixed = append(rep.Mixed, m)
	}
	return nil
}

// client is one of a mixed load. Each removes and puts records of its own part of
// the population, so that in the end every record is there again.
type client struct {
	f                        *filled
	draws                    draws
	first, own               int
	gone                     []int
	scan, put, remove, match []int64
	dst                      []index.Record
	matches                  []index.Match
}

func (f *filled) load(ctx context.Context, clients int) (Mixed, error) {
	cs := make([]client, clients)
	share := f.p.n / clients
	for i := range cs {
		cs[i] = client{f: f, draws: draws(i << 40), first: i * share, own: max(1, share)}
	}
	start := time.Now()
	err := together(clients, func(w int) error {
		for n := 0; n < 20 || time.Since(start) < f.t.Each; n++ {
			if err := cs[w].step(ctx, n); err != nil {
				return err
			}
		}
		return nil
	})
	all := time.Since(start)
	if err != nil {
		return Mixed{}, err
	}
	var sum client
	for i := range cs {
		c := &cs[i]
		sum.scan, sum.put = append(sum.scan, c.scan...), append(sum.put, c.put...)
		sum.remove, sum.match = append(sum.remove, c.remove...), append(sum.match, c.match...)
		for _, j := range c.gone {
			if err := f.x.Put(ctx, []index.Record{f.p.record(j)}); err != nil {
				return Mixed{}, err
			}
		}
	}
	ops := len(sum.scan) + len(sum.put) + len(sum.remove) + len(sum.match)
	return Mixed{
		Clients: clients, OpsPerSec: perSecond(ops, all), Scan: latency(sum.scan, 0), Put: latency(sum.put, 0),
		Remove: latency(sum.remove, 0), Match: latency(sum.match, 0),
	}, nil
}

// step does one call: of 20, 16 scan, 2 put, 1 removes and 1 matches.
func (c *client) step(ctx context.Context, n int) error {
	i := c.first + c.draws.below(c.own)
	s := harnessScope()
	switch n % 20 {
	case 3, 13:
		if len(c.gone) > 0 {
			i, c.gone = c.gone[len(c.gone)-1], c.gone[:len(c.gone)-1]
		}
		rs := []index.Record{c.f.p.record(i)}
		return clocked(&c.put, func() error { return c.f.x.Put(ctx, rs) })
	case 8:
		rs := []index.Removal{c.f.p.removal(i)}
		c.gone = append(c.gone, i)
		return clocked(&c.remove, func() error { _, err := c.f.x.Remove(ctx, rs); return err })
	case 18:
		q := index.Query{Scope: s, Hashes: c.f.p.prompt(i)}
		return clocked(&c.match, func() (err error) { c.matches, err = c.f.x.Match(ctx, &q, c.matches[:0]); return err })
	}
	prefix := hashOf(i) // the parent of one block, or of none where a prompt ends
	return clocked(&c.scan, func() (err error) { c.dst, err = c.f.x.Scan(ctx, &s, prefix, c.dst[:0]); return err })
}

// clocked adds the time that f takes.
func clocked(ns *[]int64, f func() error) error {
	start := time.Now()
	err := f()
	*ns = append(*ns, time.Since(start).Nanoseconds())
	return err
}

// The prompt that is matched: worker i of 64 holds the first (i+1)/64 of it.
const (
	matchBlocks = 2000
	shortMatch  = 256 // of a backend that is for few records
	matchCall   = 64  // records in a call
)

// prompt is how many blocks the prompt has that is matched.
func (b *Backend) prompt() int {
	if b.Most > 0 {
		return shortMatch
	}
	return matchBlocks
}

// matchRecords is how many records a prompt of so many blocks has.
func matchRecords(blocks int) (n int) {
	for w := range popWorkers {
		n += blocks * (w + 1) / popWorkers
	}
	return n
}

func matchWorkers() []string {
	var out []string
	for w := range popWorkers {
		out = append(out, fmt.Sprintf("match-%02d", w))
	}
	return out
}

// matchPrompt returns the scope and hashes of the prompt.
func matchPrompt(blocks int) *index.Query {
	q := &index.Query{Scope: harnessScope()}
	for i := range blocks {
		q.Hashes = append(q.Hashes, strconv.FormatUint(mix(1<<60+uint64(i)), 10))
	}
	return q
}

// match puts the records of a long prompt besides the population, and asks how
// much of it each worker holds: one client, and as many as there are cores.
func (f *filled) match(ctx context.Context, rep *Population) error {
	q := matchPrompt(f.b.prompt())
	for w, name := range matchWorkers() {
		if err := f.x.Announce(ctx, name, incarnation); err != nil {
			return err
		}
		rs := make([]index.Record, len(q.Hashes)*(w+1)/popWorkers)
		for i := range rs {
			rs[i] = index.Record{
				Key:    index.Key{Scope: q.Scope, Prefix: index.Root, Hash: q.Hashes[i], Index: uint32(i), Tokens: 64},
				Worker: name, Tier: index.HBM, Bytes: 4 << 20,
			}
			if i > 0 {
				rs[i].Prefix = q.Hashes[i-1]
			}
		}
		if err := spread(1, len(rs), matchCall, func(_, lo, hi int) error { return f.x.Put(ctx, rs[lo:hi]) }); err != nil {
			return err
		}
	}
	for _, clients := range slices.Compact([]int{1, numCPU()}) {
		m, err := f.matchBy(ctx, q, clients)
		if err != nil {
			return err
		}
		rep.Match = append(rep.Match, m)
	}
	return nil
}

// matchBy asks by clients at once.
func (f *filled) matchBy(ctx context.Context, q *index.Query, clients int) (Match, error) {
	took := make([][]int64, clients)
	start := time.Now()
	err := together(clients, func(w int) error {
		own := *q
		var dst []index.Match
		for len(took[w]) == 0 || time.Since(start) < f.t.Each {
			err := clocked(&took[w], func() (err error) { dst, err = f.x.Match(ctx, &own, dst[:0]); return err })
			if err != nil {
				return err
			}
			if len(dst) != popWorkers || dst[0].Blocks != len(q.Hashes) || dst[popWorkers-1].Blocks != len(q.Hashes)/popWorkers {
				return fmt.Errorf("match of %d workers is not what was put", len(dst))
			}
		}
		return nil
	})
	all := time.Since(start)
	ns := slices.Concat(took...)
	m := Match{Blocks: len(q.Hashes), Workers: popWorkers, Clients: clients, MatchesPerSec: perSecond(len(ns), all)}
	m.Call = latency(ns, popWorkers*len(ns))
	return m, err
}

package traces

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Synthetic makes a trace of conversations, the same for equal arguments.
//
// A conversation starts with one of 64 system prompts, whose popularity is
// Zipf's with exponent 1.1 and whose length is 1 to 8 blocks. Every turn sends
// all that was said before and 1 to about 60 new blocks (geometric, mean 6).
// Another turn follows with probability 0.7, after a pause that is exponential
// and as long, on average, as it takes 400 other requests to come. A tenth of
// all requests are single documents of 40 to 200 blocks that nobody asks for
// again, as scans are.
func Synthetic(seed uint64, requests int) *Trace {
	g := &generator{rand: rand.New(rand.NewPCG(seed, 0x7261636573))} //nolint:gosec // a workload, no secret
	g.waiting.before = func(a, b talk) bool { return a.at < b.at }
	for range 64 {
		g.prompts = append(g.prompts, g.fresh(1+g.rand.IntN(8)))
	}
	popular := rand.NewZipf(g.rand, 1.1, 1, uint64(len(g.prompts)-1))
	t := &Trace{Name: "synthetic"}
	for now := 0.0; len(t.Ends) < requests; now++ {
		switch {
		case g.rand.IntN(10) == 0:
			t.add(g.fresh(40 + g.rand.IntN(160)))
		case len(g.waiting.items) > 0 && g.waiting.items[0].at <= now:
			t.add(g.turn(g.waiting.pop(), now))
		default:
			t.add(g.turn(talk{said: g.prompts[popular.Uint64()]}, now))
		}
	}
	return t
}

// talk is a conversation that goes on at some time, counted in requests.
type talk struct {
	at   float64
	said []uint64
}

// generator is the state of a synthetic trace.
type generator struct {
	rand    *rand.Rand
	next    uint64
	prompts [][]uint64
	waiting queue[talk]
}

// fresh returns n blocks that were not there before.
func (g *generator) fresh(n int) []uint64 {
	out := make([]uint64, n)
	for i := range out {
		out[i] = g.next
		g.next++
	}
	return out
}

// turn returns the blocks of a conversation's next request.
func (g *generator) turn(c talk, now float64) []uint64 {
	n := min(60, 1+int(math.Floor(g.rand.ExpFloat64()*5)))
	c.said = slices.Concat(c.said, g.fresh(n))
	if g.rand.Float64() < 0.7 {
		c.at = now + g.rand.ExpFloat64()*400
		g.waiting.push(c)
	}
	return c.said
}

package lsm

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry/index"
)

// gate counts who uses the index, so that it is closed when nobody does.
type gate struct {
	users atomic.Int64 // below 0 when closed
	empty chan struct{}
	once  sync.Once
}

const gateClosed = math.MinInt64

func (g *gate) init() { g.empty = make(chan struct{}) }

// enter reports whether the gate is open. Then leave is called later.
func (g *gate) enter() bool {
	if g.users.Add(1) > 0 {
		return true
	}
	g.leave()
	return false
}

func (g *gate) leave() {
	if g.users.Add(-1) == gateClosed {
		g.once.Do(func() { close(g.empty) })
	}
}

// open reports whether nobody has closed the gate.
func (g *gate) open() bool { return g.users.Load() >= 0 }

// close waits until nobody is behind the gate, and reports whether it was open.
func (g *gate) close() bool {
	for {
		n := g.users.Load()
		if n < 0 {
			<-g.empty
			return false
		}
		if g.users.CompareAndSwap(n, n+gateClosed) {
			if n == 0 {
				g.once.Do(func() { close(g.empty) })
			}
			<-g.empty
			return true
		}
	}
}

// counts are the events that Metrics tells of.
type counts struct {
	puts, removes, scans, locates, matches, cleared, expired atomic.Uint64
}

func (c *counts) metrics() index.Metrics {
	return index.Metrics{
		Puts: c.puts.Load(), Removes: c.removes.Load(), PrefixScans: c.scans.Load(), Locates: c.locates.Load(),
		Matches: c.matches.Load(), Cleared: c.cleared.Load(), Expired: c.expired.Load(),
	}
}

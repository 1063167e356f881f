// Package crashtest checks what an index on disk holds after a crash: a Ledger
// says of each record which versions may be there, and a Scenario makes changes
// that are noted in it.
package crashtest

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// identity is what makes two records one.
type identity struct {
	key    index.Key
	worker string
	tier   index.Tier
}

func of(r *index.Record) identity {
	k := r.Key
	k.Tokens = 0
	return identity{k, r.Worker, r.Tier}
}

// versions are those that may be there; the zero Record is none.
type versions map[index.Record]struct{}

// Ledger is what may be there. It is safe for concurrent use.
type Ledger struct {
	// Parts: of a change that is under way or not flushed any part may be there.
	// Otherwise it is there whole or not at all, with all changes before it.
	Parts bool

	mu sync.Mutex
	state
}

type state struct {
	now     map[identity]index.Record
	killed  map[identity]versions // after the end of the process
	crashed map[identity]versions // after a power failure

	// since are the records in lasting tiers, as they were at the last Flush and
	// behind each change since; the first ended of them were acknowledged.
	since []map[identity]index.Record
	ended int

	begun, flushed uint64 // incarnations of the worker with volatile records
}

// NewLedger returns the ledger of an empty index.
func NewLedger() *Ledger {
	return &Ledger{state: state{
		now: map[identity]index.Record{}, killed: map[identity]versions{}, crashed: map[identity]versions{},
		since: []map[identity]index.Record{{}}, ended: 1,
	}}
}

// Frozen calls during while nothing begins and nothing ends, and returns the
// ledger of that time.
func (l *Ledger) Frozen(during func()) *Ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	during()
	c := NewLedger()
	c.Parts, c.since, c.ended = l.Parts, slices.Clone(l.since), l.ended // whose maps do not change
	c.begun, c.flushed, c.now = l.begun, l.flushed, maps.Clone(l.now)
	for id, v := range l.killed {
		c.killed[id] = maps.Clone(v)
	}
	for id, v := range l.crashed {
		c.crashed[id] = maps.Clone(v)
	}
	return c
}

// change is what an operation does: records by identity, the zero one if it is
// removed.
type change map[identity]index.Record

// begin notes an operation before it is made.
func (l *Ledger) begin(c change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, r := range c {
		for _, m := range [...]map[identity]versions{l.killed, l.crashed} {
			if m[id] == nil {
				m[id] = versions{{}: {}}
			}
			m[id][r] = struct{}{}
		}
	}
	next := maps.Clone(l.since[l.ended-1])
	for id, r := range c {
		switch {
		case r == index.Record{}:
			delete(next, id)
		case !id.tier.Volatile():
			next[id] = r
		}
	}
	l.since = append(l.since[:l.ended:l.ended], next)
}

// end notes that it is acknowledged.
func (l *Ledger) end(c change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, r := range c {
		l.now[id] = r
		l.killed[id] = versions{r: {}}
	}
	l.ended = len(l.since)
}

// flush notes that a Flush has returned.
func (l *Ledger) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.crashed {
		l.crashed[id] = versions{l.now[id]: {}}
	}
	l.flushed = l.begun
	l.since = l.since[l.ended-1:]
	l.ended = 1
}

// After is how the index ended.
type After bool

// The ends of an index.
const (
	Kill  After = false // of its process
	Crash After = true  // of the machine, or with a write that failed
)

// Check requires that an index that was opened again holds what it may.
func (l *Ledger) Check(t require.TestingT, x index.Index, end After) {
	if l.begun != 0 {
		require.NoError(t, x.Announce(context.Background(), Volatile, l.begun))
	}
	may := l.killed
	if end == Crash {
		may = l.crashed
	}
	found := map[identity]index.Record{}
	_, err := x.Snapshot(context.Background(), func(r *index.Record) error {
		found[of(r)] = *r
		return nil
	})
	require.NoError(t, err)
	for id, r := range found {
		require.Contains(t, may[id], r, "found what was never put, or is gone: %+v", r)
		if id.tier.Volatile() {
			require.Equal(t, l.begun, r.LastAccess, "of an incarnation that is gone: %+v", r)
		}
	}
	for id, v := range may {
		if _, ok := found[id]; ok || id.tier.Volatile() && l.flushed != l.begun {
			continue
		}
		require.Contains(t, v, index.Record{}, "lost: %+v", id)
	}
	if !l.Parts {
		l.whole(t, found, end)
	}
	m, err := x.Metrics(context.Background())
	require.NoError(t, err)
	require.EqualValues(t, len(found), m.ResidentBlocks)
	require.Zero(t, m.StaleBlocks)
}

// whole requires that what is found is one of the states that may be there.
func (l *Ledger) whole(t require.TestingT, found map[identity]index.Record, end After) {
	lasting := maps.Clone(found)
	maps.DeleteFunc(lasting, func(id identity, _ index.Record) bool { return id.tier.Volatile() })
	may := l.since
	if end == Kill {
		may = may[l.ended-1:]
	}
	for _, s := range may {
		if maps.Equal(s, lasting) {
			return
		}
	}
	require.Fail(t, "the records are of no state that was", "%d records, %d states", len(lasting), len(may))
}

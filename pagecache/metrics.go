package pagecache

import (
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
)

// Metrics is what a Pool counts: sums since it was made, and what is there now.
type Metrics struct {
	Hits         uint64 // frames that Get and GetOrFill found
	Misses       uint64
	Fills        uint64 // that succeeded
	FailedFills  uint64
	Joined       uint64 // callers that waited for somebody else's page, or its eviction
	Evictions    uint64
	EvictedBytes int64
	Waits        uint64 // callers that waited for room
	Refused      uint64 // callers that got none

	LimitBytes int64
	Bytes      int64 // taken of the limit, by whatever page
	Frames     int64 // published
	Pinned     int64 // pages that cannot be evicted now: referenced, reserved, or deleted and referenced
	Reserved   int64 // open reservations
	Pending    int64 // releases that wait for an event
	Fenced     int64 // references that are never released, because their event failed
}

// Metrics returns the counters. While others use the pool they need not fit
// each other. It looks at every page: it is for a report, not for each request.
func (p *Pool[K]) Metrics() Metrics {
	m := Metrics{
		Fills: p.fills.Load(), FailedFills: p.failedFills.Load(), Joined: p.joined.Load(),
		Evictions: p.evictions.Load(), EvictedBytes: p.evictedBytes.Load(),
		Waits: p.waits.Load(), Refused: p.refused.Load(),
		LimitBytes: p.limit.Load(), Bytes: p.used.Load(), Reserved: p.reserved.Load(),
		Pending: p.events.pending.Load(), Fenced: p.events.fenced.Load(),
	}
	idle := int64(0)
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		m.Hits += s.hits.Load()
		m.Misses += s.misses.Load()
		m.Frames += int64(s.index.live)
		for n := range s.index.table.Load().all() {
			state := n.page.state.Load()
			m.Hits += hits(state)
			if state&refMask == 0 {
				idle++
			}
		}
		s.mu.Unlock()
	}
	m.Pinned = max(0, p.pages.Load()-idle)
	return m
}

// Close ends the pool: every page is forgotten, without OnEvict, and what waits
// or comes later gets ErrClosed; a Get misses. Frames that are still referenced
// stay valid until their release. They are told in an error that wraps
// ErrUnknownOutcome, because only who holds them knows what becomes of them;
// another Close tells what is left then. Memory goes back to the allocator of
// the pool's own arena as it becomes free.
func (p *Pool[K]) Close() error {
	if !p.ended.Swap(true) {
		close(p.closed)
	}
	for i := range p.shards {
		p.shards[i].clear()
	}
	p.events.all()
	return errors.Join(p.leftOver(), p.closeArena(), load(p.freeErr.Load()))
}

func load(err *error) error {
	if err == nil {
		return nil
	}
	return *err
}

func (p *Pool[K]) leftOver() error {
	n := p.pages.Load()
	if n == 0 {
		return nil
	}
	err := fmt.Errorf("pagecache: close: %d frames (%d bytes) are in use: %d reservations are open, %d releases wait for an event, %d never end: %w",
		n, p.used.Load(), p.reserved.Load(), p.events.pending.Load(), p.events.fenced.Load(), kvferry.ErrUnknownOutcome)
	if cause := load(p.events.err.Load()); cause != nil {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	return err
}

func (p *Pool[K]) closeArena() error {
	if !p.owns {
		return nil
	}
	if err := p.arena.Close(); err != nil && !errors.Is(err, kvferry.ErrUnknownOutcome) { // leftOver tells of buffers
		return err
	}
	return nil
}

// clear forgets every page of the shard.
func (s *shard[K]) clear() {
	s.mu.Lock()
	var all []*page[K]
	for n := range s.index.table.Load().all() {
		all = append(all, n.page)
	}
	for _, g := range all {
		g.kill(s)
	}
	s.mu.Unlock()
	for _, g := range all {
		g.settle()
	}
}

package pagecache

import "sync/atomic"

// page is a frame with what the pool knows about it.
type page[K comparable] struct {
	Frame
	pool *Pool[K]
	buf  Buffer
	size int64                    // what it takes of the limit
	home atomic.Pointer[shard[K]] // changes under the mutexes of both shards

	// home's mutex guards these.
	node       *node[K] // the one in the table
	prev, next *page[K]
	seen       uint32 // uses when it was last looked at
	uses       uint8
	where      uint8

	first node[K] // saves an allocation
}

var _ owner = (*page[int])(nil)

// lockHome returns the page's shard with its mutex held.
func (p *page[K]) lockHome() *shard[K] {
	for {
		h := p.home.Load()
		h.mu.Lock()
		if p.home.Load() == h {
			return h
		}
		h.mu.Unlock()
	}
}

// settle does what is left to do when no reference is left.
func (p *page[K]) settle() {
	for {
		s := p.state.Load()
		switch {
		case s&(refMask|freed) != 0:
			return
		case s&dead != 0:
			if p.state.CompareAndSwap(s, s|freed) { // of all who see it, one frees it
				p.pool.discard(p)
				return
			}
		case s&parked != 0:
			p.unpark()
			return
		default:
			return
		}
	}
}

// unpark puts a page that was aside into its queue again.
func (p *page[K]) unpark() {
	h := p.lockHome()
	if p.where == asideS || p.where == asideM {
		p.state.And(^uint64(parked))
		h.policy.back(p)
	}
	h.mu.Unlock()
	p.pool.room.signal()
	p.pool.enforce()
}

// kill takes a live page out of the table and the queues. Its memory goes with
// its last reference; the caller calls settle, for there may be none.
func (p *page[K]) kill(h *shard[K]) {
	h.bury(p, p.state.Or(dead))
}

// fold carries hits over to the shard.
func (p *page[K]) fold() {
	s := p.state.Load()
	if s&hitTop != 0 && p.state.CompareAndSwap(s, s&^hitTop) {
		p.home.Load().hits.Add(hits(hitTop))
	}
}

func (p *page[K]) after(e Event) {
	p.pool.events.add(&p.Frame, e)
	p.pool.room.signal() // who waits for room has one more event to ask
}

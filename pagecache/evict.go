package pagecache

// evictOne evicts a page, of the given shard if it has one to spare, and tells
// whether it did.
func (p *Pool[K]) evictOne(near *shard[K]) bool {
	for {
		moves := p.moves.Load()
		for i := range p.shards {
			if p.evictFrom(&p.shards[(near.number+i)%len(p.shards)]) {
				return true
			}
		}
		if p.moves.Load() == moves { // else a page may have gone behind the walk
			return false
		}
	}
}

// evictFrom evicts a page of a shard. With a callback the key has a flight
// until the callback returns: who asks for the page to be filled waits, and
// then finds in the lower tier what was written there.
func (p *Pool[K]) evictFrom(s *shard[K]) bool {
	s.mu.Lock()
	g, state := s.policy.victim(s.index.live)
	if g == nil {
		s.mu.Unlock()
		return false
	}
	p.finish(s, g, state)
	return true
}

// finish evicts a page that is dead and ours. It unlocks the shard.
func (p *Pool[K]) finish(s *shard[K], g *page[K], state uint64) {
	n := g.node
	s.bury(g, state)
	var r *Reservation[K]
	if p.onEvict != nil {
		r = &Reservation[K]{pool: p, key: n.key, shard: s}
		s.flights[n.key] = r
	}
	s.mu.Unlock()
	p.evictions.Add(1)
	p.evictedBytes.Add(g.size)
	if r != nil {
		defer r.land(nil)
	}
	defer g.Release()
	if r != nil {
		p.onEvict(n.key, g.mem)
	}
}

// enforce evicts what exceeds the limit: after it was lowered, frames that
// were referenced then exceed it until they are released.
func (p *Pool[K]) enforce() { p.evictTo(p.limit.Load) }

// evictTo evicts until no more than a number of bytes is taken, from all shards
// in turn.
func (p *Pool[K]) evictTo(bytes func() int64) {
	for i := 0; p.used.Load() > bytes(); i++ {
		if !p.evictOne(&p.shards[i%len(p.shards)]) {
			return
		}
	}
}

// candidates is how many slabs clearSlab looks at: pages in them may be
// referenced.
const candidates = 16

// clearSlab evicts the pages of a slab with few buffers in use, all of another
// size than the given one, so that the slab can be used for this size. It
// tells whether any was evicted. It looks at every page, and makes room for as
// many as fit into the slab.
func (p *Pool[K]) clearSlab(size int64) bool {
	slabs := p.arena.sparse(size, candidates)
	if len(slabs) == 0 {
		return false
	}
	pages := map[*slab][]*page[K]{}
	for _, s := range slabs {
		pages[s] = nil
	}
	for i := range p.shards {
		for n := range p.shards[i].index.table.Load().all() {
			if in, ok := pages[n.page.buf.slab]; ok {
				pages[n.page.buf.slab] = append(in, n.page)
			}
		}
	}
	for _, s := range slabs {
		if p.evictAll(pages[s]) {
			return true
		}
	}
	return false
}

// evictAll evicts those of the pages that nobody references, and tells whether
// there were any.
func (p *Pool[K]) evictAll(pages []*page[K]) (some bool) {
	for _, g := range pages {
		h := g.lockHome()
		s := g.state.Load()
		if s&(refMask|dead) != 0 || !g.state.CompareAndSwap(s, (s|dead)+1) {
			h.mu.Unlock()
			continue
		}
		p.finish(h, g, s)
		some = true
	}
	return some
}

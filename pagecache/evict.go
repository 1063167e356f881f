package pagecache

// evictOne evicts a page, of the given shard if it has one to spare, and tells
// whether it did.
func (p *Pool[K]) evictOne(near *shard[K]) bool {
	for i := range p.shards {
		if p.evictFrom(&p.shards[(near.number+i)%len(p.shards)]) {
			return true
		}
	}
	return false
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
	return true
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

package pagecache

import (
	"fmt"

	"github.com/kvferry/kvferry"
)

// Delete makes a page unknown and tells whether it was there. Its memory is
// free when nobody references it any more. A fill that is under way is not
// touched and will publish.
func (p *Pool[K]) Delete(key K) bool {
	s, h := p.locate(key)
	s.mu.Lock()
	g := s.find(h, key)
	if g != nil {
		g.kill(s)
	}
	s.mu.Unlock()
	if g == nil {
		return false
	}
	g.settle()
	return true
}

// Rekey gives a page another key, whether it is referenced or not. A page that
// is not there is ErrNotFound; a new key that has a page, or will have one
// soon, is ErrExists, and nothing changes. For a moment nobody finds the page.
func (p *Pool[K]) Rekey(from, to K) error {
	a, ha := p.locate(from)
	b, hb := p.locate(to)
	defer p.room.signal() // who walks the shards for a page to evict may have missed it
	lockBoth(a, b)
	defer unlockBoth(a, b)
	g := a.find(ha, from)
	if g == nil {
		return fmt.Errorf("pagecache: rekey: %w", kvferry.ErrNotFound)
	}
	if from == to {
		return nil
	}
	if b.find(hb, to) != nil || b.flights[to] != nil {
		return fmt.Errorf("pagecache: rekey onto a page that is there or on its way: %w", kvferry.ErrExists)
	}
	a.index.remove(g.node)
	g.node = &node[K]{key: to, hash: hb, page: g}
	if a != b {
		g.move(a, b)
		p.moves.Add(1)
	}
	b.index.put(g.node)
	return nil
}

// move hands a page over to another shard's policy. Both mutexes are held.
func (p *page[K]) move(a, b *shard[K]) {
	where := p.where
	a.policy.leave(p)
	p.home.Store(b)
	if where == inSmall || where == inMain {
		b.policy.enter(p, where)
	} else {
		p.where = where // aside
	}
}

func lockBoth[K comparable](a, b *shard[K]) {
	if a.number > b.number {
		a, b = b, a
	}
	a.mu.Lock()
	if a != b {
		b.mu.Lock()
	}
}

func unlockBoth[K comparable](a, b *shard[K]) {
	a.mu.Unlock()
	if a != b {
		b.mu.Unlock()
	}
}

// Resize sets the limit and evicts what exceeds it. Frames in use may exceed a
// lower limit; nothing is added until they fit, and they are evicted as soon
// as they are released. The pool's own arena follows.
func (p *Pool[K]) Resize(limitBytes int64) error {
	if limitBytes < 1 {
		return fmt.Errorf("pagecache: resize a pool to %d bytes: %w", limitBytes, kvferry.ErrInvalid)
	}
	p.resizing.Lock()
	defer p.resizing.Unlock()
	if p.owns && limitBytes > p.limit.Load() { // before anybody needs it
		if err := p.arena.Resize(limitBytes); err != nil {
			return err
		}
	}
	p.limit.Store(limitBytes)
	p.events.all()
	p.enforce()
	p.room.signal()
	if !p.owns {
		return nil
	}
	return p.arena.Resize(limitBytes)
}

// Shrink evicts pages that nobody references until at most the given number of
// bytes is taken, and gives free memory of the pool's own arena back to its
// allocator. It returns how many bytes are taken then.
func (p *Pool[K]) Shrink(toBytes int64) (int64, error) {
	p.events.all()
	p.evictTo(func() int64 { return toBytes })
	var err error
	if p.owns {
		err = p.arena.Trim()
	}
	return p.used.Load(), err
}

// Range calls f with published pages until it returns false. The frame is
// referenced during the call; that counts as no use. Pages that come, go or
// change their key meanwhile may be left out or, after Rekey, come twice.
func (p *Pool[K]) Range(f func(key K, frame *Frame) bool) {
	for i := range p.shards {
		for n := range p.shards[i].index.table.Load().all() {
			if n.page.borrow() && !lend(n, f) {
				return
			}
		}
	}
}

func lend[K comparable](n *node[K], f func(K, *Frame) bool) bool {
	defer n.page.Release()
	return f(n.key, &n.page.Frame)
}

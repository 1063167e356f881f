package pagecache

import (
	"sync"
	"sync/atomic"
)

// shard is a part of the keys. Hits and misses read the table alone; the mutex
// is for changes.
type shard[K comparable] struct {
	number int
	index  index[K] // its table is read without the mutex
	_      [64]byte // what misses write shall not disturb those who read the table

	misses atomic.Uint64
	hits   atomic.Uint64 // of pages that are gone, and what frames carried over

	mu      sync.Mutex
	policy  policy[K]
	flights map[K]*Reservation[K]
	_       [64]byte
}

func (s *shard[K]) find(hash uint64, key K) *page[K] { return s.index.table.Load().find(hash, key) }

// bury takes a page that has just died out of everything. The mutex is held.
func (s *shard[K]) bury(g *page[K], state uint64) {
	s.index.remove(g.node)
	s.policy.leave(g)
	s.hits.Add(hits(state))
}

// publish makes a page found. The mutex is held and the key is not there.
func (s *shard[K]) publish(g *page[K], n *node[K]) {
	g.node = n
	g.home.Store(s)
	s.policy.add(g)
	s.index.put(n)
}

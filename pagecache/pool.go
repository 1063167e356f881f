package pagecache

import (
	"fmt"
	"hash/maphash"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry"
)

// Options describe a Pool. LimitBytes must be set.
type Options[K comparable] struct {
	// LimitBytes bounds the bytes of all frames, rounded as RoundedBytes does:
	// published, reserved, and deleted ones that are still referenced.
	LimitBytes int64
	// Arena provides the memory; the pool does not close it. nil means one of
	// the pool's own, with the same limit and Allocator. Pages of a new size
	// may then cost more evictions than bytes, because a slab of other pages
	// has to go as a whole; an arena that is larger than the pool has room. Who
	// waits for room is not told of what others free in an arena that is shared.
	Arena *Arena
	// Allocator is for the pool's own arena; nil means Anonymous.
	Allocator Allocator
	// Shards is how many parts the keys are divided into, a power of two. 0
	// means some per processor. A hit takes no lock, so few are enough.
	Shards int
	// Hash is for keys that are hashes already. nil means maphash.Comparable.
	Hash func(key K) uint64
	// OnEvict is called with each page that is evicted to make room, while its
	// bytes are valid and after it can no longer be found, to write it to a
	// lower tier. It runs without locks in the goroutine that needs the room,
	// or that releases a frame after the limit was lowered, and may use the
	// pool; but until it returns, a fill or reservation of the same key waits.
	OnEvict func(key K, mem []byte)
}

// Validate returns ErrInvalid if the options cannot make a pool.
func (o Options[K]) Validate() error {
	if o.LimitBytes < 1 || o.Shards < 0 || o.Shards > maxShards || o.Shards&(o.Shards-1) != 0 {
		return fmt.Errorf("pagecache: a pool of %d bytes in %d shards (want a power of two up to %d): %w",
			o.LimitBytes, o.Shards, maxShards, kvferry.ErrInvalid)
	}
	if o.Arena != nil && o.Allocator != nil {
		return fmt.Errorf("pagecache: a pool with both an arena and an allocator: %w", kvferry.ErrInvalid)
	}
	return nil
}

const maxShards = 256

// slabsPerPool is about how many slabs a full pool has: where pages have
// several sizes, a slab is what goes over from one to another.
const slabsPerPool = 64

func (o *Options[K]) ensureDefaults() {
	if o.Shards == 0 {
		o.Shards = min(maxShards, 1<<bits.Len(uint(2*runtime.GOMAXPROCS(0)-1)))
	}
	if o.Hash == nil {
		seed := maphash.MakeSeed()
		o.Hash = func(key K) uint64 { return maphash.Comparable(seed, key) }
	}
}

// Pool keeps pages in memory by key, within a limit of bytes. It is safe for
// concurrent use.
type Pool[K comparable] struct {
	shards  []shard[K]
	shift   int
	hash    func(K) uint64
	onEvict func(K, []byte)
	arena   *Arena
	owns    bool // the arena

	room   room
	events events
	closed chan struct{}

	resizing     sync.Mutex // two limits, the arena's and this, change together
	limit        atomic.Int64
	used         atomic.Int64 // bytes of all pages and of those being made
	pages        atomic.Int64 // with memory
	reserved     atomic.Int64
	ended        atomic.Bool
	fills        atomic.Uint64
	failedFills  atomic.Uint64
	joined       atomic.Uint64
	evictions    atomic.Uint64
	evictedBytes atomic.Int64
	waits        atomic.Uint64
	refused      atomic.Uint64
	moves        atomic.Uint64 // of pages from shard to shard
	freeErr      atomic.Pointer[error]
}

// New makes a pool. It takes memory when pages come.
func New[K comparable](o Options[K]) (*Pool[K], error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.ensureDefaults()
	p := &Pool[K]{
		shards: make([]shard[K], o.Shards), shift: 64 - bits.TrailingZeros(uint(o.Shards)),
		hash: o.Hash, onEvict: o.OnEvict, arena: o.Arena, closed: make(chan struct{}),
	}
	p.limit.Store(o.LimitBytes)
	for i := range p.shards {
		s := &p.shards[i]
		s.number, s.flights = i, map[K]*Reservation[K]{}
		s.index.init()
	}
	if p.arena == nil {
		slab := min(max(o.LimitBytes/slabsPerPool, firstSlab), DefaultSlabBytes)
		a, err := NewArena(ArenaOptions{LimitBytes: o.LimitBytes, SlabBytes: slab, Allocator: o.Allocator})
		if err != nil {
			return nil, err
		}
		p.arena, p.owns = a, true
	}
	return p, nil
}

// locate returns the shard of a key and its hash. The hash is mixed, because
// the shard comes from its upper bits and the slot from the lower ones.
func (p *Pool[K]) locate(key K) (*shard[K], uint64) {
	hi, lo := bits.Mul64(p.hash(key)^0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93)
	h := hi ^ lo
	return &p.shards[h>>p.shift], h
}

// Get returns the frame of a published page, with a reference that the caller
// must release. It takes no lock and allocates nothing.
func (p *Pool[K]) Get(key K) (*Frame, bool) {
	s, h := p.locate(key)
	if g := s.find(h, key); g != nil && g.acquire() {
		return &g.Frame, true
	}
	s.misses.Add(1)
	return nil, false
}

// Contains tells whether Get would find the page now. It counts as no use.
func (p *Pool[K]) Contains(key K) bool {
	s, h := p.locate(key)
	g := s.find(h, key)
	return g != nil && g.state.Load()&dead == 0
}

// Poll releases the frames whose events have happened and returns how many
// these were.
func (p *Pool[K]) Poll() int { return p.events.all() }

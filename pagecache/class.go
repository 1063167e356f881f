package pagecache

import (
	"fmt"
	"math/bits"
	"sync"

	"github.com/kvferry/kvferry"
)

const (
	grain     = 64        // buffers begin on cache lines
	steps     = 64        // size classes from one power of two to the next: 1.6 % of waste at worst
	fineBytes = 64 * 64   // up to here every multiple of grain is a class
	maxBytes  = 1 << 40   // longest buffer
	firstSlab = 256 << 10 // a class begins with a slab of so many bytes and doubles what it has
	classes   = fineBytes/grain + (40-12)*steps + 1
)

// classOf returns the number of the size class of buffers of n bytes, and the
// bytes that each of its buffers has. Powers of two are exact.
func classOf(n int64) (index int, size int64) {
	if n <= fineBytes {
		index = max(1, int((n+grain-1)/grain))
		return index, int64(index) * grain
	}
	shift := bits.Len64(uint64(n-1)) - 7 // 64 steps: the top bit and six below it
	k := (n + 1<<shift - 1) >> shift     // 65 to 128
	return fineBytes/grain + (shift-6)*steps + int(k) - steps, k << shift
}

// class is the set of slabs with buffers of one size.
type class struct {
	arena *Arena
	size  int64

	grow sync.Mutex // held while a slab is made; taken before mu

	mu    sync.Mutex
	free  *slab // ring of the slabs with free slots; what is taken next first
	slabs int
	bytes int64 // of the slots of all slabs
	used  int64 // slots in use
	empty *slab // the one slab without a used slot that is kept; also in the ring
}

// take returns a free slot, if there is one.
func (c *class) take(n int) (Buffer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.free
	if s == nil {
		return Buffer{}, false
	}
	slot, generation := s.pop()
	c.used++
	if s == c.empty {
		c.empty = nil
	}
	if s.used == s.slots {
		c.unlinkLocked(s)
	}
	return Buffer{slab: s, slot: slot, generation: generation, bytes: n}, true
}

// give takes a slot back. It returns a slab that nobody needs any more.
func (c *class) give(b Buffer, keep bool) (*slab, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := b.slab
	if s.generations[b.slot].Load() != b.generation {
		return nil, fmt.Errorf("pagecache: buffer of %d bytes was freed before: %w", b.bytes, kvferry.ErrInvalid)
	}
	if s.used == s.slots {
		c.linkLocked(s)
	}
	s.push(b.slot)
	c.used--
	if s.used > 0 {
		return nil, nil
	}
	if keep && c.empty == nil {
		c.empty = s
		return nil, nil
	}
	return c.dropLocked(s), nil
}

// spare takes away the empty slab that is kept, if there is one.
func (c *class) spare() *slab {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.empty == nil {
		return nil
	}
	return c.dropLocked(c.empty)
}

// add takes in a new slab and hands out its first slot.
func (c *class) add(s *slab, n int) Buffer {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slabs++
	c.bytes += s.slots64() * c.size
	c.used++
	slot, generation := s.pop()
	if s.used < s.slots {
		c.linkLocked(s)
	}
	return Buffer{slab: s, slot: slot, generation: generation, bytes: n}
}

func (c *class) dropLocked(s *slab) *slab {
	c.unlinkLocked(s)
	c.slabs--
	c.bytes -= s.slots64() * c.size
	if c.empty == s {
		c.empty = nil
	}
	return s
}

// linkLocked puts s last, so that slabs which have been in use for longer fill up
// and others get a chance to become empty.
func (c *class) linkLocked(s *slab) {
	if c.free == nil {
		s.next, s.prev, c.free = s, s, s
		return
	}
	s.next, s.prev = c.free, c.free.prev
	s.prev.next, s.next.prev = s, s
}

func (c *class) unlinkLocked(s *slab) {
	if s.next == s {
		c.free = nil
	} else {
		s.prev.next, s.next.prev = s.next, s.prev
		if c.free == s {
			c.free = s.next
		}
	}
	s.next, s.prev = nil, nil
}

// wantedSlots returns how many slots the next slab should have.
func (c *class) wantedSlots() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(1, min(max(c.bytes, firstSlab), c.arena.slabBytes)/c.size)
}

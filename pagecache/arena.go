package pagecache

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/kvferry/kvferry"
)

// DefaultSlabBytes is how much memory an arena takes from its allocator at a
// time, once it has grown that large.
const DefaultSlabBytes = 32 << 20

// ArenaOptions describe an Arena. LimitBytes must be set.
type ArenaOptions struct {
	// LimitBytes bounds the memory that the arena holds, in use or not. Each
	// slab takes 128 bytes more, for alignment and for reads past its end.
	LimitBytes int64
	// SlabBytes bounds what is taken from the allocator at a time; a buffer
	// that is longer has a slab of its own. 0 means DefaultSlabBytes.
	SlabBytes int64
	// Allocator provides the slabs. nil means Anonymous.
	Allocator Allocator
}

// Validate returns ErrInvalid if the options cannot make an arena.
func (o ArenaOptions) Validate() error {
	if o.LimitBytes < 1 || o.SlabBytes < 0 || o.SlabBytes > grain*math.MaxInt32 {
		return fmt.Errorf("pagecache: arena of %d bytes in slabs of %d: %w", o.LimitBytes, o.SlabBytes, kvferry.ErrInvalid)
	}
	return nil
}

// Arena hands out buffers outside the Go heap. They are cut from slabs, each
// for buffers of one size class: sizes up to 4 KiB are rounded to 64 bytes,
// longer ones by less than 1.6 %, powers of two not at all. Allocating and
// freeing take constant time and one mutex of the size class; a slab is made
// without it. What the slabs hold counts against the limit, so that free room
// of one size is not there for another before its slab is wholly free.
//
// An Arena is safe for concurrent use.
type Arena struct {
	alloc     Allocator
	slabBytes int64
	classes   [classes]atomic.Pointer[class]

	limit   atomic.Int64
	held    atomic.Int64 // bytes of the slots of all slabs, and of slabs being made
	mapped  atomic.Int64 // what the allocator gave
	allocs  atomic.Int64 // of slabs
	frees   atomic.Int64
	refused atomic.Int64
	closed  atomic.Bool
}

// NewArena makes an arena. It takes memory when buffers are asked for.
func NewArena(o ArenaOptions) (*Arena, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	a := &Arena{alloc: o.Allocator, slabBytes: o.SlabBytes}
	if a.alloc == nil {
		a.alloc = Anonymous()
	}
	if a.slabBytes == 0 {
		a.slabBytes = DefaultSlabBytes
	}
	a.limit.Store(o.LimitBytes)
	return a, nil
}

// RoundedBytes returns what a buffer of n bytes takes of an arena.
func RoundedBytes(n int) int64 {
	_, size := classOf(int64(n))
	return size
}

// Alloc returns a buffer of exactly n bytes with any content: zeros or what
// was in a buffer that was freed. What the limit or the allocator has no room
// for is ErrOutOfMemory.
func (a *Arena) Alloc(n int) (Buffer, error) {
	if n < 0 || int64(n) > maxBytes {
		return Buffer{}, fmt.Errorf("pagecache: allocate %d bytes: %w", n, kvferry.ErrInvalid)
	}
	if a.closed.Load() {
		return Buffer{}, fmt.Errorf("pagecache: allocate %d bytes: %w", n, kvferry.ErrClosed)
	}
	c := a.classFor(n)
	if b, ok := c.take(n); ok {
		return b, nil
	}
	c.grow.Lock()
	defer c.grow.Unlock()
	if b, ok := c.take(n); ok { // somebody made a slab or freed a buffer meanwhile
		return b, nil
	}
	b, err := a.growClass(c, n)
	if err != nil {
		a.refused.Add(1)
	}
	return b, err
}

func (a *Arena) classFor(n int) *class {
	index, size := classOf(int64(n))
	if c := a.classes[index].Load(); c != nil {
		return c
	}
	c := &class{arena: a, size: size}
	if !a.classes[index].CompareAndSwap(nil, c) {
		return a.classes[index].Load()
	}
	return c
}

// Free takes a buffer back. A buffer that is free already, is of another arena
// or is the zero Buffer is ErrInvalid, and changes nothing.
func (a *Arena) Free(b Buffer) error {
	if b.slab == nil || b.slab.class.arena != a {
		return fmt.Errorf("pagecache: free a buffer that is not of this arena: %w", kvferry.ErrInvalid)
	}
	c := b.slab.class
	s, err := c.give(b, a.keeps())
	if err != nil {
		return err
	}
	if s != nil {
		return a.release(s)
	}
	if !a.keeps() { // since a moment ago: an empty slab may have been kept
		return a.Trim()
	}
	return nil
}

// keeps tells whether a slab that becomes empty is kept for the next buffers.
func (a *Arena) keeps() bool { return !a.closed.Load() && a.held.Load() <= a.limit.Load() }

// Trim gives slabs without a buffer in use back to the allocator.
func (a *Arena) Trim() error {
	var errs []error
	for i := range a.classes {
		c := a.classes[i].Load()
		if c == nil {
			continue
		}
		if s := c.spare(); s != nil {
			errs = append(errs, a.release(s))
		}
	}
	return errors.Join(errs...)
}

// Resize sets the limit. Buffers in use stay; while they exceed the limit no
// slab is added, and slabs go as soon as they are free.
func (a *Arena) Resize(limitBytes int64) error {
	if limitBytes < 1 {
		return fmt.Errorf("pagecache: resize an arena to %d bytes: %w", limitBytes, kvferry.ErrInvalid)
	}
	a.limit.Store(limitBytes)
	if a.held.Load() > limitBytes {
		return a.Trim()
	}
	return nil
}

// ArenaStats is what an Arena counts.
type ArenaStats struct {
	LimitBytes  int64
	HeldBytes   int64 // in slabs: counts against the limit
	MappedBytes int64 // taken from the allocator: HeldBytes and 128 bytes per slab
	UsedBytes   int64 // of buffers, rounded to their size class
	Buffers     int64 // in use
	Slabs       int64
	SlabAllocs  int64 // slabs taken from the allocator so far
	SlabFrees   int64 // slabs given back
	Refused     int64 // allocations that ended in ErrOutOfMemory
}

// Stats returns the counters. While others allocate they need not fit each
// other.
func (a *Arena) Stats() ArenaStats {
	st := ArenaStats{
		LimitBytes: a.limit.Load(), HeldBytes: a.held.Load(), MappedBytes: a.mapped.Load(),
		SlabAllocs: a.allocs.Load(), SlabFrees: a.frees.Load(), Refused: a.refused.Load(),
	}
	for i := range a.classes {
		c := a.classes[i].Load()
		if c == nil {
			continue
		}
		c.mu.Lock()
		st.Slabs += int64(c.slabs)
		st.Buffers += c.used
		st.UsedBytes += c.used * c.size
		c.mu.Unlock()
	}
	return st
}

// Close ends the arena: Alloc is ErrClosed from now on. Buffers that are still
// in use are told in an error that wraps ErrUnknownOutcome, because somebody
// may touch them; they stay valid, and their memory goes when they are freed. A
// second Close tells what is in use then.
func (a *Arena) Close() error {
	a.closed.Store(true)
	err := a.Trim()
	if st := a.Stats(); st.Buffers > 0 {
		err = errors.Join(err, fmt.Errorf("pagecache: close an arena: %d buffers (%d bytes) are in use and keep their memory: %w",
			st.Buffers, st.UsedBytes, kvferry.ErrUnknownOutcome))
	}
	return err
}

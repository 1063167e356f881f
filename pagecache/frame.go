package pagecache

import "sync/atomic"

// The state of a frame is one word, so that a hit and its release are one
// atomic addition each:
//
//	bit  0..27  references
//	bit 28      dead: no longer found; the memory goes with the last reference
//	bit 29      freed: the memory is gone, or somebody is about to free it
//	bit 30      parked: out of the queues while it is referenced
//	bit 32..63  hits; what reaches bit 63 is carried over to the shard
const (
	refMask = 1<<28 - 1
	dead    = 1 << 28
	freed   = 1 << 29
	parked  = 1 << 30
	hitOne  = 1 << 32
	hitTop  = 1 << 63
)

func hits(state uint64) uint64 { return state >> 32 }

// Frame is a page in memory, with references. Who was given a Frame holds one
// and gives it up by one Release or ReleaseAfter; its bytes do not move and are
// not freed before that, whatever happens to its key. Its methods are safe for
// concurrent use. Writing to a published frame is the business of those who
// hold it: the pool never writes, and reads only in an eviction, when nobody
// holds it.
//
// A method that is called with no reference left at all panics, and a Frame
// never becomes the frame of another key. Not detected is a release too many
// while others hold references, or get one at that moment: it takes theirs.
type Frame struct {
	state atomic.Uint64
	mem   []byte
	owner owner
}

// owner is a page of whatever kind of key.
type owner interface {
	settle()     // after the last reference of a dead or parked frame
	fold()       // when the count of hits fills its bits
	after(Event) // release later
}

// Bytes returns the frame's memory, aligned to 64 bytes, for as long as the
// caller holds a reference.
func (f *Frame) Bytes() []byte {
	f.check()
	return f.mem
}

// Len returns the number of bytes.
func (f *Frame) Len() int { return len(f.mem) }

// Retain adds a reference. The caller must hold one.
func (f *Frame) Retain() {
	if s := f.state.Add(1); s&refMask == 1 {
		f.state.Add(^uint64(0))
		panic("pagecache: retain of a released frame")
	}
}

// Release gives up one reference.
func (f *Frame) Release() {
	s := f.state.Add(^uint64(0))
	if refs := s & refMask; refs == 0 && s&(dead|parked) != 0 {
		f.owner.settle()
	} else if refs == refMask {
		f.state.Add(1)
		panic("pagecache: frame released more often than held")
	}
}

// ReleaseAfter gives up one reference once e is done, without waiting for it. No
// goroutine waits either: see Event.
func (f *Frame) ReleaseAfter(e Event) {
	f.check()
	f.owner.after(e)
}

func (f *Frame) check() {
	if f.state.Load()&refMask == 0 {
		panic("pagecache: frame used after its last release")
	}
}

// acquire takes a reference and counts a hit, unless the frame is dead.
func (f *Frame) acquire() bool {
	s := f.state.Add(hitOne | 1)
	return s&(dead|hitTop) == 0 || f.acquired(s)
}

func (f *Frame) acquired(s uint64) bool {
	if s&dead == 0 {
		f.owner.fold()
		return true
	}
	f.undo(hitOne | 1)
	return false
}

// borrow takes a reference that is no hit, unless the frame is dead.
func (f *Frame) borrow() bool {
	if f.state.Add(1)&dead == 0 {
		return true
	}
	f.undo(1)
	return false
}

// undo takes back what was added to a dead frame; the last reference may have
// gone meanwhile, and whoever gave it up left the memory to us.
func (f *Frame) undo(n uint64) {
	if f.state.Add(-n)&refMask == 0 {
		f.owner.settle()
	}
}

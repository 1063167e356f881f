// Package staging holds the host memory that pages pass through on their way
// between an engine and a store.
//
// Memory is taken once, in extents of equal size, each a whole number of page
// frames. A filler acquires an extent, puts pages into its frames and hands
// the frames on; whoever is done with a frame releases it, and when nobody
// holds any part of an extent it is free again. With two or more extents the
// next one is filled while the last is hashed and stored. How much memory a
// capture or restore uses is therefore fixed when the ring is made, whatever
// the size of the cache; in steady state nothing is allocated.
package staging

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry"
)

// Defaults of Options.
const (
	DefaultExtentBytes = 8 << 20
	DefaultExtents     = 4
	// DefaultMaxFrames bounds the frames of one extent, so that tiny pages do
	// not cost more bookkeeping than memory.
	DefaultMaxFrames = 4096
)

// Options describe a Ring. FrameBytes must be set; the rest has defaults.
type Options struct {
	FrameBytes  int // length of a page; 0 is legal
	ExtentBytes int // upper bound of an extent, rounded down to whole frames, at least one frame
	MaxFrames   int // bound of the frames of one extent; 0 means DefaultMaxFrames
	Extents     int // number of extents, at least 2
	Allocator   Allocator
}

func (o *Options) ensureDefaults() {
	if o.ExtentBytes == 0 {
		o.ExtentBytes = DefaultExtentBytes
	}
	if o.MaxFrames == 0 {
		o.MaxFrames = DefaultMaxFrames
	}
	if o.Extents == 0 {
		o.Extents = DefaultExtents
	}
	if o.Allocator == nil {
		o.Allocator = Anonymous()
	}
}

// Validate returns ErrInvalid if the options cannot make a ring.
func (o Options) Validate() error {
	if o.FrameBytes < 0 || o.ExtentBytes < 0 || o.MaxFrames < 0 || o.Extents < 0 || o.Extents == 1 {
		return fmt.Errorf("staging: %d extents of %d bytes for frames of %d bytes (want at least 2 extents): %w",
			o.Extents, o.ExtentBytes, o.FrameBytes, kvferry.ErrInvalid)
	}
	return nil
}

// Ring is a fixed set of extents. It is safe for concurrent use.
type Ring struct {
	extents []*Extent
	free    chan *Extent
	alloc   Allocator
	frames  int // per extent
	fenced  atomic.Int64
	closed  chan struct{}
	once    sync.Once
}

// NewRing allocates a ring. Its memory is touched when it returns.
func NewRing(o Options) (*Ring, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.ensureDefaults()
	n := o.MaxFrames
	if o.FrameBytes > 0 {
		n = min(n, max(1, o.ExtentBytes/o.FrameBytes))
	}
	r := &Ring{alloc: o.Allocator, frames: n, free: make(chan *Extent, o.Extents), closed: make(chan struct{})}
	for range o.Extents {
		mem, err := o.Allocator.Allocate(n * o.FrameBytes)
		if err != nil {
			return nil, joinClose(fmt.Errorf("staging: %d extents of %d frames of %d bytes: %w", o.Extents, n, o.FrameBytes, err), r)
		}
		e := newExtent(r, mem, n, o.FrameBytes)
		r.extents = append(r.extents, e)
		r.free <- e
	}
	return r, nil
}

// Frames returns the number of frames of each extent.
func (r *Ring) Frames() int { return r.frames }

// Extents returns the number of extents.
func (r *Ring) Extents() int { return len(r.extents) }

// Fenced returns the number of extents that will never be used again because
// a copy that involves them could not be driven to its end.
func (r *Ring) Fenced() int { return int(r.fenced.Load()) }

// Acquire waits for a free extent. The caller holds it until Extent.Release.
func (r *Ring) Acquire(ctx context.Context) (*Extent, error) {
	if e := r.TryAcquire(); e != nil {
		return e, nil
	}
	if r.isClosed() {
		return nil, fmt.Errorf("staging: acquire: %w", kvferry.ErrClosed)
	}
	if len(r.extents) == r.Fenced() {
		return nil, fmt.Errorf("staging: every extent is fenced: %w", kvferry.ErrOutOfMemory)
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("staging: acquire: %w", context.Cause(ctx))
	case <-r.closed:
		return nil, fmt.Errorf("staging: acquire: %w", kvferry.ErrClosed)
	case e := <-r.free:
		return e.take(), nil
	}
}

// TryAcquire returns a free extent, or nil if there is none right now or the
// ring is closed.
func (r *Ring) TryAcquire() *Extent {
	if r.isClosed() { // what is let go just as the ring closes may get to the channel
		return nil
	}
	return r.tryTake()
}

func (r *Ring) tryTake() *Extent {
	select {
	case e := <-r.free:
		return e.take()
	default:
		return nil
	}
}

func (r *Ring) isClosed() bool {
	select {
	case <-r.closed:
		return true
	default:
		return false
	}
}

// Close frees the memory of the extents that nobody holds; none is handed out
// any more. Extents that are held or fenced keep their memory, because somebody
// may still touch it; they are reported as an error that wraps
// ErrUnknownOutcome. A second Close does nothing.
func (r *Ring) Close() error {
	var err error
	r.once.Do(func() {
		close(r.closed)
		freed := 0
		for { // whoever takes an extent off the channel owns it
			e := r.tryTake()
			if e == nil {
				break
			}
			if ferr := r.alloc.Free(e.mem); ferr != nil && err == nil {
				err = ferr
			}
			freed++ // still marked as held: it never gets back to the channel
		}
		if busy := len(r.extents) - freed; busy > 0 && err == nil {
			err = fmt.Errorf("staging: close: %d of %d extents are still held or fenced and keep their memory: %w",
				busy, len(r.extents), kvferry.ErrUnknownOutcome)
		}
	})
	return err
}

// joinClose closes a ring that could not be completed and returns cause.
func joinClose(cause error, r *Ring) error {
	if err := r.Close(); err != nil {
		return fmt.Errorf("%w (and: %w)", cause, err)
	}
	return cause
}

package staging

import "sync/atomic"

// Extent is one transfer unit: contiguous memory that holds a whole number of
// frames. It is held by whoever acquired it and by every frame in use, and
// returns to its ring when the last of them lets go.
type Extent struct {
	ring   *Ring
	mem    []byte
	frames []Frame
	refs   atomic.Int32
	fenced atomic.Bool
}

func newExtent(r *Ring, mem []byte, n, frameBytes int) *Extent {
	e := &Extent{ring: r, mem: mem, frames: make([]Frame, n)}
	for i := range e.frames {
		e.frames[i] = Frame{extent: e, view: mem[i*frameBytes : (i+1)*frameBytes : (i+1)*frameBytes]}
	}
	return e
}

func (e *Extent) take() *Extent {
	if !e.refs.CompareAndSwap(0, 1) {
		panic("staging: a free extent is held by somebody")
	}
	return e
}

// Bytes returns the extent's whole memory, frame after frame.
func (e *Extent) Bytes() []byte { return e.mem }

// Len returns the number of frames.
func (e *Extent) Len() int { return len(e.frames) }

// Frame returns frame i with one reference, which the caller must release.
// The caller must hold the extent, and the frame must not be in use.
func (e *Extent) Frame(i int) *Frame {
	f := &e.frames[i]
	if !f.refs.CompareAndSwap(0, 1) {
		panic("staging: frame is in use")
	}
	e.refs.Add(1)
	return f
}

// Release ends the holding that Acquire began.
func (e *Extent) Release() { e.drop() }

// Fence marks the extent as never to be used again: a copy that involves it
// has no known end. Its memory stays allocated for good.
func (e *Extent) Fence() {
	if e.fenced.CompareAndSwap(false, true) {
		e.ring.fenced.Add(1)
	}
}

func (e *Extent) drop() {
	switch n := e.refs.Add(-1); {
	case n < 0:
		panic("staging: extent released more often than held")
	case n == 0 && !e.fenced.Load() && !e.ring.isClosed():
		e.ring.free <- e
	}
}

// Frame is a reference-counted view of one page's bytes in an extent.
type Frame struct {
	extent *Extent
	view   []byte
	refs   atomic.Int32
}

// Bytes returns the frame's memory. It must not be used after the last
// Release.
func (f *Frame) Bytes() []byte { return f.view }

// Retain adds a reference. The caller must hold one.
func (f *Frame) Retain() {
	if f.refs.Add(1) < 2 {
		panic("staging: retain of a released frame")
	}
}

// Release gives up one reference.
func (f *Frame) Release() {
	switch n := f.refs.Add(-1); {
	case n < 0:
		panic("staging: frame released more often than held")
	case n == 0:
		f.extent.drop()
	}
}

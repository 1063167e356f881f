//go:build cuda

package cuda

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda/internal/driver"
)

// The streams that are no pointers.
const (
	legacyStream      = 0
	namedLegacyStream = 1
	perThreadStream   = 2
)

type stream struct {
	held
	waits   int // calls of Synchronize under way; mu guards it
	at      uintptr
	foreign bool
	batch   driver.Batch
	scratch driver.Scratch
}

func (d *device) newStream(o StreamOptions) (*Stream, error) {
	var s cu.Stream
	err := d.do("make a stream", func() error {
		var err error
		s, err = cu.MakeStreamWithPriority(o.Priority, cu.NonBlocking)
		return wrap("cuStreamCreateWithPriority", err)
	})
	if err != nil {
		if h := streamHandle(s); h != 0 {
			d.discard(func() error { return destroyStream(h) })
		}
		return nil, err
	}
	return &Stream{stream{held: d.hold(streams), at: streamHandle(s), batch: d.batch}}, nil
}

func (d *device) foreignStream(handle uintptr) (*Stream, error) {
	if handle == perThreadStream {
		return nil, fmt.Errorf("cuda: foreign stream: the per-thread default stream is another one on each thread: hand in a stream of its own: %w", kvferry.ErrInvalid)
	}
	batch := d.batch
	if handle == legacyStream || handle == namedLegacyStream {
		batch = driver.NoBatch // the driver takes no batch there
	}
	if err := d.do("foreign stream", func() error { return d.checkStream(handle) }); err != nil {
		return nil, err
	}
	return &Stream{stream{held: d.hold(streams), at: handle, foreign: true, batch: batch}}, nil
}

// checkStream refuses a stream of another device. Drivers that cannot tell are
// believed.
func (d *device) checkStream(handle uintptr) error {
	if handle <= perThreadStream {
		return nil
	}
	context, code := driver.StreamContext(handle)
	switch code {
	case driver.Success:
	case driver.NotFound, driver.NotSupported:
		return nil
	default:
		return failure("cuStreamGetCtx", code)
	}
	if context != d.context {
		return fmt.Errorf("cuda: foreign stream %#x is not one of device %d's primary context: %w", handle, d.ordinal, kvferry.ErrInvalid)
	}
	return nil
}

func (s *stream) handle() uintptr { return s.at }

func (s *stream) submit(q *Submission) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner != nil && s.owner.queueing.TryRLock() { // if not, the device is lost, and enter says so
		defer s.owner.queueing.RUnlock()
	}
	if err := s.enter("submit"); err != nil {
		return 0, err
	}
	defer s.owner.mu.RUnlock()
	if len(q.steps) == 0 {
		return 0, nil
	}
	l := driver.List{Context: s.owner.context, Stream: s.at, Foreign: s.foreign, Batch: s.batch, Scratch: s.scratch}
	l.Steps, l.Count = unsafe.Pointer(unsafe.SliceData(q.steps)), len(q.steps)
	l.Copies = unsafe.Pointer(unsafe.SliceData(q.copies))
	l.Params, l.Slots = unsafe.SliceData(q.params), unsafe.SliceData(q.slots)
	if len(q.copies) > 0 && l.Batch != driver.NoBatch && l.Scratch == 0 {
		if s.scratch = driver.NewScratch(); s.scratch == 0 {
			l.Batch = driver.NoBatch
		}
		l.Scratch = s.scratch
	}
	var r driver.Result
	driver.Submit(&l, &r)
	if r.Captured() {
		return 0, firstOf(s.owner.noted(result(&r)), errCaptured("submit"))
	}
	if r.Code() != driver.Success {
		return int(r.Done), fmt.Errorf("%w (%d of %d steps queued)", s.owner.noted(result(&r)), r.Done, len(q.steps))
	}
	return int(r.Done), nil
}

// errCaptured refuses what would break the engine's capture, or become a part of it.
func errCaptured(operation string) error {
	return fmt.Errorf("cuda: %s: the engine's stream is being captured: copy before or after: %w", operation, kvferry.ErrInvalid)
}

func (s *stream) capturing() (bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.enter("ask for a capture"); err != nil {
		return false, err
	}
	defer s.owner.mu.RUnlock()
	return s.askCapture()
}

// askCapture asks the driver. The caller keeps the stream open.
func (s *stream) askCapture() (bool, error) {
	var r driver.Result
	driver.QueryCapture(s.owner.context, s.at, &r)
	if err := s.owner.noted(result(&r)); err != nil {
		return false, err
	}
	return r.Captured(), nil
}

// synchronize holds no lock while it waits, since that may be for ever: Close looks
// at waits.
func (s *stream) synchronize() error {
	const operation = "synchronize a stream"
	if err := s.countWait(operation); err != nil {
		return err
	}
	defer s.uncountWait()
	return s.owner.wait(operation, func() error {
		if s.foreign {
			if captured, err := s.askCapture(); err != nil || captured {
				return firstOf(err, errCaptured(operation))
			}
		}
		return wrap("cuStreamSynchronize", asStream(s.at).Synchronize())
	})
}

func (s *stream) countWait(operation string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(operation); err != nil {
		return err
	}
	s.waits++
	return nil
}

func (s *stream) uncountWait() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits--
}

func (s *stream) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits > 0 {
		return fmt.Errorf("cuda: close a stream: %d calls of Synchronize wait for it: let them end first: %w", s.waits, kvferry.ErrInvalid)
	}
	var destroy func() error
	if !s.foreign {
		destroy = func() error { return destroyStream(s.at) }
	}
	err := s.giveBackLocked(destroy)
	if s.gone {
		s.scratch.Free()
		s.scratch = 0
	}
	return err
}

// destroyStream leaves the handle as it is, for another try; Destroy does not.
func destroyStream(h uintptr) error {
	s := asStream(h)
	return wrap("cuStreamDestroy", s.Destroy())
}

// The types of gorgonia.org/cu are structs of one handle; their fields and C
// types are not exported.

func contextHandle(c cu.CUContext) uintptr { return *(*uintptr)(unsafe.Pointer(&c)) }
func streamHandle(s cu.Stream) uintptr     { return *(*uintptr)(unsafe.Pointer(&s)) }
func eventHandle(e cu.Event) uintptr       { return *(*uintptr)(unsafe.Pointer(&e)) }
func functionHandle(f cu.Function) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }
func asStream(h uintptr) cu.Stream         { return *(*cu.Stream)(unsafe.Pointer(&h)) }
func asEvent(h uintptr) cu.Event           { return *(*cu.Event)(unsafe.Pointer(&h)) }

package cuda

import (
	"context"
	"time"
)

// StreamOptions guide NewStream.
type StreamOptions struct {
	// Priority, lower numbers first; it is brought into the device's range,
	// which is commonly -5 to 0.
	Priority int
}

// Stream is a queue of work. Ours do not wait for the legacy stream. It is safe
// for concurrent use; a Submission is queued as a whole.
type Stream struct{ stream }

// NewStream makes a non-blocking stream.
func (d *Device) NewStream(o StreamOptions) (*Stream, error) { return d.newStream(o) }

// ForeignStream returns the engine's own stream by its handle: the CUstream, or
// the cuda_stream of a torch.cuda.Stream; 0 is the legacy stream, which takes no
// batches. A stream of another device, and the per-thread default stream, which
// is another one on each thread, are ErrInvalid. It has to live as long as it is
// used here; closing it does nothing to the engine's.
func (d *Device) ForeignStream(handle uintptr) (*Stream, error) { return d.foreignStream(handle) }

// Handle returns the CUstream as a number.
func (s *Stream) Handle() uintptr { return s.handle() }

// Submit queues the whole of q by one call into C. issued is the number of q's
// steps that were queued, one that may have been in part included: if err is not
// nil and issued is 0, nothing was started. What was queued runs, in order,
// whatever came after. q may be used again when Submit returns. A foreign stream that the engine is capturing into a
// graph is ErrInvalid, with nothing queued and the capture as it was: copy before or
// after. The engine must not begin a capture there while Submit runs.
func (s *Stream) Submit(q *Submission) (issued int, err error) { return s.submit(q) }

// Capturing reports whether the stream is being captured into a graph. Of the
// legacy stream it tells whether work there would end another stream's capture.
func (s *Stream) Capturing() (bool, error) { return s.capturing() }

// Synchronize waits for everything queued so far. It blocks a thread; Event.Wait
// does not. A foreign stream that is being captured is ErrInvalid, as in Submit.
func (s *Stream) Synchronize() error { return s.synchronize() }

// Close destroys a stream of NewStream; what is queued still runs. While a
// Synchronize waits for it, it is ErrInvalid. A second Close does nothing.
func (s *Stream) Close() error { return s.close() }

// EventOptions guide NewEvent.
type EventOptions struct {
	Timing bool // for Elapsed; costs a little
}

// Event marks a point in a stream. It is recorded and waited for by
// Submissions. It is safe for concurrent use.
type Event struct{ event }

// NewEvent makes an event. One that was never recorded counts as done.
func (d *Device) NewEvent(o EventOptions) (*Event, error) { return d.newEvent(o) }

// ForeignEvent returns the engine's own event by its handle. Closing it does
// nothing to the engine's. One that was recorded into a capture must not be waited
// for or asked: the driver does not tell, and it breaks the capture.
func (d *Device) ForeignEvent(handle uintptr) (*Event, error) { return d.foreignEvent(handle) }

// Handle returns the CUevent as a number, for an engine that waits for it.
func (e *Event) Handle() uintptr { return e.handle() }

// Done reports whether the work before the last record has ended. ErrDeviceLost
// means that it failed, and the device with it; after another error it is not
// known.
func (e *Event) Done() (bool, error) { return e.done() }

// Wait returns when the event is done, ctx is done, or Done has an error. It
// polls with growing pauses, up to a fifth of a millisecond, and holds no thread
// meanwhile.
func (e *Event) Wait(ctx context.Context) error { return e.wait(ctx) }

// Elapsed returns the time from since to e; both have Timing and are done.
func (e *Event) Elapsed(since *Event) (time.Duration, error) { return e.elapsed(since) }

// Close destroys an event of NewEvent. A second Close does nothing.
func (e *Event) Close() error { return e.close() }

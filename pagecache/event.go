package pagecache

import (
	"sync"
	"sync/atomic"
)

// Event is something that will have happened, such as the end of a copy that
// reads or writes a frame. It is asked and does not call back, as the events of
// a GPU are; the pool asks when it needs room, when somebody calls Poll, and a
// few in turn whenever another one is added. It has no goroutine.
type Event interface {
	// Query tells, without waiting, whether it has happened. An error means
	// that this will never be known: the frame's memory is fenced then, which
	// means that no other page ever gets it; a published page stays found. It
	// may be called from any goroutine, by one at a time, until it was done or
	// failed once.
	Query() (done bool, err error)
}

// Closed is the Event that a channel is closed, such as that of a context.
func Closed(c <-chan struct{}) Event { return closed(c) }

type closed <-chan struct{}

func (c closed) Query() (bool, error) {
	select {
	case <-c:
		return true, nil
	default:
		return false, nil
	}
}

// events are the releases that wait for something.
type events struct {
	mu      sync.Mutex
	waiting []release

	pending atomic.Int64 // also those that are being asked right now
	fenced  atomic.Int64
	err     atomic.Pointer[error] // first error of an event
}

type release struct {
	frame *Frame
	event Event
}

// inTurn is how many events are asked when one is added: more than one, so that
// the list does not grow while events do happen.
const inTurn = 2

// add takes over a reference.
func (v *events) add(f *Frame, e Event) {
	v.pending.Add(1)
	if v.ask(release{f, e}) { // happened already
		return
	}
	var asked [inTurn]release
	v.mu.Lock()
	n := copy(asked[:], v.waiting)
	clear(v.waiting[:n])
	v.waiting = append(v.waiting[n:], release{f, e})
	v.mu.Unlock()
	v.poll(asked[:n])
}

// all asks every event and returns how many frames were released. While another
// goroutine asks some of them, these are left out.
func (v *events) all() int {
	if v.pending.Load() == 0 {
		return 0
	}
	v.mu.Lock()
	asked := v.waiting
	v.waiting = nil
	v.mu.Unlock()
	return v.poll(asked)
}

// poll asks events outside of the mutex, for releasing a frame may call back,
// and puts those that have not happened behind the others.
func (v *events) poll(asked []release) int {
	kept := asked[:0]
	for _, r := range asked {
		if !v.ask(r) {
			kept = append(kept, r)
		}
	}
	if len(kept) > 0 {
		v.mu.Lock()
		v.waiting = append(v.waiting, kept...)
		v.mu.Unlock()
	}
	return len(asked) - len(kept)
}

// ask tells whether an event needs no more asking.
func (v *events) ask(r release) bool {
	done, err := r.event.Query()
	switch {
	case err != nil:
		v.err.CompareAndSwap(nil, &err)
		v.fenced.Add(1)
		v.pending.Add(-1)
		return true // the reference stays for good
	case done:
		v.pending.Add(-1)
		r.frame.Release()
		return true
	}
	return false
}

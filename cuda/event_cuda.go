//go:build cuda

package cuda

import (
	"context"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda/internal/driver"
)

type event struct {
	held
	at      uintptr
	foreign bool
}

func (d *device) newEvent(o EventOptions) (*Event, error) {
	flags := cu.BlockingSyncEvent
	if !o.Timing {
		flags |= cu.DisableTiming
	}
	var e cu.Event
	err := d.do("make an event", func() error {
		var err error
		e, err = cu.MakeEvent(flags)
		return wrap("cuEventCreate", err)
	})
	if err != nil {
		if h := eventHandle(e); h != 0 {
			d.discard(func() error { return destroyEvent(h) })
		}
		return nil, err
	}
	return &Event{event{held: d.hold(events), at: eventHandle(e)}}, nil
}

func (d *device) foreignEvent(handle uintptr) (*Event, error) {
	if err := d.usable("foreign event"); err != nil {
		return nil, err
	}
	return &Event{event{held: d.hold(events), at: handle, foreign: true}}, nil
}

// handle is 0 when the event is closed, which Submit refuses.
func (e *event) handle() uintptr {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.gone {
		return 0
	}
	return e.at
}

func (e *event) done() (bool, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if err := e.enter("ask for an event"); err != nil {
		return false, err
	}
	defer e.owner.mu.RUnlock()
	var r driver.Result
	driver.QueryEvent(e.owner.context, e.at, &r)
	if r.Code() != driver.Success {
		return false, e.owner.noted(result(&r))
	}
	return r.Done == 1, nil
}

// A wait looks often at first, for copies of kilobytes, and then as seldom as a
// copy of some megabytes takes.
const (
	spins        = 32
	shortestNap  = 10 * time.Microsecond
	longestNap   = 200 * time.Microsecond
	napsPerWider = 4
)

func (e *event) wait(ctx context.Context) error {
	for range spins {
		if done, err := e.settled(ctx); done {
			return err
		}
		runtime.Gosched()
	}
	n := e.owner.naps.take()
	defer e.owner.naps.put(n)
	pause := shortestNap
	for i := 1; ; i++ {
		n.nap(pause)
		if done, err := e.settled(ctx); done {
			return err
		}
		if i%napsPerWider == 0 {
			pause = min(2*pause, longestNap)
		}
	}
}

// settled tells whether a wait is over, and how.
func (e *event) settled(ctx context.Context) (bool, error) {
	if done, err := e.done(); done || err != nil {
		return true, err
	}
	if err := ctx.Err(); err != nil {
		return true, fmt.Errorf("cuda: wait for an event: %w", err)
	}
	return false, nil
}

func (e *event) elapsed(since *Event) (time.Duration, error) {
	first, last := &since.event, e
	if uintptr(unsafe.Pointer(first)) > uintptr(unsafe.Pointer(last)) {
		first, last = last, first // the same order in all calls, so that none waits for another
	}
	first.mu.RLock()
	defer first.mu.RUnlock()
	if last != first {
		last.mu.RLock()
		defer last.mu.RUnlock()
	}
	if first.gone || last.gone || first.at == 0 || last.at == 0 {
		return 0, fmt.Errorf("cuda: measure time: an event is closed: %w", kvferry.ErrClosed)
	}
	var ms float64
	err := e.owner.do("measure time", func() error {
		var err error
		ms, err = asEvent(since.at).Elapsed(asEvent(e.at))
		return wrap("cuEventElapsedTime", err)
	})
	return time.Duration(ms * float64(time.Millisecond)), err
}

func (e *event) close() error {
	if e.foreign {
		return e.giveBack(nil)
	}
	return e.giveBack(func() error { return destroyEvent(e.at) })
}

// destroyEvent leaves the handle as it is, for another try; cu.DestroyEvent does not.
func destroyEvent(h uintptr) error {
	e := asEvent(h)
	return wrap("cuEventDestroy", cu.DestroyEvent(&e))
}

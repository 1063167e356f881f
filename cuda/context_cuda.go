//go:build cuda

package cuda

import (
	"runtime"

	"gorgonia.org/cu"

	"github.com/kvferry/kvferry/cuda/internal/driver"
)

// do calls f with the device's context current on its thread and without
// disturbing a stream capture, if the device can be used. An error may come
// although f had none: f has to leave word of what it made.
func (d *device) do(operation string, f func() error) error {
	if d != nil {
		d.mu.RLock()
		defer d.mu.RUnlock()
	}
	if err := d.usable(operation); err != nil {
		return err
	}
	return d.inContext(f)
}

// wait is do for an f that may last for ever. The device is not closed before it
// returns, and it keeps nobody else from the device.
func (d *device) wait(operation string, f func() error) error {
	if err := d.beginWait(operation); err != nil {
		return err
	}
	defer d.waits.Add(-1)
	return d.inContext(f)
}

func (d *device) beginWait(operation string) error {
	if d != nil {
		d.mu.RLock()
		defer d.mu.RUnlock()
	}
	if err := d.usable(operation); err != nil {
		return err
	}
	d.waits.Add(1)
	return nil
}

// undo gives something back after a failure. It is tried on a lost device, too:
// nothing there can be saved, but what the driver keeps for it may go.
func (d *device) undo(f func() error) (gone bool, err error) {
	before := d.lost.Load() != nil
	gone, tried, err := d.tryUndo(f)
	if !tried { // it was lost on the way to f
		gone, _, _ = d.tryUndo(f)
	}
	if before {
		gone, err = true, nil
	}
	return gone || d.lost.Load() != nil, err
}

// tryUndo does not try f if the device turns out to be lost: what it may still do
// has to end first, and mu cannot be held for that.
func (d *device) tryUndo(f func() error) (gone, tried bool, err error) {
	ended := d.lost.Load() != nil
	if ended {
		d.still.Do(d.letEnd)
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed.Load() {
		return true, true, nil // it went with the context
	}
	err = d.inContext(func() error {
		tried = ended || d.lost.Load() == nil
		if !tried {
			return nil
		}
		failed := f()
		gone = failed == nil
		return failed
	})
	return gone, tried || d.lost.Load() == nil, err
}

// letEnd waits for what a lost device may still do: not every error that loses it
// for this process stops it, and memory in use must not go. A device that really
// stopped answers at once. A submission that began before the loss is over first.
func (d *device) letEnd() {
	d.queueing.Lock()
	d.queueing.Unlock() //nolint:staticcheck // nothing is guarded: who comes later sees that the device is lost
	d.mu.RLock()
	closed := d.closed.Load()
	if !closed {
		d.waits.Add(1)
	}
	d.mu.RUnlock()
	if closed {
		return
	}
	defer d.waits.Add(-1)
	_ = d.inContext(func() error {
		_ = cu.Synchronize()
		return nil
	})
}

func (d *device) inContext(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var r driver.Result
	mode := driver.Enter(d.context, &r)
	if r.Code() != 0 {
		return d.noted(result(&r))
	}
	err := f()
	driver.Leave(mode, &r)
	return firstOf(d.noted(err), d.noted(result(&r)))
}

// firstOf returns the first error that is one.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

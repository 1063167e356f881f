//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"gorgonia.org/cu"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda/internal/driver"
)

// device is the primary context of a GPU, and what was made in it.
type device struct {
	ordinal int
	gpu     cu.Device
	context uintptr
	known   Facts
	batch   driver.Batch

	lost  atomic.Pointer[Error] // the first sticky failure
	still sync.Once             // letEnd has been called
	live  [kinds]atomic.Int64   // what has to be closed before the device
	pins  pinTable
	naps  nappers

	debts debts // what could not be given back after a failure

	// mu is held for reading while a call needs the context, for writing while
	// it is released.
	mu     sync.RWMutex
	closed atomic.Bool
}

// kind is a kind of thing that is made on a device.
type kind int

const (
	memories kind = iota
	pinnings
	streams
	events
	modules
	kinds
)

func (k kind) String() string {
	return [...]string{"memory", "pinned memory", "stream", "event", "module"}[k]
}

func open(ordinal int, _ Options) (*Device, error) {
	n, err := deviceCount()
	if err != nil {
		return nil, err
	}
	if ordinal < 0 || ordinal >= n {
		return nil, fmt.Errorf("cuda: open device %d: there are %d: %w", ordinal, n, kvferry.ErrNoDevice)
	}
	gpu, err := cu.GetDevice(ordinal)
	if err := wrap("cuDeviceGet", err); err != nil {
		return nil, openError(ordinal, err)
	}
	context, err := gpu.RetainPrimaryCtx()
	if err := wrap("cuDevicePrimaryCtxRetain", err); err != nil {
		return nil, openError(ordinal, err)
	}
	d := &Device{device{ordinal: ordinal, gpu: gpu, context: contextHandle(context)}}
	d.known, err = readFacts(gpu, ordinal)
	if err != nil {
		return nil, fmt.Errorf("cuda: open device %d: %w", ordinal, firstOf(err, d.close()))
	}
	d.batch = driver.BatchOf(int(d.known.Driver))
	d.known.BatchCopy = d.batch != driver.NoBatch
	return d, nil
}

// openError makes failures that say nothing of the device's memory or state say
// that there is no device to be had.
func openError(ordinal int, err error) error {
	if errors.Is(err, kvferry.ErrOutOfMemory) || errors.Is(err, kvferry.ErrDeviceLost) {
		return fmt.Errorf("cuda: open device %d: %w", ordinal, err)
	}
	return fmt.Errorf("cuda: open device %d: %w: %w", ordinal, kvferry.ErrNoDevice, err)
}

func (d *device) close() error {
	d.debts.pay()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.context == 0 || d.closed.Load() {
		return nil
	}
	if left := d.leftovers(); left != "" && d.lost.Load() == nil {
		return fmt.Errorf("cuda: close device %d: close these first: %s: %w", d.ordinal, left, kvferry.ErrInvalid)
	}
	d.closed.Store(true)
	d.naps.close()
	err := wrap("cuDevicePrimaryCtxRelease", d.gpu.ReleasePrimaryCtx())
	if d.lost.Load() != nil {
		return nil // told before; a lost context cannot be released any better
	}
	return d.noted(err)
}

// leftovers names what was not closed.
func (d *device) leftovers() string {
	var texts []string
	for k := range kinds {
		if n := d.live[k].Load(); n > 0 {
			texts = append(texts, fmt.Sprintf("%d x %s", n, k))
		}
	}
	if n := d.debts.count(); n > 0 {
		texts = append(texts, fmt.Sprintf("%d that the driver would not take back", n))
	}
	return strings.Join(texts, ", ")
}

func (d *device) facts() Facts {
	if d.context == 0 {
		return Facts{NUMANode: -1}
	}
	return d.known
}

func (d *device) err() error { return d.usable("look at the device") }

func (d *device) synchronize() error {
	return d.do("synchronize", func() error { return wrap("cuCtxSynchronize", cu.Synchronize()) })
}

func (d *device) memoryInfo() (free, total int64, err error) {
	err = d.do("memory info", func() error {
		var err error
		free, total, err = cu.MemInfo()
		return wrap("cuMemGetInfo", err)
	})
	return free, total, err
}

// usable returns nil, or why nothing can be done with the device.
func (d *device) usable(operation string) error {
	switch {
	case d == nil || d.context == 0:
		return fmt.Errorf("cuda: %s: no open device: %w", operation, kvferry.ErrInvalid)
	case d.closed.Load():
		return fmt.Errorf("cuda: %s: device %d: %w", operation, d.ordinal, kvferry.ErrClosed)
	}
	if first := d.lost.Load(); first != nil {
		return fmt.Errorf("cuda: %s: device %d is lost since: %w", operation, d.ordinal, first)
	}
	return nil
}

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

// undo gives something back after a failure. It is tried on a lost device, too:
// nothing there can be saved, but what the driver keeps for it may go.
func (d *device) undo(f func() error) (gone bool, err error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed.Load() {
		return true, nil // it went with the context
	}
	before, tried := d.lost.Load() != nil, false
	free := func() error {
		tried = true
		if d.lost.Load() != nil {
			d.still.Do(d.letEnd)
		}
		err := f()
		gone = err == nil
		return err
	}
	err = d.inContext(free)
	lost := d.lost.Load() != nil
	if lost && !tried { // it was lost on the way to f
		_ = d.inContext(free)
	}
	if before {
		return true, nil
	}
	return gone || lost, err
}

// letEnd waits for what a lost device may still do: not every error that loses it
// for this process stops it, and memory in use must not go. A device that really
// stopped answers at once. It runs in the device's context.
func (d *device) letEnd() { _ = cu.Synchronize() }

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

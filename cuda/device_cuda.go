//go:build cuda

package cuda

import (
	"errors"
	"fmt"
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
	// queueing is held for reading while a submission is made, for writing once the
	// device is lost: behind that nothing more is queued.
	queueing sync.RWMutex
	live     [kinds]atomic.Int64 // what has to be closed before the device
	pins     pinTable
	naps     nappers

	debts debts // what could not be given back after a failure

	// mu is held for reading while a call needs the context, for writing while it
	// is released. A call that may last for ever counts itself in waits instead.
	// What was made on the device takes its own lock first.
	mu     sync.RWMutex
	waits  atomic.Int64
	closed atomic.Bool

	closing sync.Mutex // one close at a time: it pays debts, for which mu must be free
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
	d.closing.Lock()
	defer d.closing.Unlock()
	if d.context == 0 || d.closed.Load() {
		return nil
	}
	d.debts.pay()
	// Looked at before mu is asked for: what hangs while it is freed holds mu.
	if err := d.closable(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.closable(); err != nil {
		return err
	}
	d.closed.Store(true)
	d.naps.close()
	err := wrap("cuDevicePrimaryCtxRelease", d.gpu.ReleasePrimaryCtx())
	if d.lost.Load() != nil {
		return nil // told before; a lost context cannot be released any better
	}
	return d.noted(err)
}

// closable returns nil, or what keeps the device open.
func (d *device) closable() error {
	if n := d.waits.Load(); n > 0 {
		return fmt.Errorf("cuda: close device %d: %d calls wait for its work: let them end first: %w", d.ordinal, n, kvferry.ErrInvalid)
	}
	if left := d.leftovers(); left != "" && d.lost.Load() == nil {
		return fmt.Errorf("cuda: close device %d: close these first: %s: %w", d.ordinal, left, kvferry.ErrInvalid)
	}
	return nil
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
	return d.wait("synchronize", func() error { return wrap("cuCtxSynchronize", cu.Synchronize()) })
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

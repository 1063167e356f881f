//go:build cuda

package cuda

import (
	"fmt"
	"slices"
	"sync"

	"github.com/kvferry/kvferry"
)

// held is something of the driver that has to be given back.
type held struct {
	owner *device
	kind  kind

	mu   sync.RWMutex
	gone bool
}

// hold counts something that was made on the device.
func (d *device) hold(k kind) held {
	d.live[k].Add(1)
	return held{owner: d, kind: k}
}

// usable returns nil, or why nothing can be done with it. The caller holds mu.
func (h *held) usable(operation string) error {
	if h.gone {
		return fmt.Errorf("cuda: %s: %s: %w", operation, h.kind, kvferry.ErrClosed)
	}
	return h.owner.usable(operation)
}

// enter is usable, and keeps the device open until the caller unlocks the owner's
// mu from reading, which it does if there was no error. The caller holds mu.
func (h *held) enter(operation string) error {
	if h.owner == nil {
		return h.usable(operation)
	}
	h.owner.mu.RLock()
	err := h.usable(operation)
	if err != nil {
		h.owner.mu.RUnlock()
	}
	return err
}

// giveBack frees it once; a nil free has nothing to do. What could not be freed is
// kept, so that it can be tried again; what is on a lost device counts as freed.
func (h *held) giveBack(free func() error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.giveBackLocked(free)
}

func (h *held) giveBackLocked(free func() error) error {
	if h.gone || h.owner == nil {
		return nil
	}
	gone, err := true, error(nil)
	if free != nil {
		gone, err = h.owner.undo(free)
	}
	if gone {
		h.gone = true
		h.owner.live[h.kind].Add(-1)
	}
	return err
}

// discard frees what was made although a failure says otherwise. What the driver
// does not take back is tried again when the device is closed.
func (d *device) discard(free func() error) {
	again := func() bool {
		gone, _ := d.undo(free)
		return gone
	}
	if !again() {
		d.debts.add(again)
	}
}

// debts are attempts to free what nobody else knows of.
type debts struct {
	mu   sync.Mutex
	open []func() bool
}

func (ds *debts) add(attempt func() bool) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.open = append(ds.open, attempt)
}

// pay tries all of them, without mu: an attempt waits for locks of its own.
func (ds *debts) pay() {
	ds.mu.Lock()
	open := ds.open
	ds.open = nil
	ds.mu.Unlock()
	open = slices.DeleteFunc(open, func(attempt func() bool) bool { return attempt() })
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.open = append(ds.open, open...)
}

func (ds *debts) count() int {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return len(ds.open)
}

//go:build cuda

package cuda

import (
	"errors"
	"fmt"

	"gorgonia.org/cu"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda/internal/driver"
)

type memory struct {
	held
	base   Ptr // what the driver gave, and gets back
	offset int64
	length int64
	shared bool // of another process
}

func (d *device) alloc(bytes int64) (*Memory, error) {
	if bytes <= 0 {
		return nil, fmt.Errorf("cuda: allocate %d bytes: %w", bytes, kvferry.ErrInvalid)
	}
	var p cu.DevicePtr
	err := d.do("allocate", func() error {
		var err error
		p, err = cu.MemAlloc(bytes)
		return wrap("cuMemAlloc", err)
	})
	if err == nil {
		return &Memory{memory{held: d.hold(memories), base: Ptr(p), length: bytes}}, nil
	}
	if p != 0 {
		d.discard(func() error { return wrap("cuMemFree", cu.MemFree(p)) })
	}
	if errors.Is(err, kvferry.ErrOutOfMemory) {
		return nil, fmt.Errorf("%w (%d bytes wanted, %s)", err, bytes, d.freeText())
	}
	return nil, err
}

func (d *device) freeText() string {
	free, total, err := d.memoryInfo()
	if err != nil {
		return "free bytes unknown"
	}
	return fmt.Sprintf("%d of %d free on device %d", free, total, d.ordinal)
}

func (m *memory) ptr() Ptr     { return m.base + Ptr(m.offset) }
func (m *memory) bytes() int64 { return m.length }

func (m *memory) free() error {
	return m.giveBack(func() error {
		if m.shared {
			return failure("cuIpcCloseMemHandle", driver.IPCClose(uint64(m.base)))
		}
		return wrap("cuMemFree", cu.MemFree(cu.DevicePtr(m.base)))
	})
}

func (d *device) pointer(p Ptr) (Pointer, error) {
	var at Pointer
	err := d.do("look up an address", func() error {
		var err error
		at, err = lookUp(p)
		return err
	})
	if err != nil {
		return Pointer{}, err
	}
	if at.Kind == HostMemory && at.Bytes == 0 {
		at.Base, at.Bytes = d.pins.around(p)
	}
	return at, nil
}

// lookUp asks the driver about an address, in the current context.
func lookUp(p Ptr) (Pointer, error) {
	at := Pointer{Device: -1}
	kind, code := driver.PointerNumber(driver.PointerMemoryType, uint64(p))
	if code == driver.InvalidValue || (code == driver.Success && kind == 0) {
		return at, nil
	}
	if code != driver.Success {
		return at, failure("cuPointerGetAttribute", code)
	}
	at.Kind = Kind(kind)
	managed, code := driver.PointerNumber(driver.PointerIsManaged, uint64(p))
	switch {
	case code == driver.Success && managed != 0:
		at.Kind = Managed
	case code != driver.Success && !lacks(code):
		return at, failure("cuPointerGetAttribute", code)
	}
	ordinal, code := driver.PointerNumber(driver.PointerDevice, uint64(p))
	if code != driver.Success {
		return at, failure("cuPointerGetAttribute", code)
	}
	at.Device = int(int32(ordinal))
	base, bytes, code := driver.AddressRange(uint64(p))
	switch {
	case code == driver.Success:
		at.Base, at.Bytes = Ptr(base), bytes
	case at.Kind != HostMemory || !lacks(code): // drivers differ in what they tell of pinned memory
		return at, failure("cuMemGetAddressRange", code)
	}
	return at, nil
}

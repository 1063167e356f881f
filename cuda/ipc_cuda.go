//go:build cuda

package cuda

import (
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda/internal/driver"
)

func (d *device) ipc(p Ptr) (IPCHandle, error) {
	if err := d.checkRange(p, 1); err != nil {
		return IPCHandle{}, err
	}
	var h IPCHandle
	err := d.do("share memory", func() error {
		base, bytes, code := driver.AddressRange(uint64(p))
		if code != driver.Success {
			return failure("cuMemGetAddressRange", code)
		}
		h.Offset = int64(uint64(p) - base)
		h.Bytes = bytes - h.Offset
		return failure("cuIpcGetMemHandle", driver.IPCHandle(&h.Handle, base))
	})
	// The address is good, so what the driver does not like is how it was allocated.
	if errors.Is(err, kvferry.ErrInvalid) && codeIn(err) == driver.InvalidValue {
		err = fmt.Errorf("cuda: share memory at %#x: it was not allocated by cuMemAlloc: %w: %w", uint64(p), kvferry.ErrUnsupported, err)
	}
	if err != nil {
		return IPCHandle{}, err
	}
	return h, nil
}

func (d *device) openIPC(h IPCHandle) (*Memory, error) {
	if h.Offset < 0 || h.Bytes <= 0 || h.Offset+h.Bytes < 0 {
		return nil, fmt.Errorf("cuda: open shared memory: offset %d, %d bytes: %w", h.Offset, h.Bytes, kvferry.ErrInvalid)
	}
	var base uint64
	err := d.do("open shared memory", func() error {
		var code int
		base, code = driver.IPCOpen(&h.Handle)
		if code != driver.Success {
			return failure("cuIpcOpenMemHandle", code)
		}
		return holds(base, h)
	})
	if err != nil {
		if base != 0 {
			d.discard(func() error { return failure("cuIpcCloseMemHandle", driver.IPCClose(base)) })
		}
		return nil, err
	}
	return &Memory{memory{held: d.hold(memories), base: Ptr(base), offset: h.Offset, length: h.Bytes, shared: true}}, nil
}

// holds compares what a handle promises with what was mapped.
func holds(base uint64, h IPCHandle) error {
	_, bytes, code := driver.AddressRange(base)
	if code != driver.Success {
		return failure("cuMemGetAddressRange", code)
	}
	if h.Offset+h.Bytes > bytes {
		return fmt.Errorf("cuda: open shared memory: %d bytes from %d on, but the allocation has %d: %w", h.Bytes, h.Offset, bytes, kvferry.ErrInvalid)
	}
	return nil
}

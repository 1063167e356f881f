//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda/internal/driver"
	"github.com/kvferry/kvferry/internal/anon"
)

type pinned struct {
	held
	mem    []byte
	mapped Ptr
	own    bool   // mem is ours to unmap
	place  span   // what is reserved in the device's table
	left   []span // registrations that are not ended yet
}

func (d *device) pin(bytes int64, o PinOptions) (*Pinned, error) {
	if err := firstOf(checkPin(bytes, o), d.usable("pin memory")); err != nil {
		return nil, err
	}
	if err := checkRoom(os.DirFS("/"), bytes); err != nil {
		return nil, err
	}
	mem, err := anon.Map(int(bytes))
	if err != nil {
		return nil, fmt.Errorf("cuda: pin %d bytes: %w", bytes, err)
	}
	if !o.AnyNode && d.known.NUMANode >= 0 {
		placeOnNode(mem, d.known.NUMANode)
	}
	touch(mem, o.Workers)
	return d.registered(mem, true, o)
}

func (d *device) register(mem []byte, o PinOptions) (*Pinned, error) {
	if err := checkPin(int64(len(mem)), o); err != nil {
		return nil, err
	}
	return d.registered(mem, false, o)
}

func checkPin(bytes int64, o PinOptions) error {
	page := int64(os.Getpagesize())
	switch {
	case bytes <= 0:
		return fmt.Errorf("cuda: pin %d bytes: %w", bytes, kvferry.ErrInvalid)
	case o.ChunkBytes < 0 || o.ChunkBytes%page != 0:
		return fmt.Errorf("cuda: pin memory in chunks of %d bytes: not a multiple of the page size %d: %w", o.ChunkBytes, page, kvferry.ErrInvalid)
	case o.Workers < 0:
		return fmt.Errorf("cuda: pin memory with %d workers: %w", o.Workers, kvferry.ErrInvalid)
	}
	return nil
}

// registered pins mem in chunks; own memory is unmapped in the end. If that
// fails, all of it is undone.
func (d *device) registered(mem []byte, own bool, o PinOptions) (*Pinned, error) {
	whole := spanOf(mem)
	if !d.pins.reserve(whole.pages()) {
		return nil, fmt.Errorf("cuda: pin %d bytes: some of the memory is pinned already: %w", len(mem), kvferry.ErrExists)
	}
	p := &Pinned{pinned{held: d.hold(pinnings), mem: mem, own: own, place: whole.pages()}}
	err := d.do("pin memory", func() error { return p.registerChunks(whole, o) })
	if err == nil {
		d.pins.publish(p.left)
		return p, nil
	}
	err = d.pinError(err, int64(len(mem)))
	if undone := p.close(); undone != nil {
		d.debts.add(func() bool { return p.close() == nil })
		return nil, fmt.Errorf("%w (and it could not be unpinned again: %w)", err, undone)
	}
	return nil, err
}

// registerChunks runs in the device's context. p.left tells how far it came.
func (p *pinned) registerChunks(whole span, o PinOptions) error {
	var flags uint
	if o.Portable {
		flags |= driver.RegisterPortable
	}
	if o.Mapped {
		flags |= driver.RegisterMapped
	}
	for _, c := range whole.chunks(o.ChunkBytes) {
		if code := driver.HostRegister(c.from, int64(c.to-c.from), flags); code != driver.Success {
			return failure(pinMemory, code)
		}
		p.left = append(p.left, c)
		if !o.Mapped {
			continue
		}
		at, code := driver.HostDeviceAddress(c.from)
		if code != driver.Success {
			return failure("cuMemHostGetDevicePointer", code)
		}
		if c.from == whole.from {
			p.mapped = Ptr(at)
		}
		if Ptr(at) != p.mapped+Ptr(c.from-whole.from) {
			return fmt.Errorf("cuda: pin memory: this device does not map several registrations one after the other, raise ChunkBytes: %w", kvferry.ErrUnsupported)
		}
	}
	return nil
}

// pinError says what was wanted and what there is.
func (d *device) pinError(err error, bytes int64) error {
	switch codeIn(err) {
	case driver.AlreadyPinned:
		return fmt.Errorf("cuda: pin %d bytes: some of the memory is pinned already, by the engine perhaps: %w: %w", bytes, kvferry.ErrExists, err)
	case unknownCode:
		return fmt.Errorf("cuda: pin %d bytes: the driver cannot pin memory of this kind, or does not say why: %w", bytes, err)
	case driver.OperatingSystem:
		if !errors.Is(err, kvferry.ErrOutOfMemory) {
			err = fmt.Errorf("%w: %w", kvferry.ErrOutOfMemory, err)
		}
		fallthrough
	case driver.OutOfMemory:
		return fmt.Errorf("cuda: pin %d bytes: %w (%s)", bytes, err, limitsText(os.DirFS("/")))
	}
	return err
}

func (p *pinned) view() []byte   { return p.mem }
func (p *pinned) devicePtr() Ptr { return p.mapped }

func (p *pinned) close() error {
	if p.owner == nil {
		return nil
	}
	p.owner.pins.hide(p.left)
	err := p.giveBack(p.unregister)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone || p.mem == nil {
		return err
	}
	mem := p.mem
	p.mem, p.mapped = nil, 0
	if len(p.left) > 0 {
		return err // a lost device may still write there: the memory is nobody's any more
	}
	p.owner.pins.unreserve(p.place)
	if p.own {
		err = firstOf(err, anon.Unmap(mem))
	}
	return err
}

// unregister runs in the device's context. What fails is left for another try; the
// others go nevertheless, so that a lost device keeps as little as can be.
func (p *pinned) unregister() error {
	var err error
	var left []span
	for _, s := range p.left {
		if code := driver.HostUnregister(s.from); code != driver.Success {
			err = firstOf(err, failure("cuMemHostUnregister", code))
			left = append(left, s)
		}
	}
	p.left = left
	return err
}

func (d *device) isPinned(mem []byte) bool {
	return len(mem) > 0 && d.pins.covers(spanOf(mem))
}

func (d *device) allocatePinned(bytes int, o PinOptions) ([]byte, error) {
	if bytes == 0 {
		return []byte{}, nil
	}
	page := os.Getpagesize()
	o.ChunkBytes = int64((bytes + page - 1) / page * page)
	p, err := d.pin(int64(bytes), o)
	if err != nil {
		return nil, err
	}
	d.pins.keep(p)
	return p.mem, nil
}

func (d *device) freePinned(mem []byte) error {
	if len(mem) == 0 {
		return nil
	}
	p := d.pins.kept(mem)
	if p == nil {
		return fmt.Errorf("cuda: free %d pinned bytes: they are no allocation of this device's: %w", len(mem), kvferry.ErrInvalid)
	}
	err := p.close()
	if p.mem == nil {
		d.pins.forget(mem)
	}
	return err
}

// spanOf returns where memory lies.
func spanOf(mem []byte) span {
	from := uintptr(unsafe.Pointer(unsafe.SliceData(mem)))
	return span{from, from + uintptr(len(mem))}
}

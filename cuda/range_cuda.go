//go:build cuda

package cuda

import (
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda/internal/driver"
)

// ranges is what a driver tells of device memory. Memory of the driver's virtual
// memory management, such as PyTorch's expandable segments, is one range of
// addresses with a mapping after the other, and piece knows only one of them.
type ranges struct {
	piece    func(p Ptr) (Pointer, error)
	reserved func(p Ptr) (start Ptr, err error) // the range that a piece is mapped in
}

func (d *device) checkRange(p Ptr, bytes int64) error {
	return d.do("check a range", func() error {
		return ranges{lookUp, rangeStart}.check(p, bytes, d.ordinal)
	})
}

// rangeStart is the start of the allocation where a driver tells of no ranges.
func rangeStart(p Ptr) (Ptr, error) {
	start, code := driver.RangeStart(uint64(p))
	if lacks(code) {
		at, err := lookUp(p)
		return at.Base, err
	}
	return Ptr(start), failure("cuPointerGetAttribute", code)
}

// check walks from piece to piece.
func (r ranges) check(p Ptr, bytes int64, ordinal int) error {
	if bytes <= 0 || uint64(p)+uint64(bytes) < uint64(p) {
		return fmt.Errorf("cuda: check %d bytes at %#x: %w", bytes, uint64(p), kvferry.ErrInvalid)
	}
	end, first := p+Ptr(bytes), Pointer{}
	for next := p; next < end; {
		at, err := r.piece(next)
		if err != nil {
			return err
		}
		why := refused(at, next, ordinal)
		if next == p {
			first = at
		} else if why == "" {
			if why, err = r.apart(p, next); err != nil {
				return err
			}
		}
		if why != "" {
			return refusal(p, bytes, next, first, why)
		}
		if left := at.Bytes - int64(next-at.Base); uint64(left) < uint64(end-next) {
			next += Ptr(left)
		} else {
			next = end
		}
	}
	return nil
}

// refused says why a piece cannot be used, "" if it can.
func refused(at Pointer, p Ptr, ordinal int) string {
	switch {
	case at.Kind == Unknown:
		return "the driver knows no memory there: hand in addresses of device memory"
	case at.Kind != DeviceMemory:
		return "that is not device memory"
	case at.Device != ordinal:
		return fmt.Sprintf("that is memory of device %d, this is device %d", at.Device, ordinal)
	case p < at.Base || at.Bytes <= 0 || uint64(p-at.Base) >= uint64(at.Bytes):
		return fmt.Sprintf("the driver names %d bytes at %#x, which are elsewhere: report it, with the driver's version", at.Bytes, uint64(at.Base))
	}
	return ""
}

// apart says why a piece does not belong to the memory at p, "" if it does. What
// lies behind an allocation by chance is another tensor.
func (r ranges) apart(p, next Ptr) (string, error) {
	own, err := r.reserved(p)
	if err != nil {
		return "", err
	}
	theirs, err := r.reserved(next)
	if err != nil || theirs == own {
		return "", err
	}
	return "another allocation begins there", nil
}

// refusal names the place where a range breaks.
func refusal(p Ptr, bytes int64, broken Ptr, first Pointer, why string) error {
	if broken == p {
		return fmt.Errorf("cuda: check %d bytes at %#x: %s: %w", bytes, uint64(p), why, kvferry.ErrInvalid)
	}
	return fmt.Errorf("cuda: check %d bytes at %#x: the allocation there begins at %#x and has %d bytes, and from %#x on, %d bytes further, it does not go on: %s: %w",
		bytes, uint64(p), uint64(first.Base), first.Bytes, uint64(broken), uint64(broken-p), why, kvferry.ErrInvalid)
}

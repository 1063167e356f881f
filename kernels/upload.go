package kernels

import (
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
)

// upload returns new device memory that holds content, after waiting for it.
func (s *Set) upload(content []byte) (_ *cuda.Memory, err error) {
	memory, err := s.device.Alloc(int64(len(content)))
	if err != nil {
		return nil, err
	}
	if err := s.fill(memory, content); err != nil {
		if errors.Is(err, kvferry.ErrUnknownOutcome) {
			return nil, err // the memory may still be written to
		}
		return nil, errors.Join(err, twice(memory.Free))
	}
	return memory, nil
}

// fill copies content to memory by a stream of its own. After
// ErrUnknownOutcome nothing that the copy uses was given back.
func (s *Set) fill(memory *cuda.Memory, content []byte) (err error) {
	pinned, err := s.device.Pin(int64(len(content)), cuda.PinOptions{Mapped: true})
	if err != nil {
		return err
	}
	copy(pinned.Bytes(), content)
	stream, err := s.device.NewStream(cuda.StreamOptions{})
	if err != nil {
		return errors.Join(err, twice(pinned.Close))
	}
	var q cuda.Submission
	q.Copy(cuda.Copy{Dst: memory.Ptr(), Src: pinned.DevicePtr(), Bytes: uint64(len(content))})
	issued, err := stream.Submit(&q)
	if issued > 0 {
		err = errors.Join(err, s.wait(stream))
		if errors.Is(err, kvferry.ErrUnknownOutcome) {
			return err
		}
	}
	return errors.Join(err, twice(stream.Close), twice(pinned.Close))
}

// twice gives something back, and tries once more if the driver would not.
func twice(give func() error) error {
	err := give()
	if err != nil {
		_ = give() // the first failure is told
	}
	return err
}

// wait waits for stream, and for all of the device if that fails. If that fails,
// too, nobody knows whether the copy has ended: ErrUnknownOutcome, unless the
// device is lost and will copy nothing.
func (s *Set) wait(stream *cuda.Stream) error {
	err := stream.Synchronize()
	if err == nil || s.device.Synchronize() == nil || s.device.Err() != nil {
		return err
	}
	return fmt.Errorf("a copy was not seen to end, and its memory is not given back: %w: %w", kvferry.ErrUnknownOutcome, err)
}

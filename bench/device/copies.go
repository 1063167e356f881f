package main

import (
	"fmt"
	"unsafe"

	"github.com/kvferry/kvferry/cuda"
)

// address returns the address of host memory as a copy wants it. The memory is
// pinned and outside the Go heap, so it stays where it is.
func address(mem []byte) cuda.Ptr { return cuda.Ptr(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))) }

// alloc takes device memory until the row is done.
func (b *bench) alloc(bytes int64) (*cuda.Memory, error) {
	m, err := b.device.Alloc(bytes)
	if err == nil {
		b.later(m.Free)
	}
	return m, err
}

// pin takes pinned memory until the row is done.
func (b *bench) pin(bytes int64) ([]byte, error) {
	p, err := b.device.Pin(bytes, cuda.PinOptions{})
	if err != nil {
		return nil, err
	}
	b.later(p.Close)
	return p.Bytes(), nil
}

// stream makes a stream until the row is done.
func (b *bench) stream() (*cuda.Stream, error) {
	s, err := b.device.NewStream(cuda.StreamOptions{})
	if err == nil {
		b.later(s.Close)
	}
	return s, err
}

// contiguous makes the copy of one piece, that everything else is held against.
func contiguous(s *cuda.Stream, dst, src cuda.Ptr, bytes int64) timed {
	var q cuda.Submission
	return clocked(func() error {
		q.Reset()
		q.Copy(cuda.Copy{Dst: dst, Src: src, Bytes: uint64(bytes)})
		if _, err := s.Submit(&q); err != nil {
			return err
		}
		return s.Synchronize()
	})
}

// both makes two copies at once, each on a stream of its own.
func both(out, in *cuda.Stream, host, dev, dev2, host2 cuda.Ptr, bytes int64) timed {
	var q, r cuda.Submission
	return clocked(func() error {
		q.Reset()
		r.Reset()
		q.Copy(cuda.Copy{Dst: host, Src: dev, Bytes: uint64(bytes)})
		r.Copy(cuda.Copy{Dst: dev2, Src: host2, Bytes: uint64(bytes)})
		if _, err := out.Submit(&q); err != nil {
			return err
		}
		if _, err := in.Submit(&r); err != nil {
			return err
		}
		if err := out.Synchronize(); err != nil {
			return err
		}
		return in.Synchronize()
	})
}

// pinnedPool returns pinned memory that holds the pattern, and as much that is for
// whatever is to be compared with it. It stays until the part ends.
func (b *bench) pinnedPool() (data, scratch []byte, err error) {
	if b.painter != nil {
		n := len(b.painter) / 2
		return b.painter[:n], b.painter[n:], nil
	}
	data, err = b.pool()
	if err != nil {
		return nil, nil, err
	}
	p, err := b.device.Pin(2*int64(len(data)), cuda.PinOptions{})
	if err != nil {
		return nil, nil, err
	}
	b.atEnd = append(b.atEnd, p.Close)
	b.painter = p.Bytes()[:2*len(data)]
	copy(b.painter, data)
	return b.pinnedPool()
}

// paint writes the pattern over device memory.
func (b *bench) paint(m *cuda.Memory) error {
	data, _, err := b.pinnedPool()
	if err != nil {
		return err
	}
	mark := b.mark()
	s, err := b.stream()
	if err != nil {
		return err
	}
	var q cuda.Submission
	for at := int64(0); at < m.Bytes(); at += int64(len(data)) {
		n := min(int64(len(data)), m.Bytes()-at)
		q.Copy(cuda.Copy{Dst: m.Ptr() + cuda.Ptr(at), Src: address(data), Bytes: uint64(n)})
	}
	if _, err := s.Submit(&q); err != nil {
		return err
	}
	if err := s.Synchronize(); err != nil {
		return err
	}
	return b.closeTo(mark)
}

// wipe sets every byte of device memory to one that the pattern has not got
// everywhere.
func (b *bench) wipe(m *cuda.Memory) error {
	mark := b.mark()
	s, err := b.stream()
	if err != nil {
		return err
	}
	var q cuda.Submission
	q.Fill(m.Ptr(), 0xee, m.Bytes())
	if _, err := s.Submit(&q); err != nil {
		return err
	}
	if err := s.Synchronize(); err != nil {
		return err
	}
	return b.closeTo(mark)
}

// painted returns an error unless every byte of device memory is the pattern's.
func (b *bench) painted(m *cuda.Memory) error {
	data, mem, err := b.pinnedPool()
	if err != nil {
		return err
	}
	mark := b.mark()
	s, err := b.stream()
	if err != nil {
		return err
	}
	for at := int64(0); at < m.Bytes(); at += int64(len(mem)) {
		n := min(int64(len(mem)), m.Bytes()-at)
		if _, err := contiguous(s, address(mem), m.Ptr()+cuda.Ptr(at), n)(); err != nil {
			return err
		}
		if err := b.compare(mem[:n], data, at); err != nil {
			return err
		}
	}
	return b.closeTo(mark)
}

// compare holds what lay at offset at against the pattern, on every core.
func (b *bench) compare(got []byte, data pattern, at int64) error {
	const piece = 1 << 20
	return parallel(b.ctx, (len(got)+piece-1)/piece, func(i int) error {
		from := i * piece
		if !data.equal(got[from:min(len(got), from+piece)], at+int64(from)) {
			return fmt.Errorf("device memory from byte %d on: %w", at+int64(from), errWrong)
		}
		return nil
	})
}

// Package device keeps the pages of the example's engine in the memory of a
// GPU. Weights and arithmetic stay on the host: what a step reads is copied to
// pinned memory, and what it wrote is copied back, in a stream that kvferry's
// copies are ordered with.
package device

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/examples/llama/engine"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/gpu"
	"github.com/kvferry/kvferry/pager/host"
)

// Memory is memory of a GPU with a working copy in pinned host memory.
type Memory struct {
	device  *cuda.Device
	kernels *kernels.Set
	memory  *cuda.Memory
	working *cuda.Pinned
	stream  *cuda.Stream
	// loaded and stored mark the ends of the copies of the last Load and Store.
	loaded, stored *cuda.Event
	pager          *gpu.Pager // nil until it is asked for

	queue  cuda.Submission
	copies []cuda.Copy
	closed bool
}

var _ engine.Memory = (*Memory)(nil)

// Opener returns what opens memory of the GPU with the given ordinal, for
// engine.Config.
func Opener(ordinal int) func(bytes int64) (engine.Memory, error) {
	return func(bytes int64) (engine.Memory, error) {
		m, err := Open(ordinal, bytes)
		if err != nil {
			return nil, err // not a nil *Memory in an interface
		}
		return m, nil
	}
}

// Open takes memory of a GPU and as much pinned memory.
func Open(ordinal int, bytes int64) (*Memory, error) {
	m := &Memory{}
	err := m.open(ordinal, bytes)
	if err != nil {
		return nil, fmt.Errorf("device: %w", errors.Join(err, m.Close()))
	}
	return m, nil
}

func (m *Memory) open(ordinal int, bytes int64) (err error) {
	if m.device, err = cuda.Open(ordinal, cuda.Options{}); err != nil {
		return err
	}
	if m.kernels, err = kernels.Open(context.Background(), m.device, nil); err != nil {
		return err
	}
	if m.memory, err = m.device.Alloc(bytes); err != nil {
		return err
	}
	if m.working, err = m.device.Pin(bytes, cuda.PinOptions{}); err != nil {
		return err
	}
	if m.stream, err = m.device.NewStream(cuda.StreamOptions{}); err != nil {
		return err
	}
	if m.loaded, err = m.device.NewEvent(cuda.EventOptions{}); err != nil {
		return err
	}
	m.stored, err = m.device.NewEvent(cuda.EventOptions{})
	return err
}

// Host implements engine.Memory.
func (m *Memory) Host() []byte { return m.working.Bytes() }

// Load implements engine.Memory.
func (m *Memory) Load(ctx context.Context, ranges []engine.Range) error {
	host, device := m.addresses()
	if err := m.copy(ranges, host, device, m.loaded); err != nil {
		return fmt.Errorf("device: load %d ranges: %w", len(ranges), err)
	}
	return m.loaded.Wait(ctx)
}

// Store implements engine.Memory.
func (m *Memory) Store(ranges []engine.Range) error {
	host, device := m.addresses()
	if err := m.copy(ranges, device, host, m.stored); err != nil {
		return fmt.Errorf("device: store %d ranges: %w", len(ranges), err)
	}
	return nil
}

// Settle implements engine.Memory.
func (m *Memory) Settle(ctx context.Context) error { return m.stored.Wait(ctx) }

// addresses returns where the working copy and the memory begin.
func (m *Memory) addresses() (host, device cuda.Ptr) {
	return cuda.Ptr(uintptr(unsafe.Pointer(unsafe.SliceData(m.working.Bytes())))), m.memory.Ptr()
}

// copy queues the copies of ranges, all by one call, and done behind them.
func (m *Memory) copy(ranges []engine.Range, to, from cuda.Ptr, done *cuda.Event) error {
	m.copies = m.copies[:0]
	for _, r := range ranges {
		at := cuda.Ptr(r.Offset)
		m.copies = append(m.copies, cuda.Copy{Dst: to + at, Src: from + at, Bytes: uint64(r.Bytes)})
	}
	m.queue.Reset()
	m.queue.Copies(m.copies, cuda.Batch)
	m.queue.RecordEvent(done)
	_, err := m.stream.Submit(&m.queue)
	return err
}

// Pager implements engine.Memory. kvferry's copies wait for what the stream
// holds, and what the stream gets later waits for copies into pages.
func (m *Memory) Pager(l *pager.Layout, e host.Engine) (pager.Pager, error) {
	if m.pager != nil {
		return m.pager.View(), nil
	}
	var regions []cuda.Ptr
	at := m.memory.Ptr()
	for _, r := range l.Regions {
		regions = append(regions, at)
		at += cuda.Ptr(r.Bytes)
	}
	p, err := gpu.New(gpu.Config{
		Device: m.device, Kernels: m.kernels, Layout: l, Regions: regions, Engine: e, Streams: []uintptr{m.stream.Handle()},
	})
	if err != nil {
		return nil, err
	}
	m.pager = p
	return p.View(), nil
}

// Close implements engine.Memory. Copies of kvferry that do not end keep all
// memory that they may touch: then it stays until the process ends.
func (m *Memory) Close() error {
	if m.closed {
		return nil
	}
	m.closed = true
	if m.pager != nil {
		if err := m.pager.Close(); errors.Is(err, kvferry.ErrUnknownOutcome) {
			return fmt.Errorf("device: close: %w", err)
		} else if err != nil {
			return fmt.Errorf("device: close: %w", errors.Join(err, m.free()))
		}
	}
	if err := m.free(); err != nil {
		return fmt.Errorf("device: close: %w", err)
	}
	return nil
}

// free gives back what open got, the last first.
func (m *Memory) free() error {
	var errs []error
	if m.stream != nil {
		errs = append(errs, m.stream.Synchronize(), m.stream.Close())
	}
	for _, e := range []*cuda.Event{m.stored, m.loaded} {
		if e != nil {
			errs = append(errs, e.Close())
		}
	}
	if m.working != nil {
		errs = append(errs, m.working.Close())
	}
	if m.memory != nil {
		errs = append(errs, m.memory.Free())
	}
	if m.kernels != nil {
		errs = append(errs, m.kernels.Close())
	}
	if m.device != nil {
		errs = append(errs, m.device.Close())
	}
	return errors.Join(errs...)
}

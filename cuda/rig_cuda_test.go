//go:build cuda

package cuda_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
)

// rig is what most tests need. It is closed at cleanup.
type rig struct {
	t      testing.TB
	device *cuda.Device
	stream *cuda.Stream
	event  *cuda.Event
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, device: softcuda.Device(t)}
	var err error
	r.stream, err = r.device.NewStream(cuda.StreamOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.stream.Close()) })
	r.event, err = r.device.NewEvent(cuda.EventOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.event.Close()) })
	return r
}

func (r *rig) alloc(bytes int64) *cuda.Memory {
	r.t.Helper()
	m, err := r.device.Alloc(bytes)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { require.NoError(r.t, m.Free()) })
	return m
}

func (r *rig) pin(bytes int64) []byte {
	r.t.Helper()
	p, err := r.device.Pin(bytes, cuda.PinOptions{Workers: 1})
	require.NoError(r.t, err)
	r.t.Cleanup(func() { require.NoError(r.t, p.Close()) })
	return p.Bytes()
}

// run submits q, with a record at its end, and waits.
func (r *rig) run(q *cuda.Submission) {
	r.t.Helper()
	q.RecordEvent(r.event)
	n, err := r.stream.Submit(q)
	require.NoError(r.t, err)
	require.Equal(r.t, q.Len(), n)
	require.NoError(r.t, r.event.Wait(context.Background()))
}

// at is the address of host memory.
func at(mem []byte) cuda.Ptr { return cuda.Ptr(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))) }

// noise fills memory with bytes that differ by seed.
func noise(mem []byte, seed uint64) {
	r := rand.NewPCG(seed, 0)
	for i := range mem {
		mem[i] = byte(r.Uint64())
	}
}

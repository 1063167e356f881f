//go:build cuda

package gpu

import (
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
)

// driven calls the driver as an engine does that works on the primary context.
type driven struct {
	t    *testing.T
	cell []byte
	at   uint64
}

func newDriven(t *testing.T) *driven {
	softcuda.Only(t)
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	d := &driven{t: t}
	d.cell, d.at = softcuda.Scratch(t, 8)
	d.ok("cuDevicePrimaryCtxRetain", d.at, 0)
	t.Cleanup(func() { d.ok("cuDevicePrimaryCtxRelease_v2", 0) })
	d.ok("cuCtxPushCurrent_v2", binary.LittleEndian.Uint64(d.cell))
	t.Cleanup(func() { d.ok("cuCtxPopCurrent_v2", d.at) })
	return d
}

func (d *driven) ok(op string, args ...uint64) {
	d.t.Helper()
	require.Zero(d.t, softcuda.Call(op, args...), op)
}

// begin begins a capture on a stream that does not mind what others do.
func (d *driven) begin(s *cuda.Stream) { d.ok("cuStreamBeginCapture_v2", uint64(s.Handle()), 2) }

// end ends a capture, which has to be whole.
func (d *driven) end(s *cuda.Stream) {
	d.t.Helper()
	d.ok("cuStreamEndCapture", uint64(s.Handle()), d.at)
	d.ok("cuGraphDestroy", binary.LittleEndian.Uint64(d.cell))
}

// TestJobsAreRefusedWhileAGraphIsCaptured captures on the second of the engine's
// streams.
func TestJobsAreRefusedWhileAGraphIsCaptured(t *testing.T) {
	w := newWorld(t, ordinary(t))
	second, err := w.device.NewStream(cuda.StreamOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { w.gone(second.Close()) })
	p := w.open(func(c *Config) { c.Streams = append(c.Streams, second.Handle()) })
	memory, ids := w.memory(), w.all()
	w.queueUpload(memory)
	w.settle()
	driver := newDriven(t)
	driver.begin(second)
	for _, d := range []pager.Direction{pager.Out, pager.In} {
		_, err := p.cache.Submit(t.Context(), pager.Job{Direction: d, Pages: ids[:3], Frames: noisy(w, 3)})
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
	driver.end(second)
	got := w.queueDownload()
	w.settle()
	equal(t, memory, got)
	frames := w.frames(len(ids), 0)
	w.move(p, pager.Out, ids, frames)
	holds(t, w.layout, memory, ids, frames)
}

// TestGraphCapturedDuringACopyIn begins the capture when the job's marks are set
// and its last batches are not queued.
func TestGraphCapturedDuringACopyIn(t *testing.T) {
	w, p, memory := heldWorld(t, inBatches(2, func(*Config) {}))
	driver := newDriven(t)
	ids, frames := w.all(), noisy(w, 24)
	ticket := w.submitJob(p, pager.In, ids, frames)
	issued(p, slotsPerWay, 1)
	driver.begin(w.model)
	softcuda.Release()
	w.done(p, ticket)
	driver.end(w.model)
	got := w.queueDownload()
	w.settle()
	expect(t, w.layout, memory, ids, frames)
	equal(t, memory, got)
}

// TestKernelsOfAnotherDevice loads them on the second of two.
func TestKernelsOfAnotherDevice(t *testing.T) {
	softcuda.Only(t)
	softcuda.Reset(t)
	softcuda.SetDevices(2)
	w := newWorld(t, ordinary(t))
	other, err := cuda.Open(1, cuda.Options{})
	require.NoError(t, err)
	c := w.config()
	c.Kernels, err = kernels.Open(t.Context(), other, nil)
	require.NoError(t, err)
	_, err = New(c)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.NoError(t, c.Kernels.Close())
	require.NoError(t, other.Close())
}

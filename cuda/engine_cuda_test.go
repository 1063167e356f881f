//go:build cuda

package cuda_test

import (
	"context"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
)

// engine plays a serving process: it calls the driver by itself, on one thread.
type engine struct {
	t      *testing.T
	cell   []byte // 8 bytes of C for results
	cellAt uint64
}

// asEngine runs f on a thread of its own, which ends with it, so that no other
// goroutine meets its context.
func asEngine(t *testing.T, f func(e *engine)) {
	t.Helper()
	softcuda.Only(t)
	e := &engine{t: t}
	e.cell, e.cellAt = softcuda.Scratch(t, 8)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f(e)
	}()
	<-done
}

func (e *engine) call(name string, arguments ...uint64) {
	e.t.Helper()
	require.Zero(e.t, softcuda.Call(name, arguments...), name)
}

// made calls a function that writes what it made to its first argument.
func (e *engine) made(name string, arguments ...uint64) uint64 {
	e.t.Helper()
	clear(e.cell)
	e.call(name, append([]uint64{e.cellAt}, arguments...)...)
	return binary.LittleEndian.Uint64(e.cell)
}

func (e *engine) current() uint64 { return e.made("cuCtxGetCurrent") }

// mode returns the thread's capture mode.
func (e *engine) mode() uint32 {
	binary.LittleEndian.PutUint64(e.cell, 0)
	e.call("cuThreadExchangeStreamCaptureMode", e.cellAt)
	mode := binary.LittleEndian.Uint32(e.cell)
	e.call("cuThreadExchangeStreamCaptureMode", e.cellAt)
	return mode
}

// withContext makes the primary context current until the thread ends.
func (e *engine) withContext(f func()) {
	e.call("cuCtxSetCurrent", e.made("cuDevicePrimaryCtxRetain", 0))
	f()
	e.call("cuCtxSetCurrent", 0)
	e.call("cuDevicePrimaryCtxRelease_v2", 0)
}

const (
	nonBlocking     = 1
	captureGlobal   = 0
	captureLocal    = 1
	captureRelaxed  = 2
	blockingNoTimes = 3
)

// use does one of everything that may come while an engine works.
func use(t *testing.T, d *cuda.Device) {
	t.Helper()
	m, err := d.Alloc(4096)
	require.NoError(t, err)
	p, err := d.Pin(4096, cuda.PinOptions{Mapped: true})
	require.NoError(t, err)
	s, err := d.NewStream(cuda.StreamOptions{})
	require.NoError(t, err)
	e, err := d.NewEvent(cuda.EventOptions{})
	require.NoError(t, err)
	require.NoError(t, d.CheckRange(m.Ptr(), 4096))
	var q cuda.Submission
	q.Fill(m.Ptr(), 7, 4096)
	q.Copies([]cuda.Copy{{Dst: at(p.Bytes()), Src: m.Ptr(), Bytes: 4096}}, cuda.Batch)
	q.RecordEvent(e)
	_, err = s.Submit(&q)
	require.NoError(t, err)
	require.NoError(t, e.Wait(context.Background()))
	require.Equal(t, byte(7), p.Bytes()[4095])
	require.NoError(t, e.Close())
	require.NoError(t, s.Close())
	require.NoError(t, p.Close())
	require.NoError(t, m.Free())
}

// TestContextIsLeftAlone: a call leaves the thread's context and capture mode as
// they were, whatever they were.
func TestContextIsLeftAlone(t *testing.T) {
	d := softcuda.Device(t)
	asEngine(t, func(e *engine) {
		require.Zero(t, e.current())
		use(t, d)
		require.Zero(t, e.current())
		require.Equal(t, uint32(captureGlobal), e.mode())
		e.withContext(func() {
			before := e.current()
			require.NotZero(t, before)
			use(t, d)
			require.Equal(t, before, e.current())
		})
	})
}

// TestContextAfterFailures: a failure to put the context or the mode back is told, and
// they are put back nevertheless.
func TestContextAfterFailures(t *testing.T) {
	d := softcuda.Device(t)
	asEngine(t, func(e *engine) {
		e.withContext(func() {
			before := e.current()
			for _, c := range []struct {
				op  string
				nth int
			}{{"cuCtxPushCurrent", 1}, {"cuThreadExchangeStreamCaptureMode", 1}, {"cuThreadExchangeStreamCaptureMode", 2}, {"cuCtxPopCurrent", 1}} {
				softcuda.Fail(c.op, c.nth, 1)
				err := d.Synchronize()
				require.ErrorIs(t, err, kvferry.ErrInvalid)
				require.ErrorContains(t, err, c.op)
				require.Equal(t, before, e.current(), c.op)
				require.Equal(t, uint32(captureGlobal), e.mode(), c.op)
				e.call("cuCtxPopCurrent_v2", e.cellAt)
				require.Zero(t, e.current(), "nothing of ours lies below")
				e.call("cuCtxPushCurrent_v2", before)
			}
		})
	})
}

// TestDuringCapture: while the engine captures a stream, in any mode and on the same thread,
// everything works and the capture is not disturbed.
func TestDuringCapture(t *testing.T) {
	d := softcuda.Device(t)
	for _, mode := range []uint64{captureGlobal, captureLocal} {
		asEngine(t, func(e *engine) {
			e.withContext(func() {
				s := e.made("cuStreamCreate", nonBlocking)
				e.call("cuStreamBeginCapture_v2", s, mode)
				use(t, d)
				e.call("cuStreamEndCapture", s, e.cellAt)
				graph := binary.LittleEndian.Uint64(e.cell)
				require.NotZero(t, graph)
				e.call("cuGraphDestroy", graph)
				e.call("cuStreamDestroy_v2", s)
			})
		})
	}
}

// TestForeignStreamDuringCapture: what would join our work to the engine's graph, or
// break it, is refused before anything is queued, and the engine gets its graph.
func TestForeignStreamDuringCapture(t *testing.T) {
	r := newRig(t)
	m := r.alloc(64)
	var q cuda.Submission
	q.Fill(m.Ptr(), 1, 64)
	q.RecordEvent(r.event)
	for _, mode := range []uint64{captureGlobal, captureLocal, captureRelaxed} {
		asEngine(t, func(e *engine) {
			e.withContext(func() {
				s := e.made("cuStreamCreate", nonBlocking)
				theirs, err := r.device.ForeignStream(uintptr(s))
				require.NoError(t, err)
				r.requireCapturing(theirs, false)
				e.call("cuStreamBeginCapture_v2", s, mode)
				r.requireCapturing(theirs, true)
				calls := softcuda.Calls("cuCtxPushCurrent")
				r.requireCaptured(theirs.Submit(&q))
				require.Equal(t, 1, softcuda.Calls("cuCtxPushCurrent")-calls)
				r.requireCaptured(0, theirs.Synchronize())
				use(t, r.device)
				e.call("cuStreamEndCapture", s, e.cellAt)
				graph := binary.LittleEndian.Uint64(e.cell)
				require.NotZero(t, graph)
				e.call("cuGraphDestroy", graph)

				r.requireCapturing(theirs, false)
				n, err := theirs.Submit(&q)
				require.NoError(t, err)
				require.Equal(t, 2, n)
				require.NoError(t, theirs.Synchronize())
				require.NoError(t, r.event.Wait(context.Background()))
				require.NoError(t, theirs.Close())
				e.call("cuStreamDestroy_v2", s)
			})
		})
	}
}

func (r *rig) requireCapturing(s *cuda.Stream, want bool) {
	r.t.Helper()
	got, err := s.Capturing()
	require.NoError(r.t, err)
	require.Equal(r.t, want, got)
}

func (r *rig) requireCaptured(issued int, err error) {
	r.t.Helper()
	require.Zero(r.t, issued)
	require.ErrorIs(r.t, err, kvferry.ErrInvalid)
	require.ErrorContains(r.t, err, "the engine's stream is being captured: copy before or after")
}

// TestLegacyStreamDuringCapture: work there would end the capture of any stream that
// waits for it.
func TestLegacyStreamDuringCapture(t *testing.T) {
	r := newRig(t)
	legacy, err := r.device.ForeignStream(0)
	require.NoError(t, err)
	var q cuda.Submission
	q.RecordEvent(r.event)
	asEngine(t, func(e *engine) {
		e.withContext(func() {
			s := e.made("cuStreamCreate", 0)
			e.call("cuStreamBeginCapture_v2", s, captureRelaxed)
			r.requireCapturing(legacy, true)
			r.requireCaptured(legacy.Submit(&q))
			r.requireCaptured(0, legacy.Synchronize())
			e.call("cuStreamEndCapture", s, e.cellAt)
			e.call("cuGraphDestroy", binary.LittleEndian.Uint64(e.cell))
			e.call("cuStreamDestroy_v2", s)
		})
	})
	_, err = legacy.Submit(&q)
	require.NoError(t, err)
	require.NoError(t, legacy.Close())
}

// TestCaptureQuestionFails: a driver without the function has no captures; another
// failure queues nothing. Streams of ours are not asked for.
func TestCaptureQuestionFails(t *testing.T) {
	softcuda.Only(t)
	r := newRig(t)
	theirs, err := r.device.ForeignStream(r.stream.Handle())
	require.NoError(t, err)
	var q cuda.Submission
	q.RecordEvent(r.event)
	for code, issued := range map[int]int{500: 1, 1: 0} {
		softcuda.Fail("cuStreamIsCapturing", 1, code)
		n, err := theirs.Submit(&q)
		require.Equal(t, issued, n)
		require.Equal(t, issued == 1, err == nil, err)
		if err != nil {
			require.ErrorContains(t, err, "cuStreamIsCapturing")
		}
	}
	before := softcuda.Calls("cuStreamIsCapturing")
	_, err = r.stream.Submit(&q)
	require.NoError(t, err)
	require.Equal(t, before, softcuda.Calls("cuStreamIsCapturing"))
	require.NoError(t, theirs.Close())
}

// TestOrderWithEngine: the engine's kernel, our copy, the engine's next kernel, each
// waiting for the one before by an event of the other side.
func TestOrderWithEngine(t *testing.T) {
	r := newRig(t)
	const bytes = 1 << 16
	m, out := r.alloc(bytes), r.pin(bytes)
	asEngine(t, func(e *engine) {
		e.withContext(func() {
			s := e.made("cuStreamCreate", nonBlocking)
			ready := e.made("cuEventCreate", blockingNoTimes)
			e.call("cuMemsetD8Async", uint64(m.Ptr()), 0x11, bytes, s)
			e.call("cuEventRecord", ready, s)

			theirs, err := r.device.ForeignEvent(uintptr(ready))
			require.NoError(t, err)
			require.Equal(t, uintptr(ready), theirs.Handle())
			var q cuda.Submission
			q.WaitEvent(theirs)
			q.Copy(cuda.Copy{Dst: at(out), Src: m.Ptr(), Bytes: bytes})
			q.RecordEvent(r.event)
			_, err = r.stream.Submit(&q)
			require.NoError(t, err)

			e.call("cuStreamWaitEvent", s, uint64(r.event.Handle()), 0)
			e.call("cuMemsetD8Async", uint64(m.Ptr()), 0x22, bytes, s)
			require.NoError(t, r.event.Wait(context.Background()))
			for _, b := range out {
				require.Equal(t, byte(0x11), b)
			}
			require.NoError(t, theirs.Wait(context.Background()))
			require.NoError(t, theirs.Close())

			engines, err := r.device.ForeignStream(uintptr(s))
			require.NoError(t, err)
			require.NoError(t, engines.Synchronize())
			q.Reset()
			q.Copies([]cuda.Copy{{Dst: at(out), Src: m.Ptr(), Bytes: bytes}}, cuda.Batch)
			q.RecordEvent(r.event)
			_, err = engines.Submit(&q)
			require.NoError(t, err)
			require.NoError(t, r.event.Wait(context.Background()))
			require.Equal(t, byte(0x22), out[bytes-1])
			require.NoError(t, engines.Close())
			e.call("cuStreamDestroy_v2", s) // still the engine's
			e.call("cuEventDestroy_v2", ready)
		})
	})
}

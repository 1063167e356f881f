//go:build cuda

package softcuda_test

import (
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/softcuda"
)

// TestNoContext: a thread without one is refused, whatever others have.
func TestNoContext(t *testing.T) {
	eachMode(t, func(r *rig) {
		r.ok("cuCtxPopCurrent_v2", r.outAt)
		r.fails(201, "cuMemAlloc_v2", r.outAt, 64)
		r.ok("cuCtxPushCurrent_v2", r.context)
		got := make(chan int)
		go func() {
			runtime.LockOSThread() // and ends with it
			got <- softcuda.Call("cuMemAlloc_v2", r.outAt, 64)
		}()
		require.Equal(r, 201, <-got)
	})
}

// TestReleasedContext: one reference too many, and use after the last.
func TestReleasedContext(t *testing.T) {
	eachMode(t, func(r *rig) {
		r.ok("cuDevicePrimaryCtxRelease_v2", 0)
		r.fails(709, "cuMemAlloc_v2", r.outAt, 64)
		r.fails(201, "cuDevicePrimaryCtxRelease_v2", 0)
		r.violates("no reference")
		r.ok("cuDevicePrimaryCtxRetain", r.outAt, 0)
	})
}

// TestMixedDevices: memory, streams, events and modules of one device are no
// good in the context of another.
func TestMixedDevices(t *testing.T) {
	eachMode(t, func(r *rig) {
		softcuda.SetDevices(2)
		d, s, e := r.filled(page), r.stream(), r.event()
		increment := r.function("softcuda_increment")
		_, h := r.pinned(page)
		other := attach(r.T, 1)
		require.NotEqual(r, r.context, other.context)
		far, t1 := other.filled(page), other.stream()

		r.fails(201, "cuMemcpyDtoHAsync_v2", h, far, page, s)
		r.violates("stream of device 0", "device 1 is current")
		r.fails(1, "cuMemcpyDtoHAsync_v2", h, d, page, t1)
		r.violates("device memory of device 0", "by cuMemAlloc (call ")
		r.fails(1, "cuMemcpyDtoDAsync_v2", far, d, page, t1)
		r.violates("device memory of device 0")
		r.fails(400, "cuEventRecord", e, t1)
		r.violates("event of device 0", "of device 1")
		r.fails(201, "cuLaunchKernel", increment, 1, 1, 1, 1, 1, 1, 0, t1, r.outAt, 0)
		r.violates("function of device 0", "device 1 is current")
		r.ok("cuMemcpyDtoHAsync_v2", h, far, page, t1)
		r.ok("cuStreamSynchronize", t1)
	})
}

// TestEventMisuse: used after its end, ended while waited for, waited for without
// a record.
func TestEventMisuse(t *testing.T) {
	eachMode(t, func(r *rig) {
		a, b, d := r.stream(), r.stream(), r.alloc(64)
		r.ok("cuEventCreate", r.outAt, 2)
		e := r.result()
		r.ok("cuStreamWaitEvent", a, e, 0)
		r.ok("cuEventQuery", e) // never recorded counts as done
		r.clean()
		softcuda.SetUnrecorded(true)
		r.ok("cuStreamWaitEvent", a, e, 0)
		r.violates("cuStreamWaitEvent (call ", "never recorded")

		softcuda.Hold()
		r.ok("cuMemsetD8Async", d, 1, 64, a)
		r.ok("cuEventRecord", e, a)
		r.ok("cuStreamWaitEvent", b, e, 0)
		r.ok("cuEventDestroy_v2", e)
		r.violates("cuEventDestroy (call ", "cuStreamWaitEvent (call ", "still waits")
		softcuda.Release()
		r.fails(400, "cuEventQuery", e)
		r.violates("cuEventQuery (call ", "cuEventDestroy (call ")
		r.fails(400, "cuEventDestroy_v2", e)
		r.violates("cuEventDestroy")
		r.fails(400, "cuEventQuery", 4096)
		r.violates("is no event")

		from, to := r.event(), r.event() // without timing
		r.ok("cuEventRecord", from, a)
		r.ok("cuEventRecord", to, a)
		r.ok("cuStreamSynchronize", a)
		r.fails(400, "cuEventElapsedTime", r.outAt, from, to)
	})
}

// TestStreamMisuse: use after its end; what is queued still runs.
func TestStreamMisuse(t *testing.T) {
	eachMode(t, func(r *rig) {
		d := r.alloc(64)
		r.ok("cuStreamCreate", r.outAt, 1)
		s := r.result()
		r.ok("cuMemsetD8Async", d, 1, 64, s)
		r.ok("cuStreamDestroy_v2", s)
		r.fails(400, "cuStreamSynchronize", s)
		r.violates("cuStreamSynchronize (call ", "cuStreamDestroy (call ")
		r.fails(400, "cuStreamDestroy_v2", s)
		r.violates("cuStreamDestroy")
		r.ok("cuCtxSynchronize")
		r.ok("cuStreamCreateWithPriority", r.outAt, 1, ^uint64(6)) // -7
		s = r.result()
		r.ok("cuStreamGetPriority", s, r.outAt)
		require.Equal(r, int32(-5), int32(binary.NativeEndian.Uint32(r.out)))
		r.ok("cuStreamDestroy_v2", s)
	})
}

const (
	captureGlobal = 0
	captureLocal  = 1
	relaxed       = 2
)

// exchange sets the thread's capture mode.
func (r *rig) exchange(mode uint32) {
	binary.NativeEndian.PutUint32(r.out, mode)
	r.ok("cuThreadExchangeStreamCaptureMode", r.outAt)
}

// TestUnsafeDuringCapture: calls that are not safe end the engine's capture,
// unless the thread's mode is relaxed.
func TestUnsafeDuringCapture(t *testing.T) {
	eachMode(t, func(r *rig) {
		engine, ours, e, d := r.stream(), r.stream(), r.event(), r.filled(page)
		_, h := r.pinned(page)
		unsafe := map[string][]uint64{
			"cuMemAlloc_v2": {r.outAt, 64}, "cuMemHostAlloc": {r.outAt, 64, 0}, "cuMemHostRegister_v2": {h, 64, 0},
			"cuMemFree_v2": {d}, "cuMemHostUnregister": {h}, "cuEventQuery": {e}, "cuEventSynchronize": {e},
			"cuStreamSynchronize": {ours}, "cuCtxSynchronize": nil, "cuMemcpyDtoH_v2": {h, d, 64}, "cuModuleLoadData": {r.outAt},
		}
		for name, arguments := range unsafe {
			r.ok("cuStreamBeginCapture_v2", engine, captureGlobal)
			r.fails(900, name, arguments...)
			r.violates("stream", "is being captured", "relaxed")
			r.fails(901, "cuStreamEndCapture", engine, r.outAt)
		}
		r.ok("cuStreamBeginCapture_v2", engine, captureGlobal)
		r.exchange(relaxed)
		p := r.bare(64)
		r.ok("cuMemcpyDtoHAsync_v2", h, d, page, ours)
		r.ok("cuStreamSynchronize", ours)
		r.ok("cuMemFree_v2", p)
		r.exchange(captureGlobal)
		r.ok("cuMemsetD8Async", d, 9, page, engine) // taken down, and not run
		r.ok("cuStreamEndCapture", engine, r.outAt)
		r.ok("cuGraphDestroy", r.result())
		r.ok("cuMemcpyDtoH_v2", h, d, page)
		require.Equal(r, byte(7), memory(h, 1)[0])
	})
}

// TestCaptureOfAnotherThread forbids by its mode and by ours.
func TestCaptureOfAnotherThread(t *testing.T) {
	eachMode(t, func(r *rig) {
		engine := r.stream()
		for _, c := range []struct {
			capture uint64
			thread  uint32
			code    int
		}{{captureGlobal, captureGlobal, 900}, {captureGlobal, captureLocal, 0}, {captureLocal, captureGlobal, 0}, {relaxed, captureGlobal, 0}} {
			begin, end := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(end)
				runtime.LockOSThread()
				softcuda.Call("cuCtxPushCurrent_v2", r.context)
				softcuda.Call("cuStreamBeginCapture_v2", engine, c.capture)
				begin <- struct{}{}
				<-begin
				softcuda.Call("cuStreamEndCapture", engine, 0)
			}()
			<-begin
			r.exchange(c.thread)
			r.fails(c.code, "cuMemAlloc_v2", r.outAt, 64)
			if c.code == 0 {
				p := r.result()
				r.ok("cuMemFree_v2", p)
			} else {
				r.violates("is being captured")
			}
			r.exchange(captureGlobal)
			begin <- struct{}{}
			<-end
		}
	})
}

// TestCapturedEventsAndStreams: an event recorded into a capture cannot be asked;
// a stream that waits for it joins; the legacy stream is in a capture's way.
func TestCapturedEventsAndStreams(t *testing.T) {
	eachMode(t, func(r *rig) {
		engine, ours, e, d := r.stream(), r.stream(), r.event(), r.alloc(64)
		r.ok("cuStreamBeginCapture_v2", engine, relaxed)
		r.ok("cuEventRecord", e, engine)
		r.fails(907, "cuEventQuery", e)
		r.violates("recorded into a capture")
		r.ok("cuStreamWaitEvent", ours, e, 0)
		r.ok("cuStreamIsCapturing", ours, r.outAt)
		require.Equal(r, byte(1), r.out[0])
		r.fails(904, "cuStreamEndCapture", engine, r.outAt)
		r.ok("cuStreamIsCapturing", ours, r.outAt)
		require.Zero(r, r.out[0])

		r.ok("cuStreamCreate", r.outAt, 0)
		blocking := r.result()
		r.later("cuStreamDestroy_v2", blocking)
		r.ok("cuStreamBeginCapture_v2", blocking, relaxed)
		r.fails(906, "cuMemsetD8Async", d, 1, 64, 0)
		r.violates("legacy stream", "being captured")
		r.fails(901, "cuStreamEndCapture", blocking, 0)

		r.ok("cuStreamBeginCapture_v2", engine, relaxed)
		r.fails(900, "cuStreamSynchronize", engine)
		r.violates("being captured")
		r.fails(901, "cuStreamEndCapture", engine, 0)
	})
}

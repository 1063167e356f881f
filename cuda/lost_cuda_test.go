//go:build cuda

package cuda_test

import (
	"context"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
)

// everything is one of each thing that a device has.
type everything struct {
	device *cuda.Device
	memory *cuda.Memory
	pinned *cuda.Pinned
	stream *cuda.Stream
	event  *cuda.Event
	timer  *cuda.Event
	module *cuda.Module
	kernel *cuda.Function
}

func makeEverything(t *testing.T) *everything {
	t.Helper()
	e := &everything{device: softcuda.Device(t)}
	var err error
	e.memory, err = e.device.Alloc(4096)
	require.NoError(t, err)
	e.pinned, err = e.device.Pin(4096, cuda.PinOptions{})
	require.NoError(t, err)
	e.stream, err = e.device.NewStream(cuda.StreamOptions{})
	require.NoError(t, err)
	e.event, err = e.device.NewEvent(cuda.EventOptions{})
	require.NoError(t, err)
	e.timer, err = e.device.NewEvent(cuda.EventOptions{Timing: true})
	require.NoError(t, err)
	image, _, err := e.device.Link(ptx(t), cuda.LinkOptions{})
	require.NoError(t, err)
	e.module, err = e.device.Load(image)
	require.NoError(t, err)
	e.kernel, err = e.module.Function("compare_flags")
	require.NoError(t, err)
	return e
}

// close frees everything, in an order that lets memory go last, and returns the
// first failure.
func (e *everything) close() error {
	var first error
	for _, end := range []func() error{
		e.module.Close, e.timer.Close, e.event.Close, e.stream.Close, e.pinned.Close, e.memory.Free, e.device.Close,
	} {
		if err := end(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// uses are all ways to work with the device, by the driver function that each calls.
func (e *everything) uses() map[string]func() error {
	d := e.device
	submit := func(add func(q *cuda.Submission)) func() error {
		return func() error {
			var q cuda.Submission
			add(&q)
			_, err := e.stream.Submit(&q)
			return err
		}
	}
	copies := func(m cuda.Method) func() error {
		return submit(func(q *cuda.Submission) {
			q.Copies([]cuda.Copy{{Dst: e.memory.Ptr(), Src: at(e.pinned.Bytes()), Bytes: 64}}, m)
		})
	}
	return map[string]func() error{
		"cuMemAlloc":                 func() error { _, err := d.Alloc(64); return err },
		"cuMemGetInfo":               func() error { _, _, err := d.MemoryInfo(); return err },
		"cuCtxSynchronize":           d.Synchronize,
		"cuPointerGetAttribute":      func() error { _, err := d.Pointer(e.memory.Ptr()); return err },
		"cuMemGetAddressRange":       func() error { return d.CheckRange(e.memory.Ptr(), 1) },
		"cuIpcGetMemHandle":          func() error { _, err := d.IPC(e.memory.Ptr()); return err },
		"cuIpcOpenMemHandle":         func() error { _, err := d.OpenIPC(cuda.IPCHandle{Bytes: 1}); return err },
		"cuMemHostRegister":          func() error { _, err := d.Pin(4096, cuda.PinOptions{}); return err },
		"cuMemHostGetDevicePointer":  func() error { _, err := d.Pin(4096, cuda.PinOptions{Mapped: true}); return err },
		"cuStreamCreateWithPriority": func() error { _, err := d.NewStream(cuda.StreamOptions{}); return err },
		"cuStreamGetCtx":             func() error { _, err := d.ForeignStream(e.stream.Handle()); return err },
		"cuStreamIsCapturing":        func() error { _, err := e.stream.Capturing(); return err },
		"cuStreamSynchronize":        e.stream.Synchronize,
		"cuEventCreate":              func() error { _, err := d.NewEvent(cuda.EventOptions{}); return err },
		"cuEventQuery":               func() error { _, err := e.event.Done(); return err },
		"cuEventElapsedTime":         func() error { _, err := e.timer.Elapsed(e.timer); return err },
		"cuLinkCreate":               func() error { _, _, err := d.Link([]byte("x"), cuda.LinkOptions{}); return err },
		"cuModuleLoadData":           func() error { _, err := d.Load([]byte("x")); return err },
		"cuModuleGetFunction":        func() error { _, err := e.module.Function("gather"); return err },
		"cuFuncGetAttribute":         func() error { _, err := e.kernel.Facts(); return err },
		"cuMemcpyAsync":              copies(cuda.Single),
		"cuMemcpyBatchAsync":         copies(cuda.Batch),
		"cuMemsetD8Async":            submit(func(q *cuda.Submission) { q.Fill(e.memory.Ptr(), 1, 1) }),
		"cuStreamWaitEvent":          submit(func(q *cuda.Submission) { q.WaitEvent(e.event) }),
		"cuEventRecord":              submit(func(q *cuda.Submission) { q.RecordEvent(e.event) }),
		"cuLaunchKernel":             submit(func(q *cuda.Submission) { q.Launch(e.kernel, cuda.Dim{}, cuda.Dim{}, 0, &cuda.Params{}) }),
	}
}

// TestLostAtEachCall: a sticky failure of any function loses the device once, every
// later use names the first cause, and all that is freed afterwards is gone.
func TestLostAtEachCall(t *testing.T) {
	softcuda.Only(t)
	for _, op := range names(t) {
		t.Run(op, func(t *testing.T) {
			softcuda.Reset(t)
			e := makeEverything(t)
			softcuda.Fail(op, 1, 719)
			err := e.uses()[op]()
			require.ErrorIs(t, err, kvferry.ErrDeviceLost)
			var first *cuda.Error
			require.ErrorAs(t, err, &first)
			require.Equal(t, op, first.Op)
			require.Equal(t, "CUDA_ERROR_LAUNCH_FAILED", first.Name())
			for other, use := range e.uses() {
				err := use()
				require.ErrorIs(t, err, kvferry.ErrDeviceLost, other)
				var cause *cuda.Error
				require.ErrorAs(t, err, &cause)
				require.Equal(t, first, cause, other)
			}
			require.ErrorIs(t, e.device.Err(), kvferry.ErrDeviceLost)
			require.ErrorIs(t, e.event.Wait(context.Background()), kvferry.ErrDeviceLost)
			require.NoError(t, e.close())
		})
	}
}

// names of the functions that uses covers.
func names(t *testing.T) []string {
	t.Helper()
	var ns []string
	for op := range (&everything{device: &cuda.Device{}, stream: &cuda.Stream{}}).uses() {
		ns = append(ns, op)
	}
	return ns
}

// TestLostInStream: what fails inside the stream is met by the wait for it.
func TestLostInStream(t *testing.T) {
	softcuda.Only(t)
	for _, op := range []string{"op.copy", "op.fill", "op.kernel"} {
		t.Run(op, func(t *testing.T) {
			softcuda.Reset(t)
			e := makeEverything(t)
			softcuda.Fail(op, 1, 700)
			var q cuda.Submission
			var p cuda.Params
			p.Ptr(e.memory.Ptr())
			p.Ptr(e.memory.Ptr())
			p.Uint32(1)
			p.Uint32(1)
			p.Ptr(e.memory.Ptr() + 1024)
			q.Fill(e.memory.Ptr(), 1, 4096)
			q.Copies([]cuda.Copy{{Dst: at(e.pinned.Bytes()), Src: e.memory.Ptr(), Bytes: 64}}, cuda.Single)
			q.Launch(e.kernel, cuda.Dim{X: 1}, cuda.Dim{X: 256}, 0, &p)
			q.RecordEvent(e.event)
			_, err := e.stream.Submit(&q)
			if err == nil {
				err = e.event.Wait(context.Background())
			}
			require.ErrorIs(t, err, kvferry.ErrDeviceLost)
			require.ErrorContains(t, err, "CUDA_ERROR_ILLEGAL_ADDRESS")
			require.NoError(t, e.close())
		})
	}
}

// TestLostWhileFreeing: the call that meets it says so, once.
func TestLostWhileFreeing(t *testing.T) {
	softcuda.Only(t)
	for _, op := range []string{"cuMemFree", "cuMemHostUnregister", "cuStreamDestroy", "cuEventDestroy", "cuModuleUnload"} {
		softcuda.Reset(t)
		e := makeEverything(t)
		softcuda.Fail(op, 1, 700)
		require.ErrorIs(t, e.close(), kvferry.ErrDeviceLost, op)
		require.NoError(t, e.close())
	}
}

// TestMemoryOfLostDeviceStays: what a lost device does not unpin stays mapped, for it may
// still write there; what it does is freed.
func TestMemoryOfLostDeviceStays(t *testing.T) {
	softcuda.Only(t)
	softcuda.Reset(t)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	d := softcuda.Device(t)
	p, err := d.Pin(4096, cuda.PinOptions{})
	require.NoError(t, err)
	mem := p.Bytes()
	softcuda.Fail("cuMemHostUnregister", 1, 719)
	require.ErrorIs(t, p.Close(), kvferry.ErrDeviceLost)
	require.Nil(t, p.Bytes())
	require.NotPanics(t, func() { mem[0]++ })
	require.NoError(t, d.Close())
}

// TestReset: a context that somebody reset is lost.
func TestReset(t *testing.T) {
	softcuda.Only(t)
	softcuda.Reset(t)
	d := softcuda.Device(t)
	softcuda.Fail("cuCtxPushCurrent", 1, 201)
	_, err := d.Alloc(64)
	require.ErrorIs(t, err, kvferry.ErrDeviceLost)
	require.ErrorIs(t, d.Err(), kvferry.ErrDeviceLost)
}

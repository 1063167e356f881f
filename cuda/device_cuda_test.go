//go:build cuda

package cuda_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
)

func TestOpen(t *testing.T) {
	d := softcuda.Device(t)
	require.NoError(t, cuda.Status())
	n, err := cuda.Count()
	require.NoError(t, err)
	require.Positive(t, n)
	for _, ordinal := range []int{-1, n, 1 << 40} {
		_, err := cuda.Open(ordinal, cuda.Options{})
		require.ErrorIs(t, err, kvferry.ErrNoDevice)
	}
	v, err := cuda.DriverVersion()
	require.NoError(t, err)
	f := d.Facts()
	require.Equal(t, v, f.Driver)
	require.GreaterOrEqual(t, int(v), 11000)
	require.NotEmpty(t, f.Name)
	require.Regexp(t, `^(GPU|MIG)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, f.UUID)
	require.Regexp(t, `^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.0$`, f.PCI)
	require.GreaterOrEqual(t, f.Major, 7)
	require.Positive(t, f.TotalBytes)
	require.Positive(t, f.Multiprocessors)
	require.Positive(t, f.CopyEngines)
	require.True(t, f.HostRegister)
	require.NoError(t, d.Err())
	require.NoError(t, d.Synchronize())
	require.NoError(t, d.Close())
	require.NoError(t, d.Close())
	require.ErrorIs(t, d.Err(), kvferry.ErrClosed)
}

func TestInstanceOfGPU(t *testing.T) {
	softcuda.Only(t)
	softcuda.Reset(t)
	softcuda.SetMIG(true)
	require.Regexp(t, "^MIG-", softcuda.Device(t).Facts().UUID)
}

func TestNoDevices(t *testing.T) {
	softcuda.Only(t)
	softcuda.Reset(t)
	softcuda.SetDevices(0)
	require.ErrorIs(t, cuda.Status(), kvferry.ErrNoDevice)
	_, err := cuda.Open(0, cuda.Options{})
	require.ErrorIs(t, err, kvferry.ErrNoDevice)
}

func TestOpenFails(t *testing.T) {
	softcuda.Only(t)
	for _, c := range []struct {
		op   string
		code int
		want error
	}{
		{"cuDeviceGet", 101, kvferry.ErrNoDevice},
		{"cuDevicePrimaryCtxRetain", 46, kvferry.ErrNoDevice},
		{"cuDevicePrimaryCtxRetain", 800, kvferry.ErrNoDevice},
		{"cuDevicePrimaryCtxRetain", 304, kvferry.ErrNoDevice},
		{"cuDevicePrimaryCtxRetain", 2, kvferry.ErrOutOfMemory},
		{"cuDevicePrimaryCtxRetain", 700, kvferry.ErrDeviceLost},
		{"cuDeviceGetAttribute", 1, kvferry.ErrInvalid},
		{"cuDeviceGetCount", 3, kvferry.ErrNoDevice},
	} {
		softcuda.Reset(t)
		softcuda.Fail(c.op, 1, c.code)
		_, err := cuda.Open(0, cuda.Options{})
		require.ErrorIs(t, err, c.want, c.op)
		if c.want != kvferry.ErrNoDevice { //nolint:errorlint // the root error itself
			require.NotErrorIs(t, err, kvferry.ErrNoDevice, c.op)
		}
	}
}

// TestCloseWithLeftovers: what is still there is named, and can still be used.
func TestCloseWithLeftovers(t *testing.T) {
	d := softcuda.Device(t)
	m, err := d.Alloc(64)
	require.NoError(t, err)
	e, err := d.NewEvent(cuda.EventOptions{})
	require.NoError(t, err)
	f, err := d.ForeignEvent(e.Handle())
	require.NoError(t, err)
	err = d.Close()
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.ErrorContains(t, err, "1 x memory, 2 x event")
	require.NoError(t, d.Err())
	require.NoError(t, m.Free())
	require.NoError(t, f.Close())
	require.NoError(t, e.Close())
	require.NoError(t, d.Close())
}

// TestAfterClose: everything is ErrClosed.
func TestAfterClose(t *testing.T) {
	d := softcuda.Device(t)
	require.NoError(t, d.Close())
	for name, use := range map[string]func() error{
		"Err":           d.Err,
		"Synchronize":   d.Synchronize,
		"MemoryInfo":    func() error { _, _, err := d.MemoryInfo(); return err },
		"Alloc":         func() error { _, err := d.Alloc(1); return err },
		"Pointer":       func() error { _, err := d.Pointer(1); return err },
		"CheckRange":    func() error { return d.CheckRange(1, 1) },
		"IPC":           func() error { _, err := d.IPC(1); return err },
		"OpenIPC":       func() error { _, err := d.OpenIPC(cuda.IPCHandle{Bytes: 1}); return err },
		"Pin":           func() error { _, err := d.Pin(1, cuda.PinOptions{}); return err },
		"Register":      func() error { _, err := d.Register(make([]byte, 1), cuda.PinOptions{}); return err },
		"Allocator":     func() error { _, err := d.Allocator(cuda.PinOptions{}).Allocate(1); return err },
		"NewStream":     func() error { _, err := d.NewStream(cuda.StreamOptions{}); return err },
		"ForeignStream": func() error { _, err := d.ForeignStream(0); return err },
		"NewEvent":      func() error { _, err := d.NewEvent(cuda.EventOptions{}); return err },
		"ForeignEvent":  func() error { _, err := d.ForeignEvent(1); return err },
		"Link":          func() error { _, _, err := d.Link([]byte("x"), cuda.LinkOptions{}); return err },
		"Load":          func() error { _, err := d.Load([]byte("x")); return err },
	} {
		require.ErrorIs(t, use(), kvferry.ErrClosed, name)
	}
	require.False(t, d.IsPinned(make([]byte, 1)))
}

// TestZeroValues: what nobody made can be asked and closed, and does nothing.
func TestZeroValues(t *testing.T) {
	var d cuda.Device
	require.ErrorIs(t, d.Err(), kvferry.ErrInvalid)
	require.Equal(t, -1, d.Facts().NUMANode)
	_, err := d.Alloc(1)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.NoError(t, d.Close())
	var s cuda.Stream
	_, err = s.Submit(&cuda.Submission{})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.ErrorIs(t, s.Synchronize(), kvferry.ErrInvalid)
	require.NoError(t, s.Close())
	var e cuda.Event
	_, err = e.Done()
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.ErrorIs(t, e.Wait(context.Background()), kvferry.ErrInvalid)
	require.NoError(t, e.Close())
	var m cuda.Module
	_, err = m.Function("x")
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.NoError(t, m.Close())
	var p cuda.Pinned
	require.NoError(t, p.Close())
	var mem cuda.Memory
	require.NoError(t, mem.Free())
	var f cuda.Function
	_, err = f.Facts()
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

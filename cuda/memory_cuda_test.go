//go:build cuda

package cuda_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
)

func TestAlloc(t *testing.T) {
	d := softcuda.Device(t)
	for _, n := range []int64{0, -1, math.MinInt64} {
		_, err := d.Alloc(n)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
	for _, n := range []int64{1, 255, 257, 1 << 20} {
		m, err := d.Alloc(n)
		require.NoError(t, err)
		require.Equal(t, n, m.Bytes())
		require.Zero(t, m.Ptr()%256)
		require.NotZero(t, m.Ptr())
		require.NoError(t, m.Free())
		require.NoError(t, m.Free())
	}
}

func TestAllocTooMuch(t *testing.T) {
	d := softcuda.Device(t)
	free, total, err := d.MemoryInfo()
	require.NoError(t, err)
	require.LessOrEqual(t, free, total)
	require.Positive(t, free)
	_, err = d.Alloc(total + 1<<20)
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	require.ErrorContains(t, err, "bytes wanted")
	require.ErrorContains(t, err, "free on device 0")
	var e *cuda.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "cuMemAlloc", e.Op)
}

func TestPointer(t *testing.T) {
	r := newRig(t)
	m, mem := r.alloc(1000), r.pin(3<<12)
	for _, p := range []cuda.Ptr{m.Ptr(), m.Ptr() + 999} {
		got, err := r.device.Pointer(p)
		require.NoError(t, err)
		require.Equal(t, cuda.Pointer{Kind: cuda.DeviceMemory, Device: 0, Base: m.Ptr(), Bytes: got.Bytes}, got)
		require.GreaterOrEqual(t, got.Bytes, int64(1000))
	}
	got, err := r.device.Pointer(at(mem) + 5000)
	require.NoError(t, err)
	require.Equal(t, cuda.HostMemory, got.Kind)
	require.Equal(t, at(mem), got.Base)
	require.Equal(t, int64(len(mem)), got.Bytes)
	for _, p := range []cuda.Ptr{0, 1, at(make([]byte, 64)), math.MaxUint64} {
		got, err := r.device.Pointer(p)
		require.NoError(t, err)
		require.Equal(t, cuda.Unknown, got.Kind)
	}
}

func TestCheckRange(t *testing.T) {
	r := newRig(t)
	const bytes = 4 << 20 // a real driver rounds up to 2 MiB
	m, mem := r.alloc(bytes), r.pin(1<<12)
	for _, good := range []struct {
		p     cuda.Ptr
		bytes int64
	}{
		{m.Ptr(), bytes}, {m.Ptr(), 1}, {m.Ptr() + bytes - 1, 1}, {m.Ptr() + 7, bytes - 7},
	} {
		require.NoError(t, r.device.CheckRange(good.p, good.bytes))
	}
	for _, bad := range []struct {
		p     cuda.Ptr
		bytes int64
		says  string
	}{
		{m.Ptr(), 0, "check 0 bytes"},
		{m.Ptr(), -1, "check -1 bytes"},
		{m.Ptr(), bytes + 1, "has 4194304 bytes"},
		{m.Ptr() + 1, bytes, "4194303 bytes further"},
		{m.Ptr(), math.MaxInt64, "has 4194304 bytes"},
		{math.MaxUint64 - 10, 100, "check 100 bytes"},
		{0, 1, "knows no memory"},
		{at(make([]byte, 64)), 64, "knows no memory"},
		{at(mem), 64, "not device memory"},
	} {
		err := r.device.CheckRange(bad.p, bad.bytes)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
		require.ErrorContains(t, err, bad.says)
	}
}

func TestRangeOfAnotherDevice(t *testing.T) {
	softcuda.Only(t)
	softcuda.Reset(t)
	softcuda.SetDevices(2)
	first := softcuda.Device(t)
	second, err := cuda.Open(1, cuda.Options{})
	require.NoError(t, err)
	m, err := second.Alloc(4096)
	require.NoError(t, err)
	require.NoError(t, second.CheckRange(m.Ptr(), 4096))
	err = first.CheckRange(m.Ptr(), 4096)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.ErrorContains(t, err, "memory of device 1, this is device 0")

	s, err := second.NewStream(cuda.StreamOptions{})
	require.NoError(t, err)
	_, err = first.ForeignStream(s.Handle())
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.NoError(t, s.Close())
	require.NoError(t, m.Free())
	require.NoError(t, second.Close())
}

func TestIPC(t *testing.T) {
	softcuda.Only(t) // a real driver opens no handle in the process that made it
	r := newRig(t)
	const bytes = 1 << 16
	m, mem := r.alloc(bytes), r.pin(bytes)
	noise(mem, 1)
	var q cuda.Submission
	q.Copy(cuda.Copy{Dst: m.Ptr(), Src: at(mem), Bytes: bytes})
	r.run(&q)

	h, err := r.device.IPC(m.Ptr() + 1000)
	require.NoError(t, err)
	require.Equal(t, int64(1000), h.Offset)
	require.Equal(t, int64(bytes-1000), h.Bytes)
	shared, err := r.device.OpenIPC(h)
	require.NoError(t, err)
	require.Equal(t, h.Bytes, shared.Bytes())
	out := r.pin(bytes)
	q.Reset()
	q.Copy(cuda.Copy{Dst: at(out), Src: shared.Ptr(), Bytes: uint64(h.Bytes)})
	r.run(&q)
	require.Equal(t, mem[1000:], out[:bytes-1000])
	require.NoError(t, shared.Free())
	require.NoError(t, shared.Free())

	for _, bad := range []cuda.IPCHandle{
		{Handle: h.Handle, Offset: -1, Bytes: 1},
		{Handle: h.Handle, Offset: 0, Bytes: 0},
		{Handle: h.Handle, Offset: 1, Bytes: bytes},
		{Handle: h.Handle, Offset: math.MaxInt64, Bytes: 1},
		{Handle: [64]byte{1, 2, 3}, Bytes: 1},
	} {
		_, err := r.device.OpenIPC(bad)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
	_, err = r.device.IPC(at(mem))
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	softcuda.Fail("cuIpcGetMemHandle", 1, 1)
	_, err = r.device.IPC(m.Ptr())
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
}

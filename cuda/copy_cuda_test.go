//go:build cuda

package cuda_test

import (
	"context"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
)

func host(mem []byte) cuda.Ptr { return cuda.Ptr(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))) }

func TestCopyBothWays(t *testing.T) {
	d := softcuda.Device(t)
	m, err := d.Alloc(1 << 20)
	require.NoError(t, err)
	p, err := d.Pin(2<<20, cuda.PinOptions{})
	require.NoError(t, err)
	s, err := d.NewStream(cuda.StreamOptions{})
	require.NoError(t, err)
	e, err := d.NewEvent(cuda.EventOptions{})
	require.NoError(t, err)
	in, out := p.Bytes()[:1<<20], p.Bytes()[1<<20:]
	for i := range in {
		in[i] = byte(i * 7)
	}
	for _, method := range []cuda.Method{cuda.Batch, cuda.Single} {
		var q cuda.Submission
		q.Copies([]cuda.Copy{{Dst: m.Ptr(), Src: host(in), Bytes: 1 << 20}}, method)
		q.Copies([]cuda.Copy{{Dst: host(out), Src: m.Ptr(), Bytes: 1 << 20}}, method)
		q.RecordEvent(e)
		n, err := s.Submit(&q)
		require.NoError(t, err)
		require.Equal(t, 3, n)
		require.NoError(t, e.Wait(context.Background()))
		require.Equal(t, in, out)
		clear(out)
	}
	require.NoError(t, e.Close())
	require.NoError(t, s.Close())
	require.NoError(t, p.Close())
	require.NoError(t, m.Free())
	t.Logf("%+v", d.Facts())
}

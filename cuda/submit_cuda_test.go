//go:build cuda

package cuda_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
)

// scatter is a list of copies of pieces of different lengths, in mixed order, and
// what they make of src.
func scatter(n int, src, dst cuda.Ptr, bytes uint64) []cuda.Copy {
	var cs []cuda.Copy
	step := bytes / uint64(n)
	for i := range uint64(n) {
		j := (i*7 + 3) % uint64(n) // n is no multiple of 7
		cs = append(cs, cuda.Copy{Dst: dst + cuda.Ptr(j*step), Src: src + cuda.Ptr(i*step), Bytes: step - i%3})
	}
	return cs
}

func TestBatchEqualsSingle(t *testing.T) {
	for _, driver := range []int{13000, 12080, 12070} {
		t.Run(fmt.Sprint(driver), func(t *testing.T) {
			softcuda.Only(t)
			softcuda.Reset(t)
			softcuda.SetDriver(driver)
			r := newRig(t)
			require.Equal(t, driver >= 12080, r.device.Facts().BatchCopy)
			const bytes, n = 64 << 10, 101
			src, m := r.pin(bytes), r.alloc(bytes)
			batch, single := r.pin(bytes), r.pin(bytes)
			noise(src, 1)
			for _, c := range []struct {
				method cuda.Method
				out    []byte
			}{{cuda.Batch, batch}, {cuda.Single, single}} {
				var q cuda.Submission
				q.Fill(m.Ptr(), 0xEE, bytes)
				q.Copies(scatter(n, at(src), m.Ptr(), bytes), c.method)
				q.Copy(cuda.Copy{Dst: at(c.out), Src: m.Ptr(), Bytes: bytes})
				r.run(&q)
			}
			require.Equal(t, single, batch)
			require.NotEqual(t, src, batch)
			want := map[bool]int{true: 1, false: 0}[driver >= 12080]
			require.Equal(t, want, softcuda.Calls("cuMemcpyBatchAsync"))
		})
	}
}

// TestManyCopies: 10,000 copies and more are one call into C, and batches as large as
// the driver is given them.
func TestManyCopies(t *testing.T) {
	r := newRig(t)
	const n, each = 20_001, 8
	src, m, out := r.pin(n*each), r.alloc(n*each), r.pin(n*each)
	noise(src, 2)
	var q cuda.Submission
	q.Fill(m.Ptr(), 0xEE, n*each)
	q.Copies(scatter(n-1, at(src), m.Ptr(), (n-1)*each), cuda.Batch)
	q.Copy(cuda.Copy{Dst: at(out), Src: m.Ptr(), Bytes: n * each})
	require.Equal(t, 3, q.Len())
	before := softcuda.Calls("cuCtxPushCurrent")
	n1, err := r.stream.Submit(&q)
	require.NoError(t, err)
	require.Equal(t, 3, n1)
	if softcuda.Loaded() {
		require.Equal(t, 1, softcuda.Calls("cuCtxPushCurrent")-before)
		require.Equal(t, 2, softcuda.Calls("cuMemcpyBatchAsync")) // 16,384 at a time
		require.Equal(t, 1, softcuda.Calls("cuMemcpyAsync"))
	}
	require.NoError(t, r.stream.Synchronize())
	for i := range n - 1 {
		j := (i*7 + 3) % (n - 1)
		length := each - i%3
		require.Equal(t, src[i*each:i*each+length], out[j*each:j*each+length])
	}
}

// TestBatchNotSupported: a driver that has the function, on a system that does not
// take it.
func TestBatchNotSupported(t *testing.T) {
	softcuda.Only(t)
	r := newRig(t)
	m, src, out := r.alloc(4096), r.pin(4096), r.pin(4096)
	noise(src, 4)
	softcuda.Fail("cuMemcpyBatchAsync", 0, 801)
	var q cuda.Submission
	q.Copies(scatter(2, at(src), m.Ptr(), 4096), cuda.Batch)
	q.Copies([]cuda.Copy{{Dst: m.Ptr(), Src: at(src), Bytes: 4096}}, cuda.Batch)
	q.Copies([]cuda.Copy{{Dst: at(out), Src: m.Ptr(), Bytes: 4096}}, cuda.Batch)
	r.run(&q)
	require.Equal(t, src, out)
	require.Equal(t, 4, softcuda.Calls("cuMemcpyAsync"))
}

// TestLegacyStream takes no batches.
func TestLegacyStream(t *testing.T) {
	r := newRig(t)
	for _, handle := range []uintptr{0, 1} {
		legacy, err := r.device.ForeignStream(handle)
		require.NoError(t, err)
		require.Equal(t, handle, legacy.Handle())
		src, m, out := r.pin(4096), r.alloc(4096), r.pin(4096)
		noise(src, 3)
		var q cuda.Submission
		q.Copies([]cuda.Copy{{Dst: m.Ptr(), Src: at(src), Bytes: 4096}}, cuda.Batch)
		q.Copies([]cuda.Copy{{Dst: at(out), Src: m.Ptr(), Bytes: 4096}}, cuda.Batch)
		q.RecordEvent(r.event)
		_, err = legacy.Submit(&q)
		require.NoError(t, err)
		require.NoError(t, r.event.Wait(context.Background()))
		require.Equal(t, src, out)
		require.NoError(t, legacy.Close())
		_, err = legacy.Submit(&q)
		require.ErrorIs(t, err, kvferry.ErrClosed)
	}
	_, err := r.device.ForeignStream(2)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

func TestEmptySteps(t *testing.T) {
	r := newRig(t)
	var q cuda.Submission
	q.Copy(cuda.Copy{Dst: 1, Src: 2})
	q.Copies([]cuda.Copy{{}, {Dst: 1}}, cuda.Batch)
	q.Copies(nil, cuda.Single)
	q.Fill(1, 1, 0)
	q.Fill(1, 1, -1)
	require.Zero(t, q.Len())
	n, err := r.stream.Submit(&q)
	require.NoError(t, err)
	require.Zero(t, n)
}

// TestPartlyQueued: what a failed submission says was queued, was, and no more.
func TestPartlyQueued(t *testing.T) {
	for _, c := range []struct {
		fail   string
		nth    int
		issued int
	}{
		{"cuMemsetD8Async", 1, 0},
		{"cuMemsetD8Async", 2, 3},
		{"cuStreamWaitEvent", 1, 1},
		{"cuMemcpyAsync", 1, 2},
		{"cuMemcpyAsync", 2, 3}, // half of the step is under way
		{"cuMemcpyBatchAsync", 1, 5},
		{"cuEventRecord", 1, 5},
		{"cuCtxPushCurrent", 1, 0},
		{"cuThreadExchangeStreamCaptureMode", 1, 0},
		{"cuThreadExchangeStreamCaptureMode", 2, 6},
		{"cuCtxPopCurrent", 1, 6},
	} {
		t.Run(fmt.Sprint(c.fail, c.nth), func(t *testing.T) {
			softcuda.Only(t)
			r := newRig(t)
			m, mem := r.alloc(64), r.pin(64)
			var q cuda.Submission
			q.Fill(m.Ptr(), 1, 8)
			q.WaitEvent(r.event)
			q.Copies([]cuda.Copy{{Dst: m.Ptr() + 8, Src: at(mem), Bytes: 8}, {Dst: m.Ptr() + 16, Src: at(mem), Bytes: 8}}, cuda.Single)
			q.Fill(m.Ptr()+24, 2, 8)
			q.Copies([]cuda.Copy{{Dst: m.Ptr() + 32, Src: at(mem), Bytes: 8}}, cuda.Batch)
			q.RecordEvent(r.event)
			softcuda.Fail(c.fail, c.nth, 1)
			n, err := r.stream.Submit(&q)
			require.ErrorIs(t, err, kvferry.ErrInvalid)
			var e *cuda.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.fail, e.Op)
			want := c.issued
			if c.fail == "cuEventRecord" {
				want = 5
			}
			require.Equal(t, want, n)
			require.NoError(t, r.stream.Synchronize())
		})
	}
}

func TestSubmitOfClosedThings(t *testing.T) {
	r := newRig(t)
	e, err := r.device.NewEvent(cuda.EventOptions{})
	require.NoError(t, err)
	require.NotZero(t, e.Handle())
	require.NoError(t, e.Close())
	require.NoError(t, e.Close())
	require.Zero(t, e.Handle())
	for _, add := range []func(q *cuda.Submission){
		func(q *cuda.Submission) { q.WaitEvent(e) },
		func(q *cuda.Submission) { q.RecordEvent(e) },
	} {
		var q cuda.Submission
		add(&q)
		n, err := r.stream.Submit(&q)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
		require.Zero(t, n)
	}
	_, err = e.Done()
	require.ErrorIs(t, err, kvferry.ErrClosed)
	require.ErrorIs(t, e.Wait(context.Background()), kvferry.ErrClosed)
	_, err = e.Elapsed(r.event)
	require.ErrorIs(t, err, kvferry.ErrClosed)

	s, err := r.device.NewStream(cuda.StreamOptions{Priority: -100})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	var q cuda.Submission
	q.RecordEvent(r.event)
	_, err = s.Submit(&q)
	require.ErrorIs(t, err, kvferry.ErrClosed)
	require.ErrorIs(t, s.Synchronize(), kvferry.ErrClosed)
}

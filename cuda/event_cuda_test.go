//go:build cuda

package cuda_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
)

func TestEvent(t *testing.T) {
	r := newRig(t)
	done, err := r.event.Done()
	require.NoError(t, err)
	require.True(t, done, "one that was never recorded")
	require.NoError(t, r.event.Wait(context.Background()))

	from, err := r.device.NewEvent(cuda.EventOptions{Timing: true})
	require.NoError(t, err)
	to, err := r.device.NewEvent(cuda.EventOptions{Timing: true})
	require.NoError(t, err)
	m := r.alloc(1 << 20)
	var q cuda.Submission
	q.RecordEvent(from)
	q.Fill(m.Ptr(), 1, 1<<20)
	q.RecordEvent(to)
	r.run(&q)
	d, err := to.Elapsed(from)
	require.NoError(t, err)
	require.GreaterOrEqual(t, d, time.Duration(0))
	_, err = r.event.Elapsed(from) // has no timing
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.NoError(t, from.Close())
	require.NoError(t, to.Close())
}

// TestWaitEnds: a wait for work that does not end ends with its context.
func TestWaitEnds(t *testing.T) {
	softcuda.Only(t)
	r := newRig(t)
	m := r.alloc(64)
	softcuda.Hold()
	var q cuda.Submission
	q.Fill(m.Ptr(), 1, 64)
	q.RecordEvent(r.event)
	_, err := r.stream.Submit(&q)
	require.NoError(t, err)
	done, err := r.event.Done()
	require.NoError(t, err)
	require.False(t, done)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, r.event.Wait(ctx), context.Canceled)
	ctx, cancel = context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	require.ErrorIs(t, r.event.Wait(ctx), context.DeadlineExceeded)

	softcuda.Release()
	require.NoError(t, r.event.Wait(context.Background()))
}

// TestManyWaits: waits of many goroutines, while the work comes late, all end.
func TestManyWaits(t *testing.T) {
	softcuda.Only(t)
	r := newRig(t)
	m := r.alloc(64)
	softcuda.Hold()
	var q cuda.Submission
	q.Fill(m.Ptr(), 1, 64)
	q.RecordEvent(r.event)
	_, err := r.stream.Submit(&q)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if err := r.event.Wait(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	softcuda.Release()
	wg.Wait()
}

// TestSteadyState: queueing, asking and waiting allocate nothing, and cost one call
// into C each.
func TestSteadyState(t *testing.T) {
	r := newRig(t)
	const n = 64
	src, m := r.pin(n*64), r.alloc(n*64)
	cs := make([]cuda.Copy, n)
	for i := range cs {
		cs[i] = cuda.Copy{Dst: m.Ptr() + cuda.Ptr(i*64), Src: at(src) + cuda.Ptr(i*64), Bytes: 64}
	}
	var q cuda.Submission
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	round := func() {
		q.Reset()
		q.WaitEvent(r.event)
		q.Copies(cs, cuda.Batch)
		q.Fill(m.Ptr(), 1, 64)
		q.RecordEvent(r.event)
		if _, err := r.stream.Submit(&q); err != nil {
			t.Error(err)
		}
		if _, err := r.event.Done(); err != nil {
			t.Error(err)
		}
		if err := r.event.Wait(ctx); err != nil {
			t.Error(err)
		}
		if !r.device.IsPinned(src) {
			t.Error("not pinned")
		}
	}
	round()
	require.Zero(t, testing.AllocsPerRun(20, round))
}

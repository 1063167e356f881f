//go:build cuda

package cuda_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
)

// TestConcurrent: goroutines that move from thread to thread share a device, and
// each pair a stream.
func TestConcurrent(t *testing.T) {
	d := softcuda.Device(t)
	var wg sync.WaitGroup
	for range 4 {
		s, err := d.NewStream(cuda.StreamOptions{})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		for seed := range uint64(2) {
			wg.Go(func() { ferry(t, d, s, seed) })
		}
	}
	wg.Wait()
}

// ferry moves bytes to the device and back, on a stream that it shares.
func ferry(t *testing.T, d *cuda.Device, s *cuda.Stream, seed uint64) {
	const length = 1 << 12
	m, err := d.Alloc(length)
	if err != nil {
		t.Error(err)
		return
	}
	p, err := d.Pin(2*length, cuda.PinOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	e, err := d.NewEvent(cuda.EventOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	in, out := p.Bytes()[:length], p.Bytes()[length:]
	var q cuda.Submission
	for round := range uint64(10) {
		noise(in, seed*100+round)
		q.Reset()
		q.Copies(scatter(5, at(in), m.Ptr(), length), cuda.Batch)
		q.Copies([]cuda.Copy{{Dst: m.Ptr(), Src: at(in), Bytes: length}}, cuda.Method(round%2))
		q.Copies([]cuda.Copy{{Dst: at(out), Src: m.Ptr(), Bytes: length}}, cuda.Batch)
		q.RecordEvent(e)
		if _, err := s.Submit(&q); err != nil {
			t.Error(err)
			break
		}
		runtime.Gosched()
		if err := e.Wait(context.Background()); err != nil {
			t.Error(err)
			break
		}
		if !bytes.Equal(in, out) {
			t.Error("other bytes came back")
		}
	}
	for _, end := range []func() error{e.Close, p.Close, m.Free} {
		if err := end(); err != nil {
			t.Error(err)
		}
	}
}

// TestCloseWhileUsed: what is closed while others use it is ErrClosed to them, and
// never half closed.
func TestCloseWhileUsed(t *testing.T) {
	for range 10 {
		d := softcuda.Device(t)
		s, err := d.NewStream(cuda.StreamOptions{})
		require.NoError(t, err)
		e, err := d.NewEvent(cuda.EventOptions{})
		require.NoError(t, err)
		var wg sync.WaitGroup
		begun := make(chan struct{}, 4)
		for range 4 {
			wg.Go(func() {
				var q cuda.Submission
				for first := true; ; first = false {
					q.Reset()
					q.RecordEvent(e)
					_, errSubmit := s.Submit(&q)
					_, errDone := e.Done()
					if first {
						begun <- struct{}{}
					}
					if errors.Is(errSubmit, kvferry.ErrClosed) && errors.Is(errDone, kvferry.ErrClosed) {
						return
					}
					for _, err := range []error{errSubmit, errDone} {
						// ErrInvalid: an event that was closed before Submit
						if err != nil && !errors.Is(err, kvferry.ErrClosed) && !errors.Is(err, kvferry.ErrInvalid) {
							t.Error(err)
							return
						}
					}
				}
			})
		}
		<-begun
		require.NoError(t, s.Close())
		require.NoError(t, e.Close())
		wg.Wait()
		require.NoError(t, d.Synchronize()) // what was queued still runs
		require.NoError(t, d.Close())
	}
}

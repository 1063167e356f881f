//go:build cuda

package cuda_test

import (
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
)

// TestCloseDuringSynchronize: what waits keeps the stream and the device open, and
// nobody from working with them. No close waits for work that may hang.
func TestCloseDuringSynchronize(t *testing.T) {
	softcuda.Only(t)
	for _, op := range []string{"cuStreamSynchronize", "cuCtxSynchronize"} {
		t.Run(op, func(t *testing.T) {
			softcuda.Reset(t)
			e := makeEverything(t)
			softcuda.Hold()
			var q cuda.Submission
			q.Fill(e.memory.Ptr(), 7, 64)
			_, err := e.stream.Submit(&q)
			require.NoError(t, err)
			ended := make(chan error)
			go func() { ended <- e.uses()[op]() }()
			for softcuda.Calls(op) == 0 {
				runtime.Gosched()
			}
			if op == "cuStreamSynchronize" {
				err = e.stream.Close()
				require.ErrorIs(t, err, kvferry.ErrInvalid)
				require.ErrorContains(t, err, "1 calls of Synchronize wait for it")
			}
			err = e.device.Close()
			require.ErrorIs(t, err, kvferry.ErrInvalid)
			require.ErrorContains(t, err, "1 calls wait for its work")
			_, err = e.stream.Submit(&q)
			require.NoError(t, err)
			_, err = e.event.Done()
			require.NoError(t, err)
			softcuda.Release()
			require.NoError(t, <-ended)
			require.NoError(t, e.stream.Synchronize())
			require.NoError(t, e.close())
		})
	}
}

// TestCloseLostWhileUsed: a lost device may be closed with things open, by several
// and while others use them; none of those meets a context that is gone.
func TestCloseLostWhileUsed(t *testing.T) {
	softcuda.Only(t)
	softcuda.Reset(t)
	for range 20 {
		e := makeEverything(t)
		var users, closers sync.WaitGroup
		begun := make(chan struct{}, 3)
		for _, use := range []func() error{
			func() error { _, err := e.event.Done(); return err },
			func() error { var q cuda.Submission; q.RecordEvent(e.event); _, err := e.stream.Submit(&q); return err },
			func() error { _, err := e.stream.Capturing(); return err },
		} {
			users.Go(func() {
				for first := true; ; first = false {
					err := use()
					if first {
						begun <- struct{}{}
					}
					switch {
					case errors.Is(err, kvferry.ErrClosed):
						return
					case err != nil && !errors.Is(err, kvferry.ErrDeviceLost):
						t.Error(err)
						return
					}
				}
			})
		}
		<-begun
		softcuda.Fail("cuCtxSynchronize", 1, 719)
		require.ErrorIs(t, e.device.Synchronize(), kvferry.ErrDeviceLost)
		for range 2 {
			closers.Go(func() {
				if err := e.device.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		closers.Wait()
		calls := softcuda.TotalCalls()
		users.Wait()
		require.NoError(t, e.close())
		require.Equal(t, calls, softcuda.TotalCalls(), "the driver was called after the context was released")
		require.Empty(t, softcuda.Violations())
		softcuda.Reset(t) // takes what was left in the context
	}
}

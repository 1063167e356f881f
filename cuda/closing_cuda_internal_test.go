//go:build cuda

package cuda

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

// TestCloseWithADebt: closes that pay at the same time do not wait for each other's
// locks, and none ends before the debt is paid.
func TestCloseWithADebt(t *testing.T) {
	d, err := Open(0, Options{})
	if errors.Is(err, kvferry.ErrNoDevice) {
		t.Skip("no device: ", err)
	}
	require.NoError(t, err)
	var solvent atomic.Bool
	d.debts.add(func() bool {
		// One close pays at a time, and an attempt waits for other locks: nobody has this one.
		if !d.debts.mu.TryLock() {
			t.Error("paid with the debts locked")
			return false
		}
		d.debts.mu.Unlock()
		gone, _ := d.undo(func() error {
			if solvent.Load() {
				return nil
			}
			return &Error{"cuMemFree", 1}
		})
		return gone
	})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 2000 {
				if err := d.Close(); !errors.Is(err, kvferry.ErrInvalid) {
					t.Error("closed with a debt: ", err)
					return
				}
			}
		})
	}
	wg.Wait()
	require.ErrorContains(t, d.Close(), "1 that the driver would not take back")
	solvent.Store(true)
	require.NoError(t, d.Close())
	require.NoError(t, d.Close())
	require.ErrorIs(t, d.Err(), kvferry.ErrClosed)
}

// TestUseKeepsDeviceOpen: what begins to use a device holds it until it ends, and
// what is refused, or ends, lets it go.
func TestUseKeepsDeviceOpen(t *testing.T) {
	d, err := Open(0, Options{})
	if errors.Is(err, kvferry.ErrNoDevice) {
		t.Skip("no device: ", err)
	}
	require.NoError(t, err)
	e, err := d.NewEvent(EventOptions{})
	require.NoError(t, err)
	free := func() bool {
		locked := d.mu.TryLock()
		if locked {
			d.mu.Unlock()
		}
		return locked
	}
	require.NoError(t, e.enter("test"))
	require.False(t, free())
	d.mu.RUnlock()
	_, err = e.Done()
	require.NoError(t, err)
	require.True(t, free())
	require.NoError(t, e.Close())
	require.ErrorIs(t, e.enter("test"), kvferry.ErrClosed)
	require.True(t, free())
	require.NoError(t, d.Close())
}

// TestSubmissionsEndBeforeALostDeviceIsStill: memory of a lost device is freed when
// everything queued has ended, what was just being submitted included.
func TestSubmissionsEndBeforeALostDeviceIsStill(t *testing.T) {
	d, err := Open(0, Options{})
	if errors.Is(err, kvferry.ErrNoDevice) {
		t.Skip("no device: ", err)
	}
	require.NoError(t, err)
	s, err := d.NewStream(StreamOptions{})
	require.NoError(t, err)
	d.queueing.RLock() // as a submission that saw the device whole
	d.lost.Store(&Error{"cuCtxSynchronize", 999})
	still := make(chan struct{})
	go func() {
		d.letEnd()
		close(still)
	}()
	for d.queueing.TryRLock() { // until letEnd waits
		d.queueing.RUnlock()
		runtime.Gosched()
	}
	_, err = s.Submit(&Submission{})
	require.ErrorIs(t, err, kvferry.ErrDeviceLost)
	select {
	case <-still:
		t.Error("still beside a submission")
	default:
	}
	d.queueing.RUnlock()
	<-still
	require.NoError(t, s.Close())
	require.NoError(t, d.Close())
}

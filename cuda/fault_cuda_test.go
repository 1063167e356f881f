//go:build cuda

package cuda_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
)

// life is a short one of a device: everything is made, used and freed. Whatever
// fails, all that was made is freed. It returns the first failure.
func life(text []byte) (first error) {
	var undo []func() error
	defer func() {
		for i := len(undo) - 1; i >= 0; i-- {
			err := undo[i]()
			if first == nil {
				first = err
			}
			if err != nil { // not freed: once more
				_ = undo[i]()
			}
		}
	}()
	d, err := cuda.Open(0, cuda.Options{})
	if err != nil {
		return err
	}
	undo = append(undo, d.Close)
	m, err := d.Alloc(1 << 16)
	if err != nil {
		return err
	}
	undo = append(undo, m.Free)
	p, err := d.Pin(1<<16, cuda.PinOptions{ChunkBytes: 1 << 15, Mapped: true})
	if err != nil {
		return err
	}
	undo = append(undo, p.Close)
	s, err := d.NewStream(cuda.StreamOptions{})
	if err != nil {
		return err
	}
	undo = append(undo, s.Close)
	e, err := d.NewEvent(cuda.EventOptions{})
	if err != nil {
		return err
	}
	undo = append(undo, e.Close)
	// Whatever was queued has to end before memory goes.
	undo = append(undo, s.Synchronize)
	image, _, err := d.Link(text, cuda.LinkOptions{})
	if err != nil {
		return err
	}
	mod, err := d.Load(image)
	if err != nil {
		return err
	}
	undo = append(undo, mod.Close)
	if _, err := mod.Function("gather"); err != nil {
		return err
	}
	if err := d.CheckRange(m.Ptr(), 1<<16); err != nil {
		return err
	}
	var q cuda.Submission
	q.Fill(m.Ptr(), 9, 1<<16)
	q.Copies([]cuda.Copy{{Dst: at(p.Bytes()), Src: m.Ptr(), Bytes: 4096}, {Dst: at(p.Bytes()[8192:]), Src: m.Ptr() + 8192, Bytes: 4096}}, cuda.Batch)
	q.RecordEvent(e)
	if _, err := s.Submit(&q); err != nil {
		return err
	}
	if err := e.Wait(context.Background()); err != nil {
		return err
	}
	if p.Bytes()[0] != 9 || p.Bytes()[8192+4095] != 9 {
		return errors.New("wrong bytes")
	}
	return nil
}

// TestFaultAtEveryCall: whichever driver call fails, it is told, and nothing stays
// behind.
func TestFaultAtEveryCall(t *testing.T) {
	softcuda.Only(t)
	text := ptx(t)
	for i, code := range []int{2, 700} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			softcuda.Reset(t)
			require.NoError(t, life(text))
			for k, fired := 1, true; fired; k++ {
				if !softcuda.Mine(k + i) {
					continue
				}
				t.Run(fmt.Sprint(k), func(t *testing.T) {
					softcuda.Reset(t)
					softcuda.FailCall(k, code)
					err := life(text)
					if softcuda.TotalCalls() < k {
						require.NoError(t, err)
						require.Greater(t, k, 50)
						fired = false
						return
					}
					require.Error(t, err)
					var e *cuda.Error
					require.ErrorAs(t, err, &e)
					if code == 700 {
						require.True(t, errors.Is(err, kvferry.ErrDeviceLost) || errors.Is(err, kvferry.ErrNoDevice), err)
					}
				})
			}
		})
	}
}

// TestFreeingAfterFailureFails: what could not be freed then is freed when the device
// is closed, and a device that keeps it says so.
func TestFreeingAfterFailureFails(t *testing.T) {
	softcuda.Only(t)
	for free, create := range map[string]func(d *cuda.Device) error{
		"cuMemFree":       func(d *cuda.Device) error { _, err := d.Alloc(64); return err },
		"cuStreamDestroy": func(d *cuda.Device) error { _, err := d.NewStream(cuda.StreamOptions{}); return err },
		"cuEventDestroy":  func(d *cuda.Device) error { _, err := d.NewEvent(cuda.EventOptions{}); return err },
	} {
		softcuda.Reset(t)
		d := softcuda.Device(t)
		softcuda.Fail("cuCtxPopCurrent", 1, 1) // after it was made
		softcuda.Fail(free, 1, 1)
		require.ErrorIs(t, create(d), kvferry.ErrInvalid, free)
		softcuda.Fail(free, 1, 1)
		err := d.Close()
		require.ErrorIs(t, err, kvferry.ErrInvalid, free)
		require.ErrorContains(t, err, "1 that the driver would not take back")
		require.NoError(t, d.Close())
	}
}

//go:build cuda

package capture_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/internal/softcuda"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/gpu"
)

// TestHungDeviceEndsACapture lets the streams stand still below captures whose
// digests are made and compared on the device, and below one that copies
// everything, and a restore. Each ends when CopyDeadline and the pager's
// DrainTimeout are over; it resumes the engine, and publishes nothing.
func TestHungDeviceEndsACapture(t *testing.T) {
	softcuda.Only(t)
	const after = 20 * time.Millisecond
	m, err := pager.Plain(4, 2, 2, 4, pager.BF16)
	require.NoError(t, err)
	transfer := capture.Transfer{CopyDeadline: after}
	for name, run := range map[string]func(ctx context.Context, o *onDevice, w *deviceWorld) error{
		"digests": func(ctx context.Context, o *onDevice, w *deviceWorld) error {
			_, err := capture.Capture(ctx, o.view, w.store, capture.Options{Transfer: transfer})
			return err
		},
		"compared": func(ctx context.Context, o *onDevice, w *deviceWorld) error {
			_, err := capture.Capture(ctx, o.view, w.store, capture.Options{Since: w.root, Transfer: transfer})
			return err
		},
		"copies": func(ctx context.Context, o *onDevice, w *deviceWorld) error {
			a := pager.AbilitiesOf(o.view)
			a.Digester = nil
			_, err := capture.Capture(ctx, pager.Compose(only{o.view}, a), w.store, capture.Options{Transfer: transfer})
			return err
		},
		"restore": func(ctx context.Context, o *onDevice, w *deviceWorld) error {
			_, err := capture.Restore(ctx, w.store, w.root, o.view, capture.RestoreOptions{Busy: true, Transfer: transfer, Rename: func(id string) string { return "again-" + id }})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOnDevice(t, softcuda.Device(t), m, 24, func(c *gpu.Config) { c.DrainTimeout = after })
			w := &deviceWorld{onDevice: o, store: newMem(t)}
			require.NoError(t, o.fill(t.Context(), 8))
			before, err := capture.Capture(t.Context(), o.Engine, w.store, capture.Options{})
			require.NoError(t, err)
			w.root = before.Root
			require.NoError(t, o.write(t.Context(), 2, noisy(m, 99)))
			entries := w.entries(t)

			softcuda.Hold()
			err = run(t.Context(), o, w)
			softcuda.Release()
			require.Error(t, err)
			if !errors.Is(err, context.DeadlineExceeded) { // nor on a slow machine, where nothing had begun
				require.ErrorIs(t, err, kvferry.ErrUnknownOutcome)
			}
			if name == "digests" || name == "compared" {
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorContains(t, err, "not done within the copy deadline of 20ms")
			}
			require.False(t, o.Paused())
			require.Equal(t, entries, w.entries(t))
			require.NoError(t, o.device.Synchronize()) // what was under way ends before its memory goes
		})
	}
}

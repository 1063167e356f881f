//go:build cuda

package copies

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/softcuda"
	"github.com/kvferry/kvferry/pager"
)

// TestRun measures a few points, whose bytes are checked on the way, and the
// table that comes of it fits the device.
func TestRun(t *testing.T) {
	d := softcuda.Device(t)
	var lengths []int64
	r, err := Run(t.Context(), Options{
		RunBytes: []int64{7, 512, 64 << 10}, Runs: []int64{1, 8, 64}, MaxBytes: 1 << 20, Rounds: 1, Each: time.Microsecond,
		Progress: func(n int64) { lengths = append(lengths, n) },
	})
	require.NoError(t, err)
	require.Equal(t, []int64{7, 512, 64 << 10}, lengths)
	require.Len(t, r.Points, 2*(3+3+2), "64 runs of 64 KiB are more than a job may have")
	for _, p := range r.Points {
		for _, w := range ways() {
			require.Positive(t, *p.of(w))
		}
		require.Positive(t, p.Link)
		dir := pager.Out
		if p.Direction == "in" {
			dir = pager.In
		}
		require.Equal(t, p.Best, r.Paths.Choose(dir, p.Runs, p.Bytes()))
	}
	require.NoError(t, r.Paths.Validate())
	require.NoError(t, r.Paths.Fits(d.Facts()))
}

// TestRunIsCancelled: what was taken for it is given back.
func TestRunIsCancelled(t *testing.T) {
	softcuda.Device(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Run(ctx, Options{
		RunBytes: []int64{512, 1024}, Runs: []int64{4}, Rounds: 1, Each: time.Microsecond,
		Progress: func(n int64) {
			if n > 512 {
				cancel()
			}
		},
	})
	require.ErrorIs(t, err, context.Canceled)
}

// TestLinkIsTimedOnTheDevice: the time of the link is that of the copies alone,
// of which nothing else runs beside.
func TestLinkIsTimedOnTheDevice(t *testing.T) {
	softcuda.Device(t)
	softcuda.Only(t)
	softcuda.SetLink(1e9) // a byte in a nanosecond
	r, err := Run(t.Context(), Options{RunBytes: []int64{64 << 10}, Runs: []int64{1, 8}, Rounds: 1, Each: time.Microsecond})
	require.NoError(t, err)
	require.Len(t, r.Points, 4)
	for _, p := range r.Points {
		require.InEpsilon(t, p.Bytes(), p.Link, 0.05, "%+v", p)
	}
}

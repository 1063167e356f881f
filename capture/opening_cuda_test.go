//go:build cuda

package capture_test

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

// TestFaultsOfOpening makes every call of the driver fail while a device is
// opened and a pager made on it: what was got is given back.
func TestFaultsOfOpening(t *testing.T) {
	softcuda.Only(t)
	m, err := faultMeta()
	require.NoError(t, err)
	open := func(ctx context.Context) error {
		d, err := cuda.Open(0, cuda.Options{})
		if err != nil {
			return err
		}
		o, err := openOnDevice(ctx, d, m, faultRoom)
		if err == nil {
			err = errors.Join(o.closeDevice(), o.Engine.Close())
		}
		if cerr := d.Close(); cerr != nil {
			err = errors.Join(err, cerr, d.Close())
		}
		return err
	}
	for _, codes := range faultCodes() {
		t.Run(fmt.Sprintf("codes=%v", codes), func(t *testing.T) {
			faults := 0
			for k, fired := 1, true; fired; k++ {
				if !softcuda.Mine(k) {
					continue
				}
				code := codes[faults%len(codes)]
				faults++
				require.True(t, t.Run(fmt.Sprintf("k=%d", k), func(t *testing.T) {
					softcuda.Reset(t)
					softcuda.FailCall(k, code)
					err := open(t.Context())
					fired = softcuda.TotalCalls() >= k
					softcuda.FailCall(0, 0)
					if err != nil {
						require.True(t, fired, "%v", err)
						typedOpening(t, err, code)
					}
				}))
				require.True(t, t.Run(fmt.Sprintf("k=%d/afresh", k), func(t *testing.T) {
					softcuda.Reset(t)
					require.NoError(t, open(t.Context()))
				}))
			}
			require.Greater(t, faults, 1)
			t.Logf("%d faults", faults-1)
		})
	}
}

// typedOpening is typedFault for calls that tell that there is no device, or
// that this one cannot be used.
func typedOpening(t testing.TB, err error, code int) {
	t.Helper()
	if errors.Is(err, kvferry.ErrNoDevice) {
		return
	}
	typedFault(t, err, code)
}

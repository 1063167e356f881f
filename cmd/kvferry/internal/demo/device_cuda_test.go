//go:build cuda

package demo

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/softcuda"
)

// TestDemoOnDevice tells the story with the processes' caches in device memory:
// captured, killed, restored in another process, and equal token for token to
// a run in host memory.
func TestDemoOnDevice(t *testing.T) {
	softcuda.Device(t)
	t.Setenv("SOFTCUDA_STRICT", "1") // the children's driver tells of leaks, too, on their standard error
	o := tiny(t)
	o.Device = new(int)
	var log bytes.Buffer
	o.Log = &log
	r, err := Run(t.Context(), o)
	require.NoError(t, err, log.String())
	require.True(t, r.Equal)
	require.Equal(t, 4*mostTokens, r.Compared)
	require.Positive(t, r.Lost)
	require.Empty(t, log.String())
}

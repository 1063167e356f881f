//go:build cuda

package softcuda_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/softcuda"
)

// TestMine: the shares have every point between them, and none twice; without
// shares every point is taken.
func TestMine(t *testing.T) {
	const points = 100
	for n := 1; n <= 5; n++ {
		taken := make([]int, points)
		for k := 1; k <= n; k++ {
			t.Setenv("SOFTCUDA_SHARE", fmt.Sprintf("%d/%d", k, n))
			for i := range taken {
				if softcuda.Mine(i) {
					taken[i]++
				}
			}
		}
		for i, times := range taken {
			require.Equal(t, 1, times, "point %d of %d shares", i, n)
		}
	}
	t.Setenv("SOFTCUDA_SHARE", "")
	for i := range points {
		require.True(t, softcuda.Mine(i))
	}
	for _, wrong := range []string{"x", "0/3", "4/3", "-1/3", "1"} {
		t.Setenv("SOFTCUDA_SHARE", wrong)
		require.Panics(t, func() { softcuda.Mine(1) }, wrong)
	}
}

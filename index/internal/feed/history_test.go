package feed

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAnyHistory: who wants all that there is room for gets what is behind the
// Watch, not nothing.
func TestAnyHistory(t *testing.T) {
	t.Parallel()
	for _, history := range []int{1 << 20, math.MaxInt>>4 + 1, math.MaxInt} {
		f := New(history, 100)
		changes := f.Watch(t.Context(), 100)
		f.Add(put("a"))
		f.Add(put("b"))
		seq := uint64(100)
		for c, err := range changes {
			require.NoError(t, err)
			if seq++; seq == 102 {
				break
			}
			require.Equal(t, seq, c.Seq)
		}
	}
}

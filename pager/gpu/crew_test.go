package gpu

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCrewCodesEachPageOnce for fewer and more pages than goroutines.
func TestCrewCodesEachPageOnce(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 2, 5} {
		var c crew
		c.start(workers)
		for _, n := range []int{1, 2, 4, 5, 6, 100} {
			pages := make([]atomic.Int32, n)
			var coders [5]atomic.Int32
			require.NoError(t, c.run(n, func(h *hostCoder, p piece) error {
				coders[p.index].Add(1)
				for i := p.first; i < p.end; i++ {
					pages[i].Add(1)
				}
				return nil
			}))
			for i := range pages {
				require.EqualValues(t, 1, pages[i].Load(), "page %d of %d by %d", i, n, workers)
			}
			for i := range workers {
				require.EqualValues(t, 1, coders[i].Load())
			}
		}
		c.stop()
		c.stop()
	}
}

func TestCrewTellsTheFirstFailure(t *testing.T) {
	t.Parallel()
	var c crew
	c.start(4)
	defer c.stop()
	first, second := errors.New("first"), errors.New("second")
	err := c.run(8, func(_ *hostCoder, p piece) error { return []error{nil, first, nil, second}[p.index] })
	require.Equal(t, first, err)
	require.NoError(t, c.run(8, func(*hostCoder, piece) error { return nil }), "it is forgotten")
}

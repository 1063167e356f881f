package feed

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// TestAddUnwatched: it numbers like Add as long as nobody watches, and leaves to
// Add what a watcher is to be told.
func TestAddUnwatched(t *testing.T) {
	t.Parallel()
	f := New(10, 5)
	require.True(t, f.AddUnwatched())
	require.Equal(t, uint64(7), f.Add(&index.Change{Kind: index.DidClear}))
	changes := f.Watch(t.Context(), 7)
	require.False(t, f.AddUnwatched())
	require.Equal(t, uint64(7), f.Seq())
	require.Equal(t, uint64(8), f.Add(&index.Change{Kind: index.DidPut}))
	for c, err := range changes {
		require.NoError(t, err)
		require.Equal(t, uint64(8), c.Seq)
		break
	}
}

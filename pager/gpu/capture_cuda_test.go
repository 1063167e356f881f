//go:build cuda

package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// TestSnapshotsAreThoseOfTheSyntheticPager restores one snapshot into every
// engine's layout and captures it again, through pinned extents and others.
func TestSnapshotsAreThoseOfTheSyntheticPager(t *testing.T) {
	for i, c := range engineLayouts(t) {
		if !c.layout.Meta.IsPlain() {
			continue
		}
		t.Run("layout="+c.name, func(t *testing.T) {
			source, err := synthetic.New(synthetic.Options{Meta: c.layout.Meta, Capacity: layoutPages})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, source.Close()) })
			require.NoError(t, source.Populate(layoutPages, 7))
			store, err := mem.Open(mem.Options{})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, store.Close()) })
			first, err := capture.Capture(t.Context(), source, store, capture.Options{})
			require.NoError(t, err)

			w := newWorld(t, c.layout)
			p := w.open(func(cfg *Config) {
				cfg.Engine = guarded{w.engine}
				cfg.Paths = Forced([]Path{Direct, Staged, Plain}[i%3])
			})
			transfer := capture.Transfer{StagingBytes: 16 * c.layout.Meta.PageBytes()}
			if i%2 == 0 {
				transfer.Allocator = w.device.Allocator(cuda.PinOptions{})
			}
			_, err = capture.Restore(t.Context(), store, first.Root, p.View(), capture.RestoreOptions{KeepIndices: true, Transfer: transfer})
			require.NoError(t, err)
			again, err := capture.Capture(t.Context(), p.View(), store, capture.Options{Transfer: transfer})
			require.NoError(t, err)
			require.Equal(t, first.Root, again.Root)
			require.Zero(t, again.NewBytes, "every page is there already")
			require.Zero(t, w.engine.paused)
			other, err := mem.Open(mem.Options{})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, other.Close()) })
			alone, err := capture.Capture(t.Context(), p.View(), other, capture.Options{})
			require.NoError(t, err)
			require.Equal(t, first.Root, alone.Root)
			require.EqualValues(t, layoutPages*c.layout.Meta.PageBytes(), alone.NewBytes)
		})
	}
}

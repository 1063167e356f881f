//go:build !race

package lsm_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/indextest"
	"github.com/kvferry/kvferry/index/lsm"
)

// TestPartsConform: removals are what they are with a batch for each record. What runs at the
// same time is the same as in TestConformance, which the race detector sees.
func TestPartsConform(t *testing.T) {
	t.Parallel()
	h := &homes{of: map[index.Index]*vfs.MemFS{}}
	small := func(x index.Index) index.Index {
		x.(*lsm.Index).SetPartBytes(1)
		return x
	}
	indextest.Run(t, indextest.Config{
		Open: func(t testing.TB, o index.Options) index.Index { return small(h.open(t, vfs.NewMem(), o)) },
		Reopen: func(t testing.TB, x index.Index, o index.Options) index.Index {
			require.NoError(t, x.Close())
			return small(h.open(t, h.fs(x), o))
		},
		Again: h.again,
	})
}

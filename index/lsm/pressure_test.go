package lsm_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/crashtest"
	"github.com/kvferry/kvferry/index/lsm"
)

// TestGrowing: tables in memory begin small and are not written at once; writers
// do not wait for them.
func TestGrowing(t *testing.T) {
	t.Parallel()
	x, err := lsm.Open(t.Context(), "index", lsm.Options{FS: vfs.NewMem(), MemTableBytes: 8 << 20})
	require.NoError(t, err)
	rs := make([]index.Record, 1000)
	rounds := 60 // 12 MB in the log
	if crashtest.Racing {
		rounds = 15 // tables are full, and another begins, a few times all the same
	}
	for n := range rounds {
		for i := range rs {
			rs[i] = numbered(1000*n + i)
		}
		require.NoError(t, x.Put(t.Context(), rs))
	}
	m, err := x.Metrics(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1000*rounds, m.ResidentBlocks)
	require.NoError(t, x.Close())
}

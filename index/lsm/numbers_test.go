package lsm_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// TestNumbersAfterAPowerFailure: those of changes that are lost are not given
// again, so that who has seen them is told to begin anew.
func TestNumbersAfterAPowerFailure(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	used := uint64(0)
	for round := range 3 {
		x := open(t, fs, index.Options{})
		m, err := x.Metrics(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, m.Seq, used)
		for i := range 6 {
			require.NoError(t, x.Put(t.Context(), []index.Record{record("b0")}))
			if i == 1 && round > 0 {
				for _, err := range x.Watch(t.Context(), used) {
					require.ErrorIs(t, err, kvferry.ErrExpired)
				}
			}
			if i == 3 && round == 1 {
				require.NoError(t, x.SpendNumbers())
			}
		}
		m, err = x.Metrics(t.Context())
		require.NoError(t, err)
		used = m.Seq
		fs = fs.CrashClone(vfs.CrashCloneCfg{})
	}
	x := open(t, fs, index.Options{})
	m, err := x.Metrics(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, m.Seq, used)
	require.NoError(t, x.Close())
	x = open(t, fs, index.Options{})
	again, err := x.Metrics(t.Context())
	require.NoError(t, err)
	require.Equal(t, m.Seq, again.Seq, "it was closed")
}

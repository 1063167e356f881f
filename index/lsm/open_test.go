package lsm_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/lsm"
)

// TestOpen: on a real file system: one index has the directory, under the rules
// that it was made with, and numbers go on where they ended.
func TestOpen(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	x, err := lsm.Open(t.Context(), dir, lsm.Options{Sync: true})
	require.NoError(t, err)
	require.NoError(t, x.Put(t.Context(), []index.Record{record("b0")}))
	require.NoError(t, x.Put(t.Context(), []index.Record{record("b1")}))
	_, err = lsm.Open(t.Context(), dir, lsm.Options{})
	require.ErrorIs(t, err, kvferry.ErrReadOnly)
	m, err := x.Metrics(t.Context())
	require.NoError(t, err)
	require.Positive(t, m.BytesWritten)
	require.NoError(t, x.Close())

	_, err = lsm.Open(t.Context(), dir, lsm.Options{Options: index.Options{Rules: index.AsHolt}})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	_, err = lsm.Open(t.Context(), dir, lsm.Options{MemTableBytes: 1})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	x, err = lsm.Open(t.Context(), dir, lsm.Options{})
	require.NoError(t, err)
	m, err = x.Metrics(t.Context())
	require.NoError(t, err)
	require.Equal(t, []uint64{2, 2}, []uint64{m.Seq, m.ResidentBlocks})
	require.NoError(t, x.Close())
}

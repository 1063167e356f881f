package lsm_test

import (
	"testing"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// TestNamesAreCopied: the name of a worker may be a part of a large buffer, which
// the index does not keep.
func TestNamesAreCopied(t *testing.T) {
	t.Parallel()
	x := open(t, vfs.NewMem(), index.Options{})
	r := record("b0")
	r.Worker = string([]byte("put"))
	announced := string([]byte("announced"))
	require.NoError(t, x.Put(t.Context(), []index.Record{r}))
	require.NoError(t, x.Announce(t.Context(), announced, 7))
	ws, err := x.Workers(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{announced, r.Worker}, []string{ws[0].Name, ws[1].Name})
	require.NotSame(t, unsafe.StringData(announced), unsafe.StringData(ws[0].Name))
	require.NotSame(t, unsafe.StringData(r.Worker), unsafe.StringData(ws[1].Name))
}

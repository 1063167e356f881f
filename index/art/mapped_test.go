//go:build linux

package art

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// TestMapped: the log is mapped, window after window, and whole when it is closed.
func TestMapped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	x, err := Open(t.Context(), dir, Options{})
	require.NoError(t, err)
	require.NotNil(t, x.log.m)
	long := make([]byte, 300<<10)
	var want []index.Record
	for i := range 12 { // longer than a window
		r := index.Record{Key: index.Key{Prefix: "p", Hash: fmt.Sprint(i, string(long))}, Worker: "w", Tier: index.LocalSSD}
		require.NoError(t, x.Put(t.Context(), []index.Record{r}))
		want = append(want, r)
	}
	require.NotNil(t, x.log.m)
	index.Sort(want)
	end := x.log.end
	path := filepath.Join(dir, logName(1))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Greater(t, info.Size(), end, "room in advance")
	x.o.CompactBytes = 1 << 40 // Close makes no snapshot
	x.compact.bytes = 1 << 40
	require.NoError(t, x.Close())
	info, err = os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, end+int64(closedBytes+markBytes), info.Size())
	x, err = Open(t.Context(), dir, Options{})
	require.NoError(t, err)
	got, err := x.Scan(t.Context(), &index.Scope{}, "p", nil)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.NoError(t, x.Close())
}

// TestTheLogIsCutOffByOthers: a store into a page that is not there any more is an
// error, not the end of the process.
func TestTheLogIsCutOffByOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	x, err := Open(t.Context(), dir, Options{})
	require.NoError(t, err)
	r := index.Record{Worker: "w", Tier: index.HBM}
	require.NoError(t, x.Put(t.Context(), []index.Record{r}))
	require.NoError(t, os.Truncate(filepath.Join(dir, logName(1)), 0))
	r.Hash = string(make([]byte, 64<<10))
	require.ErrorIs(t, x.Put(t.Context(), []index.Record{r}), kvferry.ErrPoisoned)
	got, err := x.ByHash(t.Context(), r.Hash, nil)
	require.NoError(t, err)
	require.Empty(t, got)
	require.ErrorIs(t, x.Close(), kvferry.ErrPoisoned)
}

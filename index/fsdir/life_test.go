package fsdir_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/internal/vfs"
)

// TestNamesLikeSuffixes: what records say may look like the ends that files have.
func TestNamesLikeSuffixes(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	var want []index.Record
	for _, end := range []string{"", ".new", ".json", ".json.new"} {
		var rs [4]index.Record
		for i := range rs {
			rs[i] = record("b0")
		}
		rs[0].Tenant, rs[1].Prefix, rs[2].Hash, rs[3].Worker = "acme"+end, "h"+end, "h"+end, "w"+end
		rs[3].Adapter = index.Named("x" + end)
		want = append(want, rs[:]...)
	}
	index.Sort(want)
	x := open(t, d)
	require.NoError(t, x.Put(t.Context(), want))
	require.NoError(t, x.Announce(t.Context(), "w.json.new", 7))
	require.NoError(t, x.Close())
	x = open(t, d)
	var got []index.Record
	_, err := x.Snapshot(t.Context(), func(r *index.Record) error {
		got = append(got, *r)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.NoError(t, x.Check(t.Context()))
}

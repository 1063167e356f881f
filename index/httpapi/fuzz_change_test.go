package httpapi

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// FuzzChange reads lines of a watch: what is taken is written and read as the same
// change again.
func FuzzChange(f *testing.F) {
	r := index.Record{Key: index.Key{Scope: index.Scope{Model: "m\xff", Adapter: index.Named("")}, Prefix: "root", Hash: "h"}, Worker: "w\x00", Tier: index.HBM}
	for _, c := range []index.Change{
		{Seq: 1, Kind: index.DidPut, Records: []index.Record{r, r}},
		{Seq: 2, Kind: index.DidRemove, Removals: []index.Removal{{Scope: r.Scope, Worker: "w\xfe", Hash: "\xfd", Tier: index.CPUDRAM, OneGroup: true, Group: 3}, {AnyAdapter: true}}},
		{Seq: 3, Kind: index.DidClearWorker, Worker: "w\xff"}, {Seq: 4, Kind: index.DidClear}, {Seq: 5, Kind: index.DidExpire, Before: 9},
		{Seq: 6, Kind: index.DidAnnounce, Worker: "w", Incarnation: 7, Gone: true}, {Seq: 7, Kind: index.DidAnnounce, Records: []index.Record{r}},
	} {
		f.Add(AppendChange(nil, &c))
	}
	f.Add([]byte(`{"error":{"message":"gone","type":"expired"}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		c, err := parseChange(line)
		if err != nil {
			require.Nil(t, c)
			return
		}
		written := AppendChange(nil, c)
		again, err := parseChange(written)
		require.NoError(t, err)
		require.Equal(t, string(written), string(AppendChange(nil, again)))
	})
}

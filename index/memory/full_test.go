package memory

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// Many records that would be too many for one shard are not too many if they fall
// into all; those that fall into one are.
func TestPutOfManyLooksAtEachShard(t *testing.T) {
	t.Parallel()
	x, ctx := newIndex(t), t.Context()
	const most = 400
	for i := range x.shards {
		x.shards[i].nodes.limit = most * (classes + 1)
	}
	rs := make([]index.Record, 2*most)
	for i := range rs {
		rs[i] = index.Record{Worker: "w", Tier: index.HBM}
		rs[i].Prefix, rs[i].Hash = strconv.Itoa(i), strconv.Itoa(i)
	}
	require.NoError(t, x.Put(ctx, rs))
	for i := range rs {
		rs[i].Hash = "one"
	}
	require.ErrorIs(t, x.Put(ctx, rs), kvferry.ErrOutOfMemory)
	m, err := x.Metrics(ctx)
	require.NoError(t, err)
	require.EqualValues(t, len(rs), m.ResidentBlocks)
}

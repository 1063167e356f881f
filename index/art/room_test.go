package art

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/internal/vfs"
)

// TestRoomIsUsedAgain: records of other lengths that come and go take no more
// memory when nothing is left between, and what is left over of them takes no room
// in snapshots.
func TestRoomIsUsedAgain(t *testing.T) {
	t.Parallel()
	for _, stays := range []bool{false, true} {
		x, err := Open(t.Context(), "disk", Options{FS: vfs.NewDisk().Process()})
		require.NoError(t, err)
		if stays {
			require.NoError(t, x.Put(t.Context(), ofWorker("stays")))
			_, err = x.Expire(t.Context(), 0)
			require.NoError(t, err)
		}
		first := 0
		for round := range 4 {
			rs := make([]index.Record, 3000)
			for i := range rs {
				rs[i] = usedAt(1)
				rs[i].Hash, rs[i].Worker = fmt.Sprintf("%0*x", 64+64*round, i*2654435761), "w"
			}
			require.NoError(t, x.Put(t.Context(), rs))
			if first == 0 {
				first = len(x.state.chunks)
			}
			n, err := x.ClearWorker(t.Context(), "w")
			require.NoError(t, err)
			require.Equal(t, len(rs), n)
			require.NoError(t, Check(x))
		}
		if !stays {
			require.LessOrEqual(t, len(x.state.chunks), 2*first)
			require.Len(t, x.state.idle, len(x.state.chunks))
		}
		require.NoError(t, x.take(t.Context()))
		x.snapshot()
		x.give()
		x.writing.Wait()
		require.NoError(t, x.SnapshotError())
		require.Less(t, x.compact.bytes, int64(len(x.state.chunks))*chunkBytes/16)
		require.NoError(t, x.Close())
	}
}

// TestALongPutIsForgotten: the buffer of one that is seldom as long is not kept.
func TestALongPutIsForgotten(t *testing.T) {
	t.Parallel()
	x, err := Open(t.Context(), "disk", Options{FS: vfs.NewDisk().Process()})
	require.NoError(t, err)
	rs := make([]index.Record, 40)
	hash := string(make([]byte, index.MaxFieldBytes))
	for i := range rs {
		rs[i] = usedAt(uint64(i))
		rs[i].Hash = hash
	}
	require.NoError(t, x.Put(t.Context(), rs))
	require.LessOrEqual(t, cap(x.buf), 2*maxGroupBytes)
	require.NoError(t, x.Close())
}

// TestRoomOfAGroup: calls that are written together have room together.
func TestRoomOfAGroup(t *testing.T) {
	t.Parallel()
	x, err := Open(t.Context(), "disk", Options{FS: vfs.NewDisk().Process()})
	require.NoError(t, err)
	c := &call{rs: make([]index.Record, 1000), size: 1000 * recordBytes}
	need := c.need() + 1000*perWorker
	all := uint64(maxChunks * chunkBytes)
	require.NoError(t, x.room(c, all-need-chunkBytes))
	require.ErrorIs(t, x.room(c, all-need+chunkBytes), kvferry.ErrNoSpace)
	require.NoError(t, x.Close())
}

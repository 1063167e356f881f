package art

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/internal/vfs"
)

// usedAt is a record of a scope, a hash and a worker of its own.
func usedAt(last uint64) index.Record {
	name := fmt.Sprint(last)
	return index.Record{Key: index.Key{Hash: name}, Worker: "w" + name, Tier: index.LocalSSD, LastAccess: last}
}

// TestExpireLooksBesideReaders: what is done under their lock is to take away what
// was found before, not to look at all records.
func TestExpireLooksBesideReaders(t *testing.T) {
	t.Parallel()
	x := newState(index.Recommended)
	put := func(r index.Record) { x.put(x.scope(&r.Scope), x.worker(r.Worker), &r) }
	for last := range uint64(20) {
		put(usedAt(last))
	}
	a := x.aged(7)
	require.Len(t, a.blocks, 7)
	require.EqualValues(t, 7, a.oldest)
	require.EqualValues(t, 20, x.count.blocks)
	require.EqualValues(t, 0, x.oldest)
	late := usedAt(5)
	late.Hash = "late"
	put(late) // a walk would find it
	require.Equal(t, 7, x.expire(a))
	require.EqualValues(t, 14, x.count.blocks)
	require.NoError(t, x.drop())
}

// TestExpireRemembersTheOldest: of what was looked at in vain not all is looked at
// again.
func TestExpireRemembersTheOldest(t *testing.T) {
	t.Parallel()
	x, err := Open(t.Context(), "disk", Options{FS: vfs.NewDisk().Process()})
	require.NoError(t, err)
	r := usedAt(1)
	require.NoError(t, x.Put(t.Context(), []index.Record{r, usedAt(500)}))
	r.LastAccess = 1000
	require.NoError(t, x.Put(t.Context(), []index.Record{r}))
	require.EqualValues(t, 1, x.state.oldest)
	n, err := x.Expire(t.Context(), 50)
	require.NoError(t, err)
	require.Zero(t, n)
	require.EqualValues(t, 500, x.state.oldest)
	require.NoError(t, Check(x))
	n, err = x.Expire(t.Context(), 501)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.EqualValues(t, 1000, x.state.oldest)
	require.NoError(t, x.Close())
}

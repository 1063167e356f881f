package memory

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// A reading that Close overtakes found less than there was, and says so.
func TestCloseOvertakesReaders(t *testing.T) {
	t.Parallel()
	x, err := New(Options{})
	require.NoError(t, err)
	rs := make([]index.Record, 100)
	for i := range rs {
		rs[i] = index.Record{Worker: "w", Tier: index.HBM}
		rs[i].Prefix, rs[i].Hash = index.Root, strconv.Itoa(i)
	}
	require.NoError(t, x.Put(t.Context(), rs))
	visited := 0
	_, err = x.Snapshot(t.Context(), func(*index.Record) error {
		visited++
		return x.Close()
	})
	require.ErrorIs(t, err, kvferry.ErrClosed)
	require.Equal(t, 1, visited)
	found, err := x.leave(nil, x.locate(&rs[0].Key, nil))
	require.ErrorIs(t, err, kvferry.ErrClosed)
	require.Empty(t, found)
}

// Readers beside Close find everything, or that the index is closed.
func TestReadersBesideClose(t *testing.T) {
	t.Parallel()
	r := index.Record{Worker: "w", Tier: index.HBM}
	r.Prefix, r.Hash = index.Root, "a hash of more bytes than fit into a few words"
	readers := []func(x *Index) (int, error){
		func(x *Index) (int, error) { rs, err := x.Locate(t.Context(), &r.Key, nil); return len(rs), err },
		func(x *Index) (int, error) {
			rs, err := x.Scan(t.Context(), &r.Scope, r.Prefix, nil)
			return len(rs), err
		},
		func(x *Index) (int, error) { rs, err := x.ByHash(t.Context(), r.Hash, nil); return len(rs), err },
		func(x *Index) (int, error) {
			ms, err := x.Match(t.Context(), &index.Query{Hashes: []string{r.Hash}}, nil)
			return len(ms), err
		},
	}
	for i := range 400 {
		x, err := New(Options{})
		require.NoError(t, err)
		require.NoError(t, x.Put(t.Context(), []index.Record{r}))
		closed := make(chan error)
		go func() { closed <- x.Close() }()
		for n := 1; err == nil; {
			require.Equal(t, 1, n)
			n, err = readers[i%len(readers)](x)
		}
		require.ErrorIs(t, err, kvferry.ErrClosed)
		require.NoError(t, <-closed)
	}
}

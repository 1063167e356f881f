package memory

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// A worker that takes the number of one that was asked for, before the first block
// is looked at, is not the one that was asked for.
func TestMatchOfAWorkerWhoseNumberIsAnothers(t *testing.T) {
	t.Parallel()
	x, err := New(Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, x.Close()) }()
	put := func(worker string) {
		r := index.Record{Worker: worker, Tier: index.HBM}
		r.Prefix, r.Hash = index.Root, "h"
		require.NoError(t, x.Put(t.Context(), []index.Record{r}))
	}
	put("a")
	m := matcher{x: x, q: &index.Query{Hashes: []string{"h"}, Workers: []string{"a"}}}
	m.scope = x.scope(&m.q.Scope)
	m.begin()
	require.True(t, m.read())
	require.Len(t, m.result(nil), 1)
	number := m.x.workers.find(&m.q.Workers[0], x.workerHash("a")).id
	m.begin()
	other := "b"
	r := index.Record{Worker: "keeps the scope", Tier: index.HBM}
	r.Prefix, r.Hash = index.Root, "h"
	require.NoError(t, x.Put(t.Context(), []index.Record{r}))
	_, err = x.ClearWorker(t.Context(), "a")
	require.NoError(t, err)
	put(other)
	require.Equal(t, number, x.workers.find(&other, x.workerHash(other)).id)
	require.False(t, m.read())
	require.True(t, m.scope.alive())
	require.Empty(t, m.result(nil))
}

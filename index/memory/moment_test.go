package memory

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

func putOne(t *testing.T, x *Index, worker, hash string) {
	t.Helper()
	r := index.Record{Worker: worker, Tier: index.HBM}
	r.Prefix, r.Hash = index.Root, hash
	require.NoError(t, x.Put(t.Context(), []index.Record{r}))
}

// Workers that come after a match made room for those there are, and before it
// looks at the first block, would be left out beside others that came later: it is
// read again.
func TestMatchOfWorkersThatComeMeanwhile(t *testing.T) {
	t.Parallel()
	x := newIndex(t)
	const room = 64
	for i := range room {
		putOne(t, x, strconv.Itoa(i), "other")
	}
	for _, q := range []*index.Query{{Hashes: []string{"h"}}, {Hashes: []string{"h"}, Workers: []string{"0", "new"}}} {
		m := matcher{x: x, q: q}
		m.scope = x.scope(&m.q.Scope)
		m.begin()
		putOne(t, x, "new", "h")
		putOne(t, x, "0", "h")
		require.False(t, m.read())
		m.begin()
		require.True(t, m.read())
		require.Len(t, m.result(nil), 2)
		_, err := x.ClearWorker(t.Context(), "new")
		require.NoError(t, err)
	}
}

// A worker that goes after a match has read everything does not go from its result,
// where another is that had lost the block before.
func TestMatchOfAWorkerThatGoesBehindTheReading(t *testing.T) {
	t.Parallel()
	x := newIndex(t)
	putOne(t, x, "a", "h")
	putOne(t, x, "b", "h")
	putOne(t, x, "b", "other")
	m := matcher{x: x, q: &index.Query{Hashes: []string{"h"}}}
	m.scope = x.scope(&m.q.Scope)
	m.begin()
	m.whole = m.read()
	require.True(t, m.whole)
	n, err := x.Remove(t.Context(), []index.Removal{{Worker: "b", Hash: "h"}})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = x.ClearWorker(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Len(t, m.result(nil), 2)
}

// What was read in vain holds no memory of the index: not every try comes as far.
func TestMatcherForgets(t *testing.T) {
	t.Parallel()
	x := newIndex(t)
	q := &index.Query{}
	parent := index.Root
	for i := range 8 * ahead {
		h := strconv.Itoa(i)
		r := index.Record{Worker: "w", Tier: index.HBM}
		r.Prefix, r.Hash = parent, h
		require.NoError(t, x.Put(t.Context(), []index.Record{r}))
		q.Hashes, parent = append(q.Hashes, h), h
	}
	m := matcher{x: x, q: q}
	m.scope = x.scope(&m.q.Scope)
	m.begin()
	require.True(t, m.read())
	most := m.touched
	m.begin()
	require.NotEqual(t, most, m.touched)
	m.forget()
	for i := range m.shards {
		require.Nil(t, m.shards[i].slots)
		require.Nil(t, m.shards[i].dir)
	}
}

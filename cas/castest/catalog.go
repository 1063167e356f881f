package castest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

var catalogTests = []test{
	{name: "order", run: testOrder},
	{name: "entries keep every field", run: testFields},
	{name: "names move", run: testNamesMove},
	{name: "names move atomically", run: testNamesMoveAtomically},
	{name: "bad names", run: testBadNames},
	{name: "remove", run: testRemove},
	{name: "remove beside commits", run: testRemoveBesideCommits},
	{name: "drop", run: testDrop},
	{name: "not found", run: testCatalogNotFound},
}

// testOrder: oldest first, equal times by digest.
func testOrder(t *testing.T, c Config) {
	s := c.open(t)
	var want []cas.Entry
	for i, created := range []time.Time{day(3), day(1), day(1), day(1), day(2), day(1).Add(time.Nanosecond)} {
		sn := commit(t, s, created, nil, noise(uint64(i), 20))
		want = append(want, entry(sn.root, created))
	}
	for i := range want {
		for j := range i {
			a, b := &want[j], &want[i]
			if later := a.Created.Compare(b.Created); later > 0 || later == 0 && a.Root.Compare(b.Root) > 0 {
				*a, *b = *b, *a
			}
		}
	}
	require.Equal(t, rootsOf(want), roots(t, s))
}

func testFields(t *testing.T, c Config) {
	s := c.open(t)
	sess := begin(t, s)
	e := cas.Entry{
		Root:      put(t, sess, noise(1, 10)),
		Format:    cas.FormatProcessFork,
		Created:   time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("east", 3600)),
		Names:     []string{"n"},
		Pages:     1 << 40,
		Sequences: 12,
		Bytes:     1 << 50,
	}
	require.NoError(t, sess.Commit(t.Context(), e))
	e.Created = e.Created.UTC()
	got, err := s.Catalog().Lookup(t.Context(), "n")
	require.NoError(t, err)
	require.Equal(t, e, got)
	all, err := s.Catalog().Entries(t.Context())
	require.NoError(t, err)
	require.Equal(t, []cas.Entry{e}, all)
	all[0].Names[0] = "changed by the caller"
	got, err = s.Catalog().Lookup(t.Context(), "n")
	require.NoError(t, err)
	require.Equal(t, e, got, "entries belong to the caller")
}

func testNamesMove(t *testing.T, c Config) {
	s := c.open(t)
	a := commit(t, s, day(1), []string{"x", "y"}, noise(1, 10))
	b := commit(t, s, day(2), []string{"x"}, noise(2, 10)) // commit moves x
	wantNames(t, s, map[string]digest.Digest{"x": b.root, "y": a.root})
	require.NoError(t, s.Catalog().SetName(t.Context(), "y", b.root))
	require.NoError(t, s.Catalog().SetName(t.Context(), "z", a.root))
	require.NoError(t, s.Catalog().SetName(t.Context(), "z", a.root), "setting a name to what it is")
	wantNames(t, s, map[string]digest.Digest{"x": b.root, "y": b.root, "z": a.root})
}

// wantNames requires that the names, and no others, point where they should,
// in Lookup and in Entries alike.
func wantNames(t *testing.T, s cas.Store, want map[string]digest.Digest) {
	t.Helper()
	got := map[string]digest.Digest{}
	entries, err := s.Catalog().Entries(t.Context())
	require.NoError(t, err)
	for _, e := range entries {
		require.IsIncreasing(t, append([]string{""}, e.Names...), "names are sorted")
		for _, name := range e.Names {
			require.NotContains(t, got, name, "a name points at one snapshot")
			got[name] = e.Root
		}
	}
	require.Equal(t, want, got)
	for name, root := range want {
		e, err := s.Catalog().Lookup(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, root, e.Root)
	}
}

// testNamesMoveAtomically: while a name moves to and fro it always points at
// one of the two.
func testNamesMoveAtomically(t *testing.T, c Config) {
	s := c.open(t)
	a := commit(t, s, day(1), []string{"x"}, noise(1, 10))
	b := commit(t, s, day(2), nil, noise(2, 10))
	done := make(chan struct{})
	var wg sync.WaitGroup
	var readErr error
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			e, err := s.Catalog().Lookup(t.Context(), "x")
			if err == nil && e.Root != a.root && e.Root != b.root {
				err = fmt.Errorf("x points at %v", e.Root)
			}
			if err != nil {
				readErr = err
				return
			}
		}
	})
	var moveErr error
	for i := range 50 {
		root := a.root
		if i%2 == 0 {
			root = b.root
		}
		if moveErr = s.Catalog().SetName(t.Context(), "x", root); moveErr != nil {
			break
		}
	}
	close(done)
	wg.Wait()
	require.NoError(t, moveErr)
	require.NoError(t, readErr)
}

func testBadNames(t *testing.T, c Config) {
	s := c.open(t)
	sn := commit(t, s, day(1), nil, noise(1, 10))
	for _, name := range []string{"", ".", "..", "../x", "a/b", `a\b`, "-x", "_x", "a b", "a\x00", "é", "a:b",
		strings.Repeat("a", 64), strings.Repeat("x", cas.MaxNameBytes+1)} {
		require.ErrorIs(t, s.Catalog().SetName(t.Context(), name, sn.root), kvferry.ErrInvalid, "%q", name)
	}
	longest := strings.Repeat("x", cas.MaxNameBytes)
	require.NoError(t, s.Catalog().SetName(t.Context(), longest, sn.root))
	wantNames(t, s, map[string]digest.Digest{longest: sn.root})
}

func testRemove(t *testing.T, c Config) {
	s := c.open(t)
	sn := commit(t, s, day(1), []string{"x", "y"}, noise(1, 10))
	other := commit(t, s, day(2), []string{"z"}, noise(1, 10), noise(2, 10))
	want, err := s.Catalog().Lookup(t.Context(), "x")
	require.NoError(t, err)
	r, err := s.Catalog().Remove(t.Context(), "x")
	require.NoError(t, err)
	want.Names = []string{"y"}
	require.Equal(t, cas.Removed{Entry: want}, r)
	wantNames(t, s, map[string]digest.Digest{"y": sn.root, "z": other.root})
	r, err = s.Catalog().Remove(t.Context(), "y")
	require.NoError(t, err)
	want.Names = nil
	require.Equal(t, cas.Removed{Entry: want, Dropped: true}, r)
	require.Equal(t, []digest.Digest{other.root}, roots(t, s), "the last name takes the snapshot along")
	_, err = s.Catalog().Remove(t.Context(), "y")
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	wantSnapshot(t, s, other)
}

// testRemoveBesideCommits: a snapshot that was committed under another name
// meanwhile is not dropped with the first one.
func testRemoveBesideCommits(t *testing.T, c Config) {
	s := c.open(t)
	for range 20 {
		sn := commit(t, s, day(1), []string{"x"}, noise(1, 10))
		sess := begin(t, s)
		has, err := sess.Has(t.Context(), sn.root)
		require.NoError(t, err)
		require.True(t, has)
		var wg sync.WaitGroup
		var removed, committed error
		start := make(chan struct{})
		wg.Go(func() {
			<-start
			_, removed = s.Catalog().Remove(t.Context(), "x")
		})
		wg.Go(func() {
			<-start
			committed = sess.Commit(t.Context(), entry(sn.root, day(2), "y"))
		})
		close(start)
		wg.Wait()
		require.NoError(t, removed)
		require.NoError(t, committed)
		wantNames(t, s, map[string]digest.Digest{"y": sn.root})
		require.NoError(t, s.Catalog().Drop(t.Context(), sn.root))
	}
}

func testDrop(t *testing.T, c Config) {
	s := c.open(t)
	a := commit(t, s, day(1), []string{"x", "y"}, noise(1, 10))
	b := commit(t, s, day(2), []string{"z"}, noise(1, 10), noise(2, 10))
	require.NoError(t, s.Catalog().Drop(t.Context(), a.root))
	wantNames(t, s, map[string]digest.Digest{"z": b.root})
	require.Equal(t, []digest.Digest{b.root}, roots(t, s))
	require.ErrorIs(t, s.Catalog().Drop(t.Context(), a.root), kvferry.ErrNotFound)
	wantSnapshot(t, s, b)
	again := commit(t, s, day(3), []string{"x"}, noise(1, 10))
	require.Equal(t, a.root, again.root)
	wantNames(t, s, map[string]digest.Digest{"x": a.root, "z": b.root})
	wantSnapshot(t, s, again)
}

func testCatalogNotFound(t *testing.T, c Config) {
	s := c.open(t)
	blob := put(t, begin(t, s), noise(1, 10)) // a blob is no snapshot
	cat := s.Catalog()
	got, err := cat.Entries(t.Context())
	require.NoError(t, err)
	require.Empty(t, got)
	for _, name := range []string{"x", "../x", ""} {
		_, err = cat.Lookup(t.Context(), name)
		require.Error(t, err)
		_, err = cat.Remove(t.Context(), name)
		require.Error(t, err)
	}
	_, err = cat.Lookup(t.Context(), "x")
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	_, err = cat.Remove(t.Context(), "x")
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	require.ErrorIs(t, cat.SetName(t.Context(), "x", blob), kvferry.ErrNotFound)
	require.ErrorIs(t, cat.Drop(t.Context(), blob), kvferry.ErrNotFound)
}

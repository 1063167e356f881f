package castest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

var lifeTests = []test{
	{name: "closed store", run: testClosed},
	{name: "close aborts sessions", run: testCloseAborts},
	{name: "cancelled contexts", run: testCancelled},
	{name: "reopen", needs: needs(Persistent), run: testReopen},
	{name: "reopen collects what a session left", needs: needs(Persistent, Collects), run: testReopenCollect},
	{name: "shared", needs: needs(Shared), run: testShared},
	{name: "shared collection", needs: needs(Shared, Collects), run: testSharedCollect},
}

// rootOnly is the references of snapshots without blobs.
func rootOnly(_ context.Context, e cas.Entry, visit func(digest.Digest) error) error {
	return visit(e.Root)
}

// calls are all calls on a store that can fail, by name.
func calls(s cas.Store, sess cas.Session, d digest.Digest) map[string]func(context.Context) error {
	all := map[string]func(context.Context) error{
		"Get":        func(ctx context.Context) error { _, err := s.Get(ctx, d, make([]byte, 64)); return err },
		"Has":        func(ctx context.Context) error { _, err := s.Has(ctx, d); return err },
		"Begin":      func(ctx context.Context) error { _, err := s.Begin(ctx, cas.SessionOptions{}); return err },
		"Put":        func(ctx context.Context) error { _, err := sess.Put(ctx, d, []byte("x")); return err },
		"SessionHas": func(ctx context.Context) error { _, err := sess.Has(ctx, d); return err },
		"Flush":      func(ctx context.Context) error { return sess.Flush(ctx) },
		"Commit":     func(ctx context.Context) error { return sess.Commit(ctx, entry(d, day(0), "committed")) },
		"Entries":    func(ctx context.Context) error { _, err := s.Catalog().Entries(ctx); return err },
		"Lookup":     func(ctx context.Context) error { _, err := s.Catalog().Lookup(ctx, "kept"); return err },
		"SetName":    func(ctx context.Context) error { return s.Catalog().SetName(ctx, "set", d) },
		"Remove":     func(ctx context.Context) error { _, err := s.Catalog().Remove(ctx, "kept"); return err },
		"Drop":       func(ctx context.Context) error { return s.Catalog().Drop(ctx, d) },
	}
	if x, ok := s.(cas.Enumerator); ok {
		all["Blobs"] = func(ctx context.Context) error {
			for _, err := range x.Blobs(ctx) {
				if err != nil {
					return err
				}
			}
			return nil
		}
	}
	if x, ok := s.(cas.Viewer); ok {
		all["View"] = func(ctx context.Context) error { _, err := x.View(ctx, d); return err }
	}
	if x, ok := s.(cas.BatchGetter); ok {
		all["GetBatch"] = func(ctx context.Context) error {
			reqs := []cas.Request{{Digest: d, Dst: make([]byte, 64)}}
			if err := x.GetBatch(ctx, reqs); err != nil {
				return err
			}
			return reqs[0].Err
		}
	}
	if x, ok := s.(cas.Collector); ok {
		all["Collect"] = func(ctx context.Context) error {
			_, err := x.Collect(ctx, cas.CollectOptions{References: rootOnly})
			return err
		}
	}
	if x, ok := s.(cas.Checker); ok {
		all["Check"] = func(ctx context.Context) error { return x.Check(ctx, func(cas.Problem) {}) }
	}
	if x, ok := s.(cas.Scrubber); ok {
		all["Scrub"] = func(ctx context.Context) error { return x.Scrub(ctx, cas.ScrubOptions{}) }
	}
	if x, ok := s.(cas.Quarantiner); ok {
		all["Quarantine"] = func(ctx context.Context) error { return x.Quarantine(ctx, d) }
	}
	if x, ok := s.(cas.Stater); ok {
		all["Stats"] = func(ctx context.Context) error { _, err := x.Stats(ctx); return err }
	}
	return all
}

func testClosed(t *testing.T, c Config) {
	s := c.open(t)
	sn := commit(t, s, day(0), []string{"kept"}, noise(1, 10))
	sess := begin(t, s)
	put(t, sess, noise(1, 10))
	require.NoError(t, s.Close())
	for name, call := range calls(s, sess, sn.root) {
		require.ErrorIs(t, call(t.Context()), kvferry.ErrClosed, name)
	}
	require.NoError(t, sess.Abort(t.Context()))
	require.ErrorIs(t, s.Close(), kvferry.ErrClosed, "Close")
}

func testCloseAborts(t *testing.T, c Config) {
	s := c.open(t)
	ended := begin(t, s)
	require.NoError(t, ended.Abort(t.Context()))
	sess := begin(t, s)
	d := put(t, sess, noise(1, 10))
	require.NoError(t, s.Close())
	wantSessionFails(t, sess, d, kvferry.ErrClosed)
	require.NoError(t, sess.Abort(t.Context()))
	require.NoError(t, ended.Abort(t.Context()))
}

// testCancelled: no call does anything with a context that has ended.
func testCancelled(t *testing.T, c Config) {
	s := c.open(t)
	sn := commit(t, s, day(0), []string{"kept"}, noise(1, 10))
	sess := begin(t, s)
	loose := put(t, sess, noise(2, 10))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name := range calls(s, sess, sn.root) {
		call := calls(s, begin(t, s), sn.root)[name] // a failed commit ends its session
		require.ErrorIs(t, call(ctx), context.Canceled, name)
	}
	_, err := sess.Put(ctx, sum(t, digest.BLAKE3, noise(3, 10)), noise(3, 10))
	require.ErrorIs(t, err, context.Canceled)
	wantMissing(t, s, sum(t, digest.BLAKE3, noise(3, 10)))
	wantNames(t, s, map[string]digest.Digest{"kept": sn.root})
	wantSnapshot(t, s, sn)
	wantBlob(t, s, loose, noise(2, 10))

	late := begin(t, s) // a cancelled commit leaves nothing to see
	root := put(t, late, noise(4, 10))
	require.ErrorIs(t, late.Commit(ctx, entry(root, day(1), "late")), context.Canceled)
	wantNames(t, s, map[string]digest.Digest{"kept": sn.root})
	require.NoError(t, late.Abort(t.Context()))
}

func testReopen(t *testing.T, c Config) {
	setup := Setup{Dir: t.TempDir()}
	s := c.openWith(t, setup)
	a := commit(t, s, day(1), []string{"w", "x", "y"}, noise(1, 10), noise(2, 70000), nil)
	b := commit(t, s, day(2), nil, noise(1, 10))
	dropped := commit(t, s, day(3), []string{"z"}, noise(3, 10))
	require.NoError(t, s.Catalog().SetName(t.Context(), "y", b.root))
	_, err := s.Catalog().Remove(t.Context(), "x")
	require.NoError(t, err)
	require.NoError(t, s.Catalog().Drop(t.Context(), dropped.root))
	putSnapshot(t, begin(t, s), noise(4, 10)) // not committed
	before, err := s.Catalog().Entries(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Close())

	for range 2 {
		s = c.openWith(t, setup)
		after, err := s.Catalog().Entries(t.Context())
		require.NoError(t, err)
		require.Equal(t, before, after)
		wantNames(t, s, map[string]digest.Digest{"w": a.root, "y": b.root})
		wantSnapshot(t, s, a)
		wantSnapshot(t, s, b)
		if c.can(Quarantines) {
			sess, d := begin(t, s), sum(t, digest.BLAKE3, noise(5, 10))
			_, err := sess.Put(t.Context(), d, noise(6, 10))
			require.NoError(t, err)
			require.NoError(t, sess.Flush(t.Context()))
			require.NoError(t, s.(cas.Quarantiner).Quarantine(t.Context(), d))
		}
		require.NoError(t, s.Close())
	}
	s = c.openWith(t, setup)
	wantMissing(t, s, sum(t, digest.BLAKE3, noise(5, 10)))
}

func testReopenCollect(t *testing.T, c Config) {
	setup := Setup{Dir: t.TempDir()}
	s := c.openWith(t, setup)
	kept := commit(t, s, day(1), nil, noise(1, 10))
	sess := begin(t, s)
	loose := put(t, sess, noise(2, 10))
	require.NoError(t, sess.Flush(t.Context())) // else it may be gone at once
	require.NoError(t, s.Close())
	s = c.openWith(t, setup)
	require.EqualValues(t, 1, collect(t, s, cas.CollectOptions{}).Deleted)
	wantMissing(t, s, loose)
	wantSnapshot(t, s, kept)
}

// testShared: what one store commits, names and drops the other sees at once.
func testShared(t *testing.T, c Config) {
	setup := Setup{Dir: t.TempDir()}
	one, two := c.openWith(t, setup), c.openWith(t, setup)
	a := commit(t, one, day(1), []string{"x"}, noise(1, 10))
	wantSnapshot(t, two, a)
	wantNames(t, two, map[string]digest.Digest{"x": a.root})
	b := commit(t, two, day(2), []string{"x"}, noise(1, 10), noise(2, 10))
	wantSnapshot(t, one, b)
	wantNames(t, one, map[string]digest.Digest{"x": b.root})
	require.NoError(t, two.Catalog().Drop(t.Context(), a.root))
	require.Equal(t, []digest.Digest{b.root}, roots(t, one))
	require.NoError(t, two.Close())
	wantSnapshot(t, one, b)
}

// testSharedCollect: a collection in one store spares the sessions of the
// other.
func testSharedCollect(t *testing.T, c Config) {
	setup := Setup{Dir: t.TempDir()}
	one, two := c.openWith(t, setup), c.openWith(t, setup)
	sn := commit(t, one, day(1), nil, noise(1, 10), noise(2, 10))
	sess := begin(t, two)
	own, found := put(t, sess, noise(3, 10)), sum(t, digest.BLAKE3, noise(1, 10))
	has, err := sess.Has(t.Context(), found)
	require.NoError(t, err)
	require.True(t, has)
	require.NoError(t, one.Catalog().Drop(t.Context(), sn.root))
	require.EqualValues(t, 2, collect(t, one, cas.CollectOptions{}).Deleted, "the manifest and the blob that was not found")
	wantBlob(t, two, own, noise(3, 10))
	wantBlob(t, two, found, noise(1, 10))
	require.NoError(t, sess.Commit(t.Context(), entry(own, day(2))))
	collectNothing(t, one)
	wantBlob(t, two, own, noise(3, 10))
	wantMissing(t, two, found)
}

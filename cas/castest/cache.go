package castest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// Stores without eviction treat class Cache as class Snapshot, so all tests
// here need more.
var cacheTests = []test{
	{name: "a full cache evicts and goes on", needs: needs(Evicts), run: testEvict},
	{name: "what is used stays", needs: needs(Evicts), run: testEvictUsed},
	{name: "reads beside eviction", needs: needs(Evicts), run: testEvictBesideReads},
	{name: "snapshots stay", needs: needs(Evicts), run: testEvictSnapshots},
	{name: "snapshots take the room", needs: needs(Evicts, Quota), run: testEvictForSnapshots},
	{name: "sessions of class snapshot do not see it", needs: needs(Evicts), run: testCacheUnseen},
	{name: "sessions of class cache see snapshots", needs: needs(Evicts), run: testCacheSees},
	{name: "commit of a cache session", needs: needs(Evicts), run: testCacheCommit},
	{name: "collections leave it", needs: needs(Evicts, Collects), run: testCacheCollect},
	{name: "reopen", needs: needs(Evicts, Persistent), run: testCacheReopen},
	{name: "stats", needs: needs(Evicts, Describes), run: testCacheStats},
	{name: "expiry", needs: needs(Expires), run: testCacheExpires},
	{name: "expiry spares snapshots", needs: needs(Expires), run: testExpirySpares},
}

const (
	cacheBytes    = 4 << 20
	cacheBlob     = 8 << 10
	cacheFull     = cacheBytes / cacheBlob // so many blobs fit, less headers
	cacheStep     = cacheFull / 16         // blobs between two uses of the hot ones
	cacheHot      = cacheFull / 8
	cacheTTL      = 10 * time.Minute
	cacheHotSeed  = 1 << 20
	cacheMostSeed = 4 * cacheFull
)

func (c Config) openCache(t testing.TB) cas.Store {
	t.Helper()
	return c.openWith(t, Setup{CacheBytes: cacheBytes})
}

func beginCache(t testing.TB, s cas.Store) cas.Session {
	t.Helper()
	return beginWith(t, s, cas.SessionOptions{Class: cas.Cache, Owner: "castest"})
}

// cacheBlobs are the cache blobs made so far, by seed: the tests ask for the
// same few thousand again and again.
var cacheBlobs sync.Map

type cacheContent struct {
	plain []byte
	sum   digest.Digest
}

// cached returns the plain bytes of a cache blob, which are the caller's, and
// its digest.
func cached(t testing.TB, seed int) ([]byte, digest.Digest) {
	t.Helper()
	b, ok := cacheBlobs.Load(seed)
	if !ok {
		p := noise(uint64(seed), cacheBlob)
		b, _ = cacheBlobs.LoadOrStore(seed, cacheContent{p, sum(t, digest.BLAKE3, p)})
	}
	c := b.(cacheContent)
	return bytes.Clone(c.plain), c.sum
}

// fillCache puts new blobs of the seeds and requires that each can be read at
// once.
func fillCache(t testing.TB, s cas.Store, sess cas.Session, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		p, d := cached(t, i)
		r, err := sess.Put(t.Context(), d, p)
		require.NoError(t, err, "put %d into a full cache", i)
		require.True(t, r.New)
		require.Positive(t, r.StoredBytes)
		wantBlob(t, s, d, p)
	}
}

// inCache returns how many blobs of the seeds are there, each of which must be
// whole.
func inCache(t testing.TB, s cas.Store, from, to int) int {
	t.Helper()
	n := 0
	buf := make([]byte, cacheBlob)
	for i := from; i < to; i++ {
		p, d := cached(t, i)
		switch _, err := s.Get(t.Context(), d, buf); {
		case err == nil:
			require.True(t, bytes.Equal(p, buf), "blob %d", i)
			n++
		default:
			require.ErrorIs(t, err, kvferry.ErrNotFound)
		}
	}
	return n
}

func testEvict(t *testing.T, c Config) {
	s := c.openCache(t)
	sess := beginCache(t, s)
	fillCache(t, s, sess, 0, cacheMostSeed)
	require.NoError(t, sess.Flush(t.Context()))
	_, oldest := cached(t, 0)
	wantMissing(t, s, oldest)
	has, err := sess.Has(t.Context(), oldest)
	require.NoError(t, err)
	require.False(t, has)
	n := inCache(t, s, 0, cacheMostSeed)
	require.LessOrEqual(t, n, cacheFull)
	require.GreaterOrEqual(t, n, cacheFull/2, "a cache that is emptied is no cache")
	require.Equal(t, cacheFull/4, inCache(t, s, cacheMostSeed-cacheFull/4, cacheMostSeed), "the latest")
	fillCache(t, s, sess, 0, 1) // what went can come back
	require.NoError(t, sess.Abort(t.Context()))
}

// testEvictUsed writes four times the quota. What is used again and again
// meanwhile, by reading or by finding it, is not least recently used.
func testEvictUsed(t *testing.T, c Config) {
	s := c.openCache(t)
	sess := beginCache(t, s)
	fillCache(t, s, sess, cacheHotSeed, cacheHotSeed+cacheHot)
	for i := 0; i < cacheMostSeed; i += cacheStep {
		fillCache(t, s, sess, i, i+cacheStep)
		half := cacheHotSeed + cacheHot/2
		require.Equal(t, cacheHot/2, inCache(t, s, cacheHotSeed, half), "blobs that are read, after %d puts", i)
		for j := half; j < cacheHotSeed+cacheHot; j++ {
			_, d := cached(t, j)
			has, err := sess.Has(t.Context(), d)
			require.NoError(t, err)
			require.True(t, has, "blob %d, which is found often, after %d puts", j, i)
		}
	}
	_, oldest := cached(t, 0)
	wantMissing(t, s, oldest)
}

// testEvictBesideReads: a reader sees a blob whole or not at all.
func testEvictBesideReads(t *testing.T, c Config) {
	for i := range cacheMostSeed { // now, lest making them brings reader and writer into an order
		cached(t, i)
	}
	s := c.openCache(t)
	sess := beginCache(t, s)
	done := make(chan struct{})
	var wg sync.WaitGroup
	var putErr error
	errs := make([]error, 2)
	for w := range errs {
		wg.Go(func() { errs[w] = readCache(t, s, done) })
	}
	for i := range cacheMostSeed {
		p, d := cached(t, i)
		if _, putErr = sess.Put(t.Context(), d, p); putErr != nil {
			break
		}
	}
	close(done)
	wg.Wait()
	require.NoError(t, putErr)
	require.NoError(t, errors.Join(errs...))
}

// readCache reads blobs until done.
func readCache(t *testing.T, s cas.Store, done <-chan struct{}) error {
	buf := make([]byte, cacheBlob)
	for i := 0; ; i = (i + 7) % cacheMostSeed {
		select {
		case <-done:
			return nil
		default:
		}
		p, d := cached(t, i)
		_, err := s.Get(t.Context(), d, buf)
		if errors.Is(err, kvferry.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if !bytes.Equal(p, buf) {
			return fmt.Errorf("blob %d reads back differently", i)
		}
	}
}

// testEvictSnapshots: neither what is committed nor what a session of class
// Snapshot put is evicted, however full the cache is.
func testEvictSnapshots(t *testing.T, c Config) {
	s := c.openCache(t)
	sn := commit(t, s, day(1), nil, noise(1, 100), noise(2, 500000))
	live := begin(t, s)
	uncommitted := putSnapshot(t, live, noise(3, 300000), noise(4, 10))
	sess := beginCache(t, s)
	fillCache(t, s, sess, 1000, 1000+3*cacheFull)
	wantSnapshot(t, s, sn)
	wantSnapshot(t, s, uncommitted)
	require.NoError(t, live.Commit(t.Context(), entry(uncommitted.root, day(2))))
	fillCache(t, s, sess, 1000+3*cacheFull, 1000+4*cacheFull)
	wantSnapshot(t, s, uncommitted)
}

// testEvictForSnapshots: the store's quota is the snapshots' first.
func testEvictForSnapshots(t *testing.T, c Config) {
	s := c.openWith(t, Setup{QuotaBytes: 2 * cacheBytes, CacheBytes: cacheBytes})
	fillCache(t, s, beginCache(t, s), 0, cacheFull)
	sess := begin(t, s)
	var blobs [][]byte
	for i := range 3 * cacheFull / 2 {
		blobs = append(blobs, noise(uint64(10000+i), cacheBlob))
	}
	sn := putSnapshot(t, sess, blobs...)
	require.NoError(t, sess.Commit(t.Context(), entry(sn.root, day(1))))
	wantSnapshot(t, s, sn)
	require.Less(t, inCache(t, s, 0, cacheFull), cacheFull)
}

// testCacheUnseen: a snapshot never rests on a cache blob.
func testCacheUnseen(t *testing.T, c Config) {
	s := c.openCache(t)
	cache := beginCache(t, s)
	p, d := cached(t, 1)
	fillCache(t, s, cache, 1, 2)
	for _, flushed := range []bool{false, true} {
		if flushed {
			require.NoError(t, cache.Flush(t.Context()))
		}
		sess := begin(t, s)
		has, err := sess.Has(t.Context(), d)
		require.NoError(t, err)
		require.False(t, has, "flushed: %t", flushed)
		require.ErrorIs(t, sess.Commit(t.Context(), entry(d, day(0))), kvferry.ErrInvalid)
		require.NoError(t, sess.Abort(t.Context()))
	}
	sess := begin(t, s)
	r, err := sess.Put(t.Context(), d, p)
	require.NoError(t, err)
	require.True(t, r.New)
	has, err := sess.Has(t.Context(), d)
	require.NoError(t, err)
	require.True(t, has)
	require.NoError(t, sess.Commit(t.Context(), entry(d, day(0))))
	if c.can(Enumerates) {
		require.Len(t, enumerate(t, s), 1)
	}
	fillCache(t, s, cache, 2, 2+2*cacheFull)
	wantBlob(t, s, d, p)
	if c.can(Collects) {
		collectNothing(t, s)
		wantBlob(t, s, d, p)
	}
}

// testCacheSees: a session of class Cache stores nothing a second time.
func testCacheSees(t *testing.T, c Config) {
	s := c.openCache(t)
	sn := commit(t, s, day(1), nil, noise(1, 100))
	sess := beginCache(t, s)
	for d, p := range sn.blobs {
		has, err := sess.Has(t.Context(), d)
		require.NoError(t, err)
		require.True(t, has)
		r, err := sess.Put(t.Context(), d, p)
		require.NoError(t, err)
		require.Equal(t, cas.PutResult{}, r)
	}
}

func testCacheCommit(t *testing.T, c Config) {
	s := c.openCache(t)
	sess := beginCache(t, s)
	root := put(t, sess, noise(1, 10))
	require.ErrorIs(t, sess.Commit(t.Context(), entry(root, day(1), "x")), kvferry.ErrInvalid)
	require.Empty(t, roots(t, s))
	_, err := s.Catalog().Lookup(t.Context(), "x")
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	require.NoError(t, sess.Abort(t.Context()))
}

// testCacheCollect: nothing refers to cache blobs, and yet they are no garbage
// while there is room.
func testCacheCollect(t *testing.T, c Config) {
	s := c.openCache(t)
	sess := beginCache(t, s)
	fillCache(t, s, sess, 0, 10)
	require.NoError(t, sess.Flush(t.Context()))
	require.NoError(t, sess.Abort(t.Context()))
	dry := collect(t, s, cas.CollectOptions{DryRun: true})
	require.Equal(t, dry, collect(t, s, cas.CollectOptions{}))
	require.Zero(t, dry.Deleted)
	require.Equal(t, 10, inCache(t, s, 0, 10))
}

// testCacheReopen: a cache outlives its store, and its quota holds for what
// was there.
func testCacheReopen(t *testing.T, c Config) {
	setup := Setup{Dir: t.TempDir(), CacheBytes: cacheBytes}
	s := c.openWith(t, setup)
	sess := beginCache(t, s)
	fillCache(t, s, sess, 0, cacheFull/2)
	require.NoError(t, sess.Flush(t.Context()))
	require.NoError(t, sess.Abort(t.Context()))
	require.NoError(t, s.Close())
	s = c.openWith(t, setup)
	require.Equal(t, cacheFull/2, inCache(t, s, 0, cacheFull/2))
	fillCache(t, s, beginCache(t, s), cacheFull/2, cacheMostSeed)
	require.LessOrEqual(t, inCache(t, s, 0, cacheMostSeed), cacheFull)
}

func testCacheStats(t *testing.T, c Config) {
	s := c.openCache(t)
	require.EqualValues(t, cacheBytes, stats(t, s).CacheQuotaBytes)
	commit(t, s, day(1), nil, noise(1, 100))
	before := stats(t, s)
	require.Zero(t, before.CacheBlobs)
	sess := beginCache(t, s)
	fillCache(t, s, sess, 10, 20)
	require.NoError(t, sess.Flush(t.Context()))
	st := stats(t, s)
	require.EqualValues(t, 10, st.CacheBlobs)
	require.GreaterOrEqual(t, st.CacheBytes, int64(10*cacheBlob))
	require.Equal(t, before.Blobs+st.CacheBlobs, st.Blobs)
	require.Equal(t, before.StoredBytes+st.CacheBytes, st.StoredBytes)
	require.Zero(t, st.EvictedBytes)

	fillCache(t, s, sess, 20, 20+2*cacheFull)
	require.NoError(t, sess.Flush(t.Context()))
	st = stats(t, s)
	require.Positive(t, st.EvictedBytes)
	require.LessOrEqual(t, st.CacheBytes, int64(cacheBytes))
	require.EqualValues(t, inCache(t, s, 10, 20+2*cacheFull), st.CacheBlobs)
}

// testCacheExpires: a blob goes when it has lived long enough, however much it
// was used, and stays away when another one is stored anew.
func testCacheExpires(t *testing.T, c Config) {
	clk := newClock()
	s := c.openWith(t, Setup{CacheBytes: cacheBytes, CacheTTL: cacheTTL, Now: clk.Now})
	sess := beginWith(t, s, cas.SessionOptions{Class: cas.Cache, Lease: time.Hour})
	fillCache(t, s, sess, 0, 10)
	clk.advance(cacheTTL - 2*time.Second)
	require.Equal(t, 10, inCache(t, s, 0, 10))
	clk.advance(4 * time.Second)
	require.Zero(t, inCache(t, s, 0, 10))
	for i := range 10 {
		_, d := cached(t, i)
		wantMissing(t, s, d)
		has, err := sess.Has(t.Context(), d)
		require.NoError(t, err)
		require.False(t, has)
	}
	if c.can(Batches) {
		_, d := cached(t, 0)
		reqs := []cas.Request{{Digest: d, Dst: make([]byte, cacheBlob)}}
		require.NoError(t, s.(cas.BatchGetter).GetBatch(t.Context(), reqs))
		require.ErrorIs(t, reqs[0].Err, kvferry.ErrNotFound)
	}
	fillCache(t, s, sess, 3, 4)
	require.NoError(t, sess.Flush(t.Context()))
	require.Equal(t, 1, inCache(t, s, 0, 10), "the one that was put again")
}

// testExpirySpares: only the cache expires, also where a blob was both.
func testExpirySpares(t *testing.T, c Config) {
	clk := newClock()
	s := c.openWith(t, Setup{CacheBytes: cacheBytes, CacheTTL: cacheTTL, Now: clk.Now})
	fillCache(t, s, beginCache(t, s), 1, 2)
	p, d := cached(t, 1)
	sn := commit(t, s, day(1), nil, p, noise(2, 100))
	clk.advance(100 * cacheTTL)
	wantSnapshot(t, s, sn)
	has, err := begin(t, s).Has(t.Context(), d)
	require.NoError(t, err)
	require.True(t, has)
}

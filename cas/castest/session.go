package castest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

var sessionTests = []test{
	{name: "commit publishes", run: testCommit},
	{name: "commit needs a known root", run: testCommitUnknownRoot},
	{name: "commit of a found root", run: testCommitFoundRoot},
	{name: "commit refuses bad entries", run: testCommitBadEntry},
	{name: "commit again", run: testCommitAgain},
	{name: "abort publishes nothing", run: testAbort},
	{name: "ended sessions", run: testEnded},
	{name: "bad options", run: testBadOptions},
	{name: "expiry", needs: needs(Clock), run: testExpiry},
	{name: "quota", needs: needs(Quota), run: testQuota},
	{name: "quota after collection", needs: needs(Quota, Collects), run: testQuotaAfterCollection},
}

func testCommit(t *testing.T, c Config) {
	s := c.open(t)
	sess := begin(t, s)
	sn := putSnapshot(t, sess, noise(1, 100), noise(2, 5000), nil)
	require.Empty(t, roots(t, s), "nothing is visible before the commit")
	wantSnapshot(t, s, sn) // but blobs are readable at once
	e := entry(sn.root, day(1), "b", "a")
	require.NoError(t, sess.Commit(t.Context(), e))
	e.Names = []string{"a", "b"}
	got, err := s.Catalog().Entries(t.Context())
	require.NoError(t, err)
	require.Equal(t, []cas.Entry{e}, got)
	for _, name := range e.Names {
		got, err := s.Catalog().Lookup(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, e, got)
	}
	wantSnapshot(t, s, sn)
}

// testCommitUnknownRoot: a root that exists but was neither put nor found in
// the session does not count either.
func testCommitUnknownRoot(t *testing.T, c Config) {
	s := c.open(t)
	other := commit(t, s, day(0), nil, noise(1, 10))
	for _, root := range []digest.Digest{sum(t, digest.BLAKE3, []byte("never put")), other.root} {
		sess := begin(t, s)
		put(t, sess, noise(2, 10))
		require.ErrorIs(t, sess.Commit(t.Context(), entry(root, day(1), "x")), kvferry.ErrInvalid)
		require.Error(t, sess.Commit(t.Context(), entry(root, day(1))), "after a failed commit there is only abort")
		_, err := sess.Put(t.Context(), sum(t, digest.BLAKE3, nil), nil)
		require.Error(t, err)
		require.NoError(t, sess.Abort(t.Context()))
	}
	require.Equal(t, []digest.Digest{other.root}, roots(t, s))
	_, err := s.Catalog().Lookup(t.Context(), "x")
	require.ErrorIs(t, err, kvferry.ErrNotFound)
}

func testCommitFoundRoot(t *testing.T, c Config) {
	s := c.open(t)
	first := begin(t, s)
	sn := putSnapshot(t, first, noise(1, 10))
	second := begin(t, s)
	has, err := second.Has(t.Context(), sn.root)
	require.NoError(t, err)
	require.True(t, has)
	require.NoError(t, first.Abort(t.Context()))
	require.NoError(t, second.Commit(t.Context(), entry(sn.root, day(1))))
	require.Equal(t, []digest.Digest{sn.root}, roots(t, s))
}

func testCommitBadEntry(t *testing.T, c Config) {
	s := c.open(t)
	for _, spoil := range []func(*cas.Entry){
		func(e *cas.Entry) { e.Names = []string{"good", "../bad"} },
		func(e *cas.Entry) { e.Names = []string{""} },
		func(e *cas.Entry) { e.Format = "unheard-of" },
		func(e *cas.Entry) { e.Format = "" },
	} {
		sess := begin(t, s)
		e := entry(put(t, sess, noise(1, 10)), day(1))
		spoil(&e)
		require.ErrorIs(t, sess.Commit(t.Context(), e), kvferry.ErrInvalid, "%+v", e)
		require.NoError(t, sess.Abort(t.Context()))
	}
	require.Empty(t, roots(t, s))
	_, err := s.Catalog().Lookup(t.Context(), "good")
	require.ErrorIs(t, err, kvferry.ErrNotFound)
}

// testCommitAgain: the same content captured twice is one snapshot with the
// names of both.
func testCommitAgain(t *testing.T, c Config) {
	s := c.open(t)
	sn := commit(t, s, day(0), []string{"first"}, noise(1, 10))
	again := commit(t, s, day(1), []string{"second"}, noise(1, 10))
	require.Equal(t, sn.root, again.root)
	require.Equal(t, []digest.Digest{sn.root}, roots(t, s))
	e, err := s.Catalog().Lookup(t.Context(), "first")
	require.NoError(t, err)
	require.Equal(t, []string{"first", "second"}, e.Names)
}

func testAbort(t *testing.T, c Config) {
	s := c.open(t)
	before := commit(t, s, day(0), []string{"kept"}, noise(1, 10))
	sess := begin(t, s)
	putSnapshot(t, sess, noise(2, 10), noise(1, 10))
	require.NoError(t, sess.Abort(t.Context()))
	require.NoError(t, sess.Abort(t.Context()), "abort may be repeated")
	require.Equal(t, []digest.Digest{before.root}, roots(t, s))
	wantSnapshot(t, s, before)
}

func testEnded(t *testing.T, c Config) {
	s := c.open(t)
	committed, aborted := begin(t, s), begin(t, s)
	root := put(t, committed, noise(1, 10))
	put(t, aborted, noise(1, 10))
	require.NoError(t, committed.Commit(t.Context(), entry(root, day(0))))
	require.NoError(t, aborted.Abort(t.Context()))
	for _, sess := range []cas.Session{committed, aborted} {
		wantSessionFails(t, sess, root, kvferry.ErrClosed)
		require.NoError(t, sess.Abort(t.Context()))
	}
	require.Equal(t, []digest.Digest{root}, roots(t, s), "abort after commit does nothing")
}

// wantSessionFails requires that every call but Abort fails with want.
func wantSessionFails(t *testing.T, sess cas.Session, d digest.Digest, want error) {
	t.Helper()
	_, err := sess.Put(t.Context(), d, []byte("x"))
	require.ErrorIs(t, err, want, "Put")
	_, err = sess.Has(t.Context(), d)
	require.ErrorIs(t, err, want, "Has")
	require.ErrorIs(t, sess.Flush(t.Context()), want, "Flush")
	require.ErrorIs(t, sess.Commit(t.Context(), entry(d, day(0))), want, "Commit")
}

func testBadOptions(t *testing.T, c Config) {
	s := c.open(t)
	_, err := s.Begin(t.Context(), cas.SessionOptions{Lease: -time.Second})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

// testExpiry: every call renews the lease, and after it ran out only abort is
// left.
func testExpiry(t *testing.T, c Config) {
	clk := newClock()
	s := c.openWith(t, Setup{Now: clk.Now})
	sess := beginWith(t, s, cas.SessionOptions{Lease: time.Minute})
	defaults := begin(t, s)
	var root digest.Digest
	for i, call := range []func() error{
		func() error { root = put(t, sess, noise(1, 10)); return nil },
		func() error { _, err := sess.Has(t.Context(), root); return err },
		func() error { return sess.Flush(t.Context()) },
	} {
		clk.advance(59 * time.Second)
		require.NoError(t, call(), "call %d", i)
	}
	clk.advance(61 * time.Second)
	wantSessionFails(t, sess, root, kvferry.ErrExpired)
	require.Empty(t, roots(t, s))
	require.NoError(t, sess.Abort(t.Context()))

	_, err := defaults.Has(t.Context(), root)
	require.NoError(t, err, "the default lease is longer")
	clk.advance(cas.DefaultLease + time.Second)
	wantSessionFails(t, defaults, root, kvferry.ErrExpired)
}

// testQuota fills a store until it refuses; what was there stays.
func testQuota(t *testing.T, c Config) {
	s := c.openWith(t, Setup{QuotaBytes: 64 << 10})
	kept := commit(t, s, day(0), []string{"kept"}, noise(1, 20<<10))
	sess := begin(t, s)
	refused := fillUp(t, sess)
	wantMissing(t, s, refused)
	r, err := sess.Put(t.Context(), kept.root, kept.blobs[kept.root])
	require.NoError(t, err, "a blob that is there already needs no room")
	require.False(t, r.New)
	require.NoError(t, sess.Abort(t.Context()))
	require.Equal(t, []digest.Digest{kept.root}, roots(t, s))
	wantSnapshot(t, s, kept)
}

// fillUp puts noise until the quota is reached and returns what was refused.
func fillUp(t *testing.T, sess cas.Session) digest.Digest {
	t.Helper()
	for i := range 100 {
		p := noise(uint64(100+i), 4<<10)
		d := sum(t, digest.BLAKE3, p)
		if _, err := sess.Put(t.Context(), d, p); err != nil {
			require.ErrorIs(t, err, kvferry.ErrQuota)
			require.Positive(t, i, "some of 44 KiB can be used")
			return d
		}
	}
	t.Fatal("the quota was never reached")
	return digest.Digest{}
}

func testQuotaAfterCollection(t *testing.T, c Config) {
	s := c.openWith(t, Setup{QuotaBytes: 64 << 10})
	kept := commit(t, s, day(0), []string{"kept"}, noise(1, 20<<10))
	for range 3 {
		sess := begin(t, s)
		fillUp(t, sess)
		require.NoError(t, sess.Flush(t.Context())) // else they may be gone at once
		require.NoError(t, sess.Abort(t.Context()))
		report := collect(t, s, cas.CollectOptions{})
		require.Positive(t, report.Deleted)
	}
	wantSnapshot(t, s, kept)
}

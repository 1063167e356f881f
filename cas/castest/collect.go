package castest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

var collectTests = []test{
	{name: "garbage goes and the rest stays", needs: needs(Collects), run: testCollect},
	{name: "policy", needs: needs(Collects), run: testPolicy},
	{name: "dry run", needs: needs(Collects), run: testDryRun},
	{name: "live sessions protect", needs: needs(Collects), run: testSessionsProtect},
	{name: "expired sessions do not", needs: needs(Collects, Clock), run: testExpiredCollected},
	{name: "a reference error stops it", needs: needs(Collects), run: testReferenceError},
	{name: "references are required", needs: needs(Collects), run: testReferencesRequired},
	{name: "beside sessions", needs: needs(Collects), run: testStress},
}

// collect runs a collection with the suite's references.
func collect(t testing.TB, s cas.Store, o cas.CollectOptions) cas.CollectReport {
	t.Helper()
	o.References = references(s)
	r, err := s.(cas.Collector).Collect(t.Context(), o)
	require.NoError(t, err)
	return r
}

func testCollect(t *testing.T, c Config) {
	s := c.open(t)
	shared := noise(1, 3000)
	kept := commit(t, s, day(1), []string{"kept"}, shared, noise(2, 100))
	unnamed := commit(t, s, day(2), nil, shared, noise(3, 100))
	gone := commit(t, s, day(3), nil, shared, noise(4, 5000))
	garbage := begin(t, s)
	loose := put(t, garbage, noise(5, 200))
	require.NoError(t, garbage.Flush(t.Context())) // else what it put may be gone at once
	require.NoError(t, garbage.Abort(t.Context()))
	require.NoError(t, s.Catalog().Drop(t.Context(), gone.root))

	r := collect(t, s, cas.CollectOptions{})
	require.ElementsMatch(t, []digest.Digest{kept.root, unnamed.root}, rootsOf(r.Kept))
	require.Empty(t, r.Dropped)
	require.EqualValues(t, 5, r.Live, "one shared blob, two of their own, two manifests")
	require.EqualValues(t, 3, r.Deleted, "the loose one, one of the dropped one's own, its manifest")
	require.Positive(t, r.LiveBytes)
	require.Positive(t, r.DeletedBytes)
	wantSnapshot(t, s, kept)
	wantSnapshot(t, s, unnamed)
	for _, d := range []digest.Digest{loose, gone.root, sum(t, digest.BLAKE3, noise(4, 5000))} {
		wantMissing(t, s, d)
	}

	again := collect(t, s, cas.CollectOptions{})
	require.Zero(t, again.Deleted)
	require.Equal(t, r.Live, again.Live)
	require.Equal(t, r.LiveBytes, again.LiveBytes)
	back := commit(t, s, day(4), nil, shared, noise(4, 5000)) // what was deleted can come back
	wantSnapshot(t, s, back)
}

// testPolicy keeps a snapshot if it is named, among the newest, or young.
func testPolicy(t *testing.T, c Config) {
	for _, x := range []struct {
		name   string
		last   int
		within time.Duration
		kept   []int // of the days 0 to 5, of which 1 is named
	}{
		{"no policy", 0, 0, []int{0, 1, 2, 3, 4, 5}},
		{"last 2", 2, 0, []int{1, 4, 5}},
		{"last 100", 100, 0, []int{0, 1, 2, 3, 4, 5}},
		{"within 60 hours", 0, 60 * time.Hour, []int{1, 4, 5}},
		{"within 1 hour", 0, time.Hour, []int{1}},
		{"last 1 or within 84 hours", 1, 84 * time.Hour, []int{1, 3, 4, 5}},
		{"last 4 or within 1 hour", 4, time.Hour, []int{1, 2, 3, 4, 5}},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := c.open(t)
			var all []snapshot
			for i := range 6 {
				var names []string
				if i == 1 {
					names = []string{"named"}
				}
				all = append(all, commit(t, s, day(i), names, noise(uint64(i), 50)))
			}
			o := cas.CollectOptions{KeepLast: x.last, KeepWithin: x.within, Now: day(6).Add(-12 * time.Hour)}
			r := collect(t, s, o)
			var want []digest.Digest
			for _, i := range x.kept {
				want = append(want, all[i].root)
				wantSnapshot(t, s, all[i])
			}
			require.ElementsMatch(t, want, rootsOf(r.Kept))
			require.Len(t, r.Dropped, 6-len(x.kept))
			require.EqualValues(t, 2*(6-len(x.kept)), r.Deleted)
			require.Equal(t, want, roots(t, s))
			for _, e := range r.Dropped {
				wantMissing(t, s, e.Root)
			}
		})
	}
}

// testDryRun: the report is that of the real run that follows, and nothing is
// changed by it.
func testDryRun(t *testing.T, c Config) {
	s := c.open(t)
	kept := commit(t, s, day(5), []string{"kept"}, noise(1, 100))
	old := commit(t, s, day(1), nil, noise(2, 4000))
	aborted := begin(t, s)
	loose := put(t, aborted, noise(3, 300))
	require.NoError(t, aborted.Flush(t.Context())) // else what it put may be gone at once
	require.NoError(t, aborted.Abort(t.Context()))
	live := begin(t, s)
	held := put(t, live, noise(4, 300))

	o := cas.CollectOptions{KeepLast: 1, DryRun: true}
	dry := collect(t, s, o)
	require.Equal(t, []digest.Digest{old.root, kept.root}, roots(t, s))
	wantSnapshot(t, s, old)
	wantBlob(t, s, loose, noise(3, 300))
	require.Equal(t, dry, collect(t, s, o), "a dry run changes nothing")

	o.DryRun = false
	require.Equal(t, dry, collect(t, s, o), "the dry run told the truth")
	require.Equal(t, []digest.Digest{kept.root}, roots(t, s))
	require.EqualValues(t, 3, dry.Deleted)
	wantBlob(t, s, held, noise(4, 300))
	wantMissing(t, s, loose)
	wantMissing(t, s, old.root)
}

// testSessionsProtect: what a live session put or found stays, also when its
// snapshot is dropped, until the session ends.
func testSessionsProtect(t *testing.T, c Config) {
	s := c.open(t)
	sn := commit(t, s, day(1), nil, noise(1, 100), noise(2, 100))
	found, lost := sum(t, digest.BLAKE3, noise(1, 100)), sum(t, digest.BLAKE3, noise(2, 100))
	holder, other := begin(t, s), begin(t, s)
	for _, sess := range []cas.Session{holder, holder, other} { // found twice in one
		has, err := sess.Has(t.Context(), found)
		require.NoError(t, err)
		require.True(t, has)
	}
	own := put(t, holder, noise(3, 100))
	r, err := holder.Put(t.Context(), sn.root, sn.blobs[sn.root]) // found by Put
	require.NoError(t, err)
	require.False(t, r.New)
	require.NoError(t, s.Catalog().Drop(t.Context(), sn.root))
	has, err := s.Has(t.Context(), lost)
	require.NoError(t, err)
	require.True(t, has, "asking the store protects nothing")

	require.EqualValues(t, 1, collect(t, s, cas.CollectOptions{}).Deleted)
	wantMissing(t, s, lost)
	wantBlob(t, s, found, noise(1, 100))
	wantBlob(t, s, own, noise(3, 100))
	wantBlob(t, s, sn.root, sn.blobs[sn.root])

	require.NoError(t, holder.Flush(t.Context())) // else what it put may be gone at once
	require.NoError(t, holder.Abort(t.Context()))
	require.EqualValues(t, 2, collect(t, s, cas.CollectOptions{}).Deleted)
	wantMissing(t, s, own)
	wantBlob(t, s, found, noise(1, 100))
	require.NoError(t, other.Abort(t.Context()))
	require.EqualValues(t, 1, collect(t, s, cas.CollectOptions{}).Deleted)
	wantMissing(t, s, found)
}

func testExpiredCollected(t *testing.T, c Config) {
	clk := newClock()
	s := c.openWith(t, Setup{Now: clk.Now})
	short := beginWith(t, s, cas.SessionOptions{Lease: time.Minute})
	long := beginWith(t, s, cas.SessionOptions{Lease: time.Hour})
	lost, kept := put(t, short, noise(1, 10)), put(t, long, noise(2, 10))
	clk.advance(59 * time.Second)
	require.Zero(t, collect(t, s, cas.CollectOptions{}).Deleted)
	clk.advance(2 * time.Second)
	require.EqualValues(t, 1, collect(t, s, cas.CollectOptions{DryRun: true}).Deleted)
	require.EqualValues(t, 1, collect(t, s, cas.CollectOptions{}).Deleted)
	wantMissing(t, s, lost)
	wantBlob(t, s, kept, noise(2, 10))
	wantSessionFails(t, short, lost, kvferry.ErrExpired)
	require.NoError(t, long.Commit(t.Context(), entry(kept, day(0))))
}

func testReferenceError(t *testing.T, c Config) {
	s := c.open(t)
	a := commit(t, s, day(1), nil, noise(1, 10))
	b := commit(t, s, day(2), nil, noise(2, 10))
	aborted := begin(t, s)
	loose := put(t, aborted, noise(3, 10))
	require.NoError(t, aborted.Flush(t.Context())) // else what it put may be gone at once
	require.NoError(t, aborted.Abort(t.Context()))
	failure := errors.New("unreadable manifest")
	good := references(s)
	for _, dropped := range []int{0, 1} { // 1: a is dropped by the policy, b fails
		r, err := s.(cas.Collector).Collect(t.Context(), cas.CollectOptions{
			KeepLast: dropped,
			References: func(ctx context.Context, e cas.Entry, visit func(digest.Digest) error) error {
				if e.Root == b.root {
					return failure
				}
				return good(ctx, e, visit)
			},
		})
		require.ErrorIs(t, err, failure)
		require.Zero(t, r.Deleted)
		require.Equal(t, []digest.Digest{a.root, b.root}, roots(t, s))
		wantSnapshot(t, s, a)
		wantSnapshot(t, s, b)
		wantBlob(t, s, loose, noise(3, 10))
	}
}

func testReferencesRequired(t *testing.T, c Config) {
	s := c.open(t)
	commit(t, s, day(1), nil, noise(1, 10))
	_, err := s.(cas.Collector).Collect(t.Context(), cas.CollectOptions{})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	_, err = s.(cas.Collector).Collect(t.Context(), cas.CollectOptions{References: references(s), KeepLast: -1})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	_, err = s.(cas.Collector).Collect(t.Context(), cas.CollectOptions{References: references(s), KeepWithin: -1})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

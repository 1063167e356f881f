package castest

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

var abilityTests = []test{
	{name: "enumerate", needs: needs(Enumerates), run: testEnumerate},
	{name: "enumerate stops", needs: needs(Enumerates), run: testEnumerateStops},
	{name: "view", needs: needs(Views), run: testView},
	{name: "view outlives deletion", needs: needs(Views), run: testViewOutlives},
	{name: "quarantine", needs: needs(Quarantines), run: testQuarantine},
	{name: "quarantine beside a session", needs: needs(Quarantines), run: testQuarantineHeld},
	{name: "stats", needs: needs(Describes), run: testStats},
	{name: "check of a sound store", needs: needs(Checks), run: testCheckSound},
	{name: "scrub of a sound store", needs: needs(Scrubs), run: testScrubSound},
}

func testEnumerate(t *testing.T, c Config) {
	s := c.open(t)
	require.Empty(t, enumerate(t, s))
	sess := begin(t, s)
	want := map[digest.Digest]int64{}
	for a := digest.BLAKE3; a.Valid(); a++ {
		for i := range 40 {
			p := noise(uint64(i), i*17)
			d := sum(t, a, p)
			r, err := sess.Put(t.Context(), d, p)
			require.NoError(t, err)
			want[d] = r.StoredBytes
		}
	}
	require.Equal(t, want, enumerate(t, s))
}

func enumerate(t *testing.T, s cas.Store) map[digest.Digest]int64 {
	t.Helper()
	got := map[digest.Digest]int64{}
	for info, err := range s.(cas.Enumerator).Blobs(t.Context()) {
		require.NoError(t, err)
		require.NotContains(t, got, info.Digest, "listed twice")
		got[info.Digest] = info.StoredBytes
	}
	return got
}

// testEnumerateStops leaves the loop early and calls the store from inside.
func testEnumerateStops(t *testing.T, c Config) {
	s := c.open(t)
	sess := begin(t, s)
	for i := range 10 {
		put(t, sess, noise(uint64(i), 10))
	}
	seen := 0
	for info, err := range s.(cas.Enumerator).Blobs(t.Context()) {
		require.NoError(t, err)
		has, err := s.Has(t.Context(), info.Digest)
		require.NoError(t, err)
		require.True(t, has)
		put(t, sess, noise(uint64(1000+seen), 10))
		if seen++; seen == 3 {
			break
		}
	}
	require.Equal(t, 3, seen)
}

func testView(t *testing.T, c Config) {
	s := c.open(t)
	sess := begin(t, s)
	for _, n := range []int{0, 1, 4096, 100001} {
		p := noise(uint64(n), n)
		d := put(t, sess, p)
		a, err := s.(cas.Viewer).View(t.Context(), d)
		require.NoError(t, err)
		b, err := s.(cas.Viewer).View(t.Context(), d)
		require.NoError(t, err)
		a.Release()
		require.Len(t, b.Bytes(), n)
		require.True(t, bytes.Equal(p, b.Bytes()))
		b.Release()
	}
	_, err := s.(cas.Viewer).View(t.Context(), sum(t, digest.BLAKE3, []byte("never put")))
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	_, err = s.(cas.Viewer).View(t.Context(), digest.Digest{})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

// testViewOutlives: viewed bytes stay what they are when their blob is
// collected or quarantined, room is used again and the store is closed.
func testViewOutlives(t *testing.T, c Config) {
	s := c.open(t)
	sess := begin(t, s)
	var views []cas.View
	for i := range 8 {
		v, err := s.(cas.Viewer).View(t.Context(), put(t, sess, noise(uint64(i), 1000)))
		require.NoError(t, err)
		views = append(views, v)
	}
	if c.can(Quarantines) {
		require.NoError(t, s.(cas.Quarantiner).Quarantine(t.Context(), sum(t, digest.BLAKE3, noise(0, 1000))))
	}
	require.NoError(t, sess.Abort(t.Context()))
	if c.can(Collects) {
		collect(t, s, cas.CollectOptions{})
	}
	sess = begin(t, s)
	for i := range 16 {
		put(t, sess, noise(uint64(100+i), 1000))
	}
	require.NoError(t, s.Close())
	for i, v := range views {
		require.True(t, bytes.Equal(noise(uint64(i), 1000), v.Bytes()), "view %d", i)
		v.Release()
	}
}

// testQuarantine puts wrong bytes under a digest, which a store does not
// notice and a Reader does.
func testQuarantine(t *testing.T, c Config) {
	s := c.open(t)
	sess := begin(t, s)
	right, wrong := noise(1, 1000), noise(2, 1000)
	d := sum(t, digest.BLAKE3, right)
	other := put(t, sess, noise(3, 10))
	_, err := sess.Put(t.Context(), d, wrong)
	require.NoError(t, err)
	r, err := cas.NewReader(s, nil)
	require.NoError(t, err)
	buf := make([]byte, 1000)
	_, err = r.Get(t.Context(), d, buf)
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	require.Equal(t, make([]byte, 1000), buf, "no wrong byte is handed out")
	wantMissing(t, s, d)
	has, err := sess.Has(t.Context(), d)
	require.NoError(t, err)
	require.False(t, has)
	if c.can(Describes) {
		st := stats(t, s)
		require.EqualValues(t, 1, st.Quarantined)
		require.EqualValues(t, 1, st.Blobs)
	}
	if c.can(Enumerates) {
		require.Len(t, enumerate(t, s), 1)
	}
	res, err := sess.Put(t.Context(), d, right)
	require.NoError(t, err)
	require.True(t, res.New)
	wantBlob(t, s, d, right)
	wantBlob(t, s, other, noise(3, 10))
	require.NoError(t, sess.Commit(t.Context(), entry(d, day(0))))
	q := s.(cas.Quarantiner)
	require.ErrorIs(t, q.Quarantine(t.Context(), sum(t, digest.BLAKE3, []byte("never put"))), kvferry.ErrNotFound)
	require.ErrorIs(t, q.Quarantine(t.Context(), digest.Digest{}), kvferry.ErrInvalid)
}

// testQuarantineHeld: a snapshot is not committed without a blob that was
// quarantined since the session put or found it, unless it was put again.
func testQuarantineHeld(t *testing.T, c Config) {
	for name, again := range map[string]func(sess, other cas.Session) cas.Session{
		"not put again":   func(cas.Session, cas.Session) cas.Session { return nil },
		"put again":       func(sess, _ cas.Session) cas.Session { return sess },
		"put by another":  func(_, other cas.Session) cas.Session { return other },
		"found, not put":  func(cas.Session, cas.Session) cas.Session { return nil },
		"found, then put": func(sess, _ cas.Session) cas.Session { return sess },
	} {
		s := c.open(t)
		right := noise(1, 1000)
		d := sum(t, digest.BLAKE3, right)
		sess, other := begin(t, s), begin(t, s)
		writer := sess
		if strings.HasPrefix(name, "found") {
			writer = other
		}
		_, err := writer.Put(t.Context(), d, noise(2, 1000))
		require.NoError(t, err)
		has, err := sess.Has(t.Context(), d)
		require.NoError(t, err)
		require.True(t, has)
		root := put(t, sess, noise(3, 10))
		require.NoError(t, s.(cas.Quarantiner).Quarantine(t.Context(), d))
		by := again(sess, other)
		if by != nil {
			put(t, by, right)
		}
		err = sess.Commit(t.Context(), entry(root, day(0)))
		if by == nil {
			require.ErrorIs(t, err, kvferry.ErrCorrupt, name)
			require.Empty(t, roots(t, s))
			require.NoError(t, sess.Abort(t.Context()))
			continue
		}
		require.NoError(t, err, name)
		require.NoError(t, other.Abort(t.Context()))
		wantBlob(t, s, d, right)
	}
}

func stats(t *testing.T, s cas.Store) cas.Stats {
	t.Helper()
	st, err := s.(cas.Stater).Stats(t.Context())
	require.NoError(t, err)
	return st
}

// counts are the fields that mean the same in every store.
func counts(st cas.Stats) cas.Stats {
	return cas.Stats{Blobs: st.Blobs, StoredBytes: st.StoredBytes, Quarantined: st.Quarantined,
		QuarantinedBytes: st.QuarantinedBytes, QuotaBytes: st.QuotaBytes, Sessions: st.Sessions}
}

func testStats(t *testing.T, c Config) {
	s := c.open(t)
	require.Equal(t, cas.Stats{}, counts(stats(t, s)))
	sess, other := begin(t, s), begin(t, s)
	var stored int64
	for i := range 20 {
		p := noise(uint64(i%15), 100) // five come twice
		r, err := sess.Put(t.Context(), sum(t, digest.BLAKE3, p), p)
		require.NoError(t, err)
		stored += r.StoredBytes
	}
	want := cas.Stats{Blobs: 15, StoredBytes: stored, Sessions: 2}
	require.Equal(t, want, counts(stats(t, s)))
	require.NoError(t, sess.Commit(t.Context(), entry(sum(t, digest.BLAKE3, noise(0, 100)), day(0))))
	require.NoError(t, other.Abort(t.Context()))
	want.Sessions = 0
	require.Equal(t, want, counts(stats(t, s)))
	wantSensible(t, stats(t, s))
	if c.can(Quota) {
		require.EqualValues(t, 1<<20, stats(t, c.openWith(t, Setup{QuotaBytes: 1 << 20})).QuotaBytes)
	}
	if c.can(Collects) {
		r := collectNothing(t, s)
		require.EqualValues(t, 14, r.Deleted)
		st := stats(t, s)
		require.Equal(t, stored-r.DeletedBytes, st.StoredBytes)
		require.Equal(t, r.LiveBytes, st.StoredBytes)
		require.EqualValues(t, 1, st.Blobs)
		wantSensible(t, st)
	}
}

// wantSensible requires that the fields which not every store has do not
// contradict the others, in a store whose blobs are flushed and no cache.
func wantSensible(t *testing.T, st cas.Stats) {
	t.Helper()
	require.Zero(t, st.CacheBlobs)
	require.Zero(t, st.CacheBytes)
	require.Zero(t, st.EvictedBytes)
	require.GreaterOrEqual(t, st.DeadBytes, int64(0))
	if st.DiskBytes != 0 {
		require.GreaterOrEqual(t, st.DiskBytes, st.StoredBytes+st.DeadBytes)
		require.GreaterOrEqual(t, st.Amplification(), 1.0)
	}
}

// collectNothing collects with references that name the root alone.
func collectNothing(t *testing.T, s cas.Store) cas.CollectReport {
	t.Helper()
	r, err := s.(cas.Collector).Collect(t.Context(), cas.CollectOptions{References: rootOnly})
	require.NoError(t, err)
	return r
}

func testCheckSound(t *testing.T, c Config) {
	s := c.open(t)
	commit(t, s, day(0), []string{"x"}, noise(1, 100))
	put(t, begin(t, s), noise(2, 100))
	require.NoError(t, s.(cas.Checker).Check(t.Context(), func(p cas.Problem) {
		t.Errorf("a sound store has no problem: %+v", p)
	}))
}

// testScrubSound: a sound store scrubs clean, empty or full, also what was not
// flushed, and the progress ends at the whole.
func testScrubSound(t *testing.T, c Config) {
	s := c.open(t)
	scrub(t, s)
	sn := commit(t, s, day(0), []string{"x"}, noise(1, 100), noise(2, 300000), nil)
	gone := commit(t, s, day(1), nil, noise(3, 5000))
	require.NoError(t, s.Catalog().Drop(t.Context(), gone.root))
	require.Positive(t, scrub(t, s))
	if c.can(Collects) {
		collect(t, s, cas.CollectOptions{})
	}
	put(t, begin(t, s), noise(4, 100))
	require.Positive(t, scrub(t, s))
	require.NoError(t, s.(cas.Scrubber).Scrub(t.Context(), cas.ScrubOptions{}), "without anybody to tell")
	wantSnapshot(t, s, sn)
}

// scrub requires a clean scrub and returns how many bytes it read.
func scrub(t *testing.T, s cas.Store) int64 {
	t.Helper()
	var mu sync.Mutex
	var done, total int64
	require.NoError(t, s.(cas.Scrubber).Scrub(t.Context(), cas.ScrubOptions{
		Report: func(p cas.Problem) { t.Errorf("a sound store has no problem: %+v", p) },
		Progress: func(d, of int64) {
			mu.Lock()
			defer mu.Unlock()
			done, total = max(done, d), max(total, of)
		},
	}))
	require.Equal(t, total, done, "bytes that were read, of the whole")
	return done
}

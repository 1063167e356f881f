package pack

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/cas/pack/internal/table"
	"github.com/kvferry/kvferry/digest"
)

// classStore returns a store in memory whose cache evicts.
func classStore(t *testing.T) (*crashWorld, *Store) {
	t.Helper()
	w := newCrashWorld(1)
	require.NoError(t, w.start(0))
	t.Cleanup(func() { require.NoError(t, w.hosts[0].s.Close()) })
	return w, w.hosts[0].s
}

// putIn stores p durably in a session of the class, and commits it as a
// snapshot if it can be one.
func putIn(t *testing.T, s *Store, class cas.Class, p []byte) digest.Digest {
	t.Helper()
	x, err := s.Begin(t.Context(), cas.SessionOptions{Class: class})
	require.NoError(t, err)
	d := crashSum(p)
	r, err := x.Put(t.Context(), d, p)
	require.NoError(t, err)
	require.True(t, r.New)
	require.NoError(t, x.Flush(t.Context()))
	if class == cas.Snapshot {
		require.NoError(t, x.Commit(t.Context(), cas.Entry{Root: d, Format: cas.FormatNative, Created: s.o.Clock()}))
	}
	require.NoError(t, x.Abort(t.Context()))
	return d
}

func classPlain() []byte {
	p := make([]byte, 4000)
	for i := range p {
		p[i] = byte(i * i >> 3)
	}
	return p
}

func wantClass(t *testing.T, s *Store, d digest.Digest, class cas.Class) (table.Place, *packInfo) {
	t.Helper()
	at, p, ok := s.st().find(d)
	require.True(t, ok)
	require.Equal(t, class, p.class)
	return at, p
}

// TestRescueLeavesSnapshotsAlone: what an eviction copies may have become part
// of a snapshot since it was listed.
func TestRescueLeavesSnapshotsAlone(t *testing.T) {
	t.Parallel()
	_, s := classStore(t)
	plain := classPlain()
	d := putIn(t, s, cas.Cache, plain)
	at, p := wantClass(t, s, d, cas.Cache)
	listed := candidate{stored{d, at.Offset(), at.Size()}, p, s.age()}

	require.Equal(t, d, putIn(t, s, cas.Snapshot, plain))
	wantClass(t, s, d, cas.Snapshot)

	lane, err := s.lane(cas.Cache)
	require.NoError(t, err)
	require.NoError(t, s.copyCached(t.Context(), lane, p, listed))
	require.NoError(t, s.commits.submit(t.Context(), &request{settle: true, lazy: true}))
	wantClass(t, s, d, cas.Snapshot)
}

// TestCacheLeavesCondemnedBlobsAlone: a blob that a collector condemned may be
// held by a session that is about to commit.
func TestCacheLeavesCondemnedBlobsAlone(t *testing.T) {
	t.Parallel()
	_, s := classStore(t)
	plain := classPlain()
	d := putIn(t, s, cas.Snapshot, plain)
	at, p := wantClass(t, s, d, cas.Snapshot)
	require.NoError(t, s.commits.submit(t.Context(), &request{lazy: true, build: func(_ *view, o *ops) error {
		o.condemn(p.id, []stored{{d, at.Offset(), at.Size()}})
		return nil
	}}))
	x, err := s.Begin(t.Context(), cas.SessionOptions{Class: cas.Cache})
	require.NoError(t, err)
	_, err = x.Put(t.Context(), d, plain)
	require.NoError(t, err)
	require.NoError(t, x.Flush(t.Context()))
	require.NoError(t, x.Abort(t.Context()))
	wantClass(t, s, d, cas.Snapshot)
}

// TestCacheMendsSnapshots: a session of the cache that finds a snapshot's blob
// damaged stores it anew where the snapshot can rest on it.
func TestCacheMendsSnapshots(t *testing.T) {
	t.Parallel()
	w, s := classStore(t)
	plain := classPlain()
	d := putIn(t, s, cas.Snapshot, plain)
	at, p := wantClass(t, s, d, cas.Snapshot)
	require.NoError(t, w.spoil(packfile.Path(p.id), at.Offset()+2*unitBytes))
	s.st().table.Touch(d, 0) // as if another process had written it

	require.Equal(t, d, putIn(t, s, cas.Cache, plain))
	wantClass(t, s, d, cas.Snapshot)
	got, err := crashRead(t.Context(), s, d)
	require.NoError(t, err)
	require.Equal(t, plain, got)
}

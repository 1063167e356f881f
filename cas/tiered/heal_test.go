package tiered_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/castest"
	"github.com/kvferry/kvferry/cas/tiered"
)

// rot flips a bit of the stored form of a blob in a store of package dir.
func rot(t testing.TB, root string, p []byte) {
	t.Helper()
	found := false
	require.NoError(t, filepath.WalkDir(filepath.Join(root, "blobs"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !strings.Contains(e.Name(), sum(p).Hex()) {
			return err
		}
		found = true
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[len(b)-1] ^= 1
		return os.WriteFile(path, b, 0o666)
	}))
	require.True(t, found)
}

// openDirs opens a write-through store over two directories of which near has
// the blob too.
func openDirs(t testing.TB, p []byte) (s *tiered.Store, near cas.Store, root string) {
	t.Helper()
	root = t.TempDir()
	near = openDir(t, castest.Setup{Dir: root}, "near")
	far := openDir(t, castest.Setup{Dir: root}, "far")
	putIn(t, near, p)
	putIn(t, far, p)
	return openWith(t, tiered.Options{Near: near, Far: far, Promote: tiered.PromoteNone}), near, root
}

// TestHealed: a blob that is damaged in near is read from far, set aside, and
// stored anew, also where nothing else is promoted.
func TestHealed(t *testing.T) {
	t.Parallel()
	p := noise(1, 3000)
	s, near, root := openDirs(t, p)
	rot(t, filepath.Join(root, "near"), p)
	wantBlob(t, s, p)
	until(func() bool { return s.State().Healed > 0 })
	wantBlob(t, near, p)
	st, err := near.(cas.Stater).Stats(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, st.Quarantined)
	require.EqualValues(t, 1, s.State().FarReads)
	wantBlob(t, s, p)
	require.EqualValues(t, 1, s.State().FarReads, "near has it again")
}

// TestHealedInBatch is TestHealed for a batch.
func TestHealedInBatch(t *testing.T) {
	t.Parallel()
	p := noise(1, 3000)
	s, near, root := openDirs(t, p)
	rot(t, filepath.Join(root, "near"), p)
	reqs := []cas.Request{{Digest: sum(p), Dst: make([]byte, 3000)}, {Digest: sum(p), Dst: make([]byte, 3000)}}
	require.NoError(t, s.GetBatch(t.Context(), reqs))
	for _, r := range reqs {
		require.NoError(t, r.Err)
		require.True(t, bytes.Equal(p, r.Dst[:r.N]))
	}
	until(func() bool { return s.State().Healed > 0 })
	wantBlob(t, near, p)
}

// TestDamagedEverywhere: no store has it whole, and nobody says that it does
// not exist.
func TestDamagedEverywhere(t *testing.T) {
	t.Parallel()
	p, alone := noise(1, 3000), noise(2, 3000)
	s, near, root := openDirs(t, p)
	putIn(t, near, alone)
	rot(t, filepath.Join(root, "near"), p)
	rot(t, filepath.Join(root, "far"), p)
	rot(t, filepath.Join(root, "near"), alone)
	for _, q := range [][]byte{p, alone} {
		_, err := s.Get(t.Context(), sum(q), make([]byte, 3000))
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
	}
}

// TestUnreadableIsNotMissing: where near fails to read, far's answer that it
// has no such blob is not the store's.
func TestUnreadableIsNotMissing(t *testing.T) {
	t.Parallel()
	s := openPair(t, tiered.Options{})
	s.near.failsIf(func(op string) error {
		if op == "get" {
			return syscall.EIO
		}
		return nil
	})
	_, err := s.Get(t.Context(), sum(noise(1, 10)), make([]byte, 10))
	require.ErrorIs(t, err, syscall.EIO)
	s.near.fails(nil)
	_, err = s.Get(t.Context(), sum(noise(1, 10)), make([]byte, 10))
	require.ErrorIs(t, err, kvferry.ErrNotFound)
}

// TestQuarantineSparesTheSound: what a Reader finds wrong is set aside where
// it is wrong.
func TestQuarantineSparesTheSound(t *testing.T) {
	t.Parallel()
	s := openPair(t, tiered.Options{})
	p := noise(1, 1000)
	putIn(t, s.far, p)
	sess, err := s.near.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	_, err = sess.Put(t.Context(), sum(p), noise(2, 1000))
	require.NoError(t, err)
	r, err := cas.NewReader(s, nil)
	require.NoError(t, err)
	buf := make([]byte, 1000)
	_, err = r.Get(t.Context(), sum(p), buf)
	require.ErrorIs(t, err, kvferry.ErrCorrupt, "near's bytes, which nobody had checked")
	n, err := r.Get(t.Context(), sum(p), buf)
	require.NoError(t, err)
	require.Equal(t, p, buf[:n])
	wantHas(t, true, s.far, sum(p))
	require.NoError(t, sess.Abort(t.Context()))
}

// TestHiddenAfterCollection: near keeps what it has as its cache, and yet what
// far lost is gone, until somebody puts it again.
func TestHiddenAfterCollection(t *testing.T) {
	t.Parallel()
	near := &probe{Store: openMem(t, castest.Setup{}, ""), evicts: true}
	s := openWith(t, tiered.Options{Near: near, Far: openMem(t, castest.Setup{}, "")})
	kept, gone := noise(1, 100), noise(2, 100)
	_, err := commit(t.Context(), s, 1, []string{"kept"}, kept)
	require.NoError(t, err)
	root, err := commit(t.Context(), s, 2, nil, kept, gone)
	require.NoError(t, err)
	require.NoError(t, s.Catalog().Drop(t.Context(), root))
	r, err := s.Collect(t.Context(), cas.CollectOptions{References: references(s)})
	require.NoError(t, err)
	require.EqualValues(t, 2, r.Deleted)
	wantHas(t, true, near, sum(gone))
	_, err = s.Get(t.Context(), sum(gone), make([]byte, 100))
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	reqs := []cas.Request{{Digest: sum(gone), Dst: make([]byte, 100)}, {Digest: sum(kept), Dst: make([]byte, 100)}}
	require.NoError(t, s.GetBatch(t.Context(), reqs))
	require.ErrorIs(t, reqs[0].Err, kvferry.ErrNotFound)
	require.NoError(t, reqs[1].Err)
	_, err = commit(t.Context(), s, 3, nil, gone)
	require.NoError(t, err)
	before := s.State().FarReads
	wantBlob(t, s, gone)
	wantBlob(t, s, kept)
	require.Equal(t, before, s.State().FarReads, "near has them all")
}

// TestConformanceOverCache runs the suite with a near store that keeps what it
// has through collections.
func TestConformanceOverCache(t *testing.T) {
	t.Parallel()
	castest.Run(t, castest.Config{
		Open: func(t testing.TB, s castest.Setup) cas.Store {
			near := &probe{Store: openMem(t, castest.Setup{Now: s.Now}, ""), evicts: true}
			return openWith(t, tiered.Options{Near: near, Far: openMem(t, s, ""), Clock: s.Now})
		},
		Abilities: abilities(castest.Quota),
	})
}

package disk

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pipelinecache"
)

func budgeted(t *testing.T, bytes int64) *Store {
	t.Helper()
	s, err := Open(t.TempDir(), Options{BudgetBytes: bytes})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// listed returns how many files there are, and their bytes.
func listed(t *testing.T, s *Store) (n int, bytes int64) {
	t.Helper()
	all, err := s.List(t.Context())
	require.NoError(t, err)
	for _, e := range all {
		bytes += e.Bytes
	}
	return len(all), bytes
}

// TestHitOfWhatWasReplaced notes hits of files that a put replaced since they
// were read: the budget counts what is there.
func TestHitOfWhatWasReplaced(t *testing.T) {
	t.Parallel()
	s := budgeted(t, 10_000)
	for i := range byte(7) {
		f := pipelinecache.Fingerprint{i + 1}
		require.NoError(t, s.Put(t.Context(), f, make([]byte, 100)))
		require.NoError(t, s.Put(t.Context(), f, make([]byte, 4000)))
		s.noteHit(f)
	}
	_, bytes := listed(t, s)
	require.LessOrEqual(t, bytes, int64(10_000))
	require.EqualValues(t, bytes, s.Metrics().CachedBytes)
}

// TestHitOfWhatWasEvicted notes a hit of a file that is gone since it was read.
func TestHitOfWhatWasEvicted(t *testing.T) {
	t.Parallel()
	s := budgeted(t, 3000)
	for i := range byte(4) {
		require.NoError(t, s.Put(t.Context(), pipelinecache.Fingerprint{i + 1}, make([]byte, 900)))
	}
	s.noteHit(pipelinecache.Fingerprint{1})
	n, _ := listed(t, s)
	require.EqualValues(t, n, s.Metrics().Entries)
}

// TestZeroFingerprintIsOneLikeOthers keeps the budget beside it.
func TestZeroFingerprintIsOneLikeOthers(t *testing.T) {
	t.Parallel()
	s := budgeted(t, 3000)
	for i := range byte(10) {
		require.NoError(t, s.Put(t.Context(), pipelinecache.Fingerprint{i}, make([]byte, 900)))
		require.NoError(t, s.Put(t.Context(), pipelinecache.Fingerprint{}, make([]byte, 900)))
	}
	_, bytes := listed(t, s)
	require.LessOrEqual(t, bytes, int64(3000))
}

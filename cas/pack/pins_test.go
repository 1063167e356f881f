package pack

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
)

// TestDamagedSessionFileStillHolds damages the head of the file by which a
// living process tells others what its session holds.
func TestDamagedSessionFileStillHolds(t *testing.T) {
	t.Parallel()
	r := buildRuin(t, true)
	a, err := Open("ruin", ruinOptions(r.disk.Process()))
	require.NoError(t, err)
	sess, err := a.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	b := []byte("held by a session alone")
	_, err = sess.Put(t.Context(), faultSum(b), b)
	require.NoError(t, err)
	require.NoError(t, sess.Flush(t.Context()))
	flipBits(t, r.disk.Process(), files(r.disk, "streams/*.*")[0], 3)

	other, err := Open("ruin", ruinOptions(r.disk.Process()))
	require.NoError(t, err)
	_, err = other.Collect(t.Context(), r.collect())
	require.NoError(t, err)
	require.NoError(t, other.Close())

	r.refs[faultSum(b)] = nil
	require.NoError(t, sess.Commit(t.Context(), cas.Entry{Root: faultSum(b), Format: cas.FormatNative, Created: ruinTime}))
	n, err := a.Get(t.Context(), faultSum(b), make([]byte, 100))
	require.NoError(t, err)
	require.Len(t, b, n)
	require.NoError(t, a.Close())
}

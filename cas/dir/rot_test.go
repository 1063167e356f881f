package dir_test

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/digest"
)

// rot flips one bit of the stored bytes of d, in their middle.
func rot(t *testing.T, root string, d digest.Digest) {
	t.Helper()
	b, err := os.ReadFile(blobFile(root, d))
	require.NoError(t, err)
	b[32+(len(b)-32)/2] ^= 4
	require.NoError(t, os.WriteFile(blobFile(root, d), b, 0o644))
}

// TestPutOverRottenBlobs: a capture of content that is in the store, but
// rotted there, can be restored.
func TestPutOverRottenBlobs(t *testing.T) {
	t.Parallel()
	for a := digest.BLAKE3; a.Valid(); a++ {
		for name, p := range map[string][]byte{
			"noise": noise(1, 90000), "text": append(make([]byte, 5000), noise(2, 300)...), "small": noise(3, 40),
		} {
			t.Run(a.String()+"/"+name, func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				s := open(t, root, dir.Options{})
				_, err := commit(t.Context(), s, a, nil, p)
				require.NoError(t, err)
				d := sum(a, p)
				rot(t, root, d)
				sess := begin(t, s)
				has, err := sess.Has(t.Context(), d)
				require.NoError(t, err)
				require.True(t, has, "the content is not read")
				r, err := sess.Put(t.Context(), d, p)
				require.NoError(t, err)
				require.True(t, r.New)
				r, err = sess.Put(t.Context(), d, p)
				require.NoError(t, err)
				require.False(t, r.New)
				require.NoError(t, sess.Commit(t.Context(), entryOf(d)))
				wantWhole(t, open(t, root, dir.Options{ReadOnly: true}))
				st, err := s.Stats(t.Context())
				require.NoError(t, err)
				require.EqualValues(t, 1, st.Quarantined)
			})
		}
	}
}

// TestPutOfOtherBytes: what lies in the store is not replaced by bytes that
// have another digest.
func TestPutOfOtherBytes(t *testing.T) {
	t.Parallel()
	for _, a := range []digest.Algorithm{digest.BLAKE3, digest.SHA256} {
		s := open(t, t.TempDir(), dir.Options{})
		p := noise(1, 1000)
		_, err := commit(t.Context(), s, a, nil, p)
		require.NoError(t, err)
		_, err = begin(t, s).Put(t.Context(), sum(a, p), noise(2, 1000))
		require.ErrorIs(t, err, kvferry.ErrInvalid)
		wantWhole(t, s)
	}
}

// TestQuarantineLooksAgain: a blob that was stored anew since its damage was
// seen stays, also for the session of another store that holds it.
func TestQuarantineLooksAgain(t *testing.T) {
	t.Parallel()
	for a := digest.BLAKE3; a.Valid(); a++ {
		root := t.TempDir()
		one, two := open(t, root, dir.Options{}), open(t, root, dir.Options{})
		p := noise(1, 300000)
		d := sum(a, p)
		_, err := commit(t.Context(), one, a, nil, p)
		require.NoError(t, err)
		rot(t, root, d)
		key := digest.DeriveKey([]byte("test"))
		r, err := cas.NewReader(one, &key)
		require.NoError(t, err)
		_, err = r.KeepDamaged().Get(t.Context(), d, make([]byte, len(p)))
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
		_, err = commit(t.Context(), two, a, nil, p)
		require.NoError(t, err)
		sess := begin(t, two)
		put(t, sess, a, p)

		require.NoError(t, one.Quarantine(t.Context(), d), "too late")
		require.FileExists(t, blobFile(root, d))
		require.NoError(t, sess.Commit(t.Context(), entryOf(d)))
		wantWhole(t, one)
		rot(t, root, d)
		require.NoError(t, one.Quarantine(t.Context(), d))
		require.NoFileExists(t, blobFile(root, d))
		require.ErrorIs(t, one.Quarantine(t.Context(), d), kvferry.ErrNotFound)
	}
}

// TestCommitMissesBlobs: a session of another store does not learn that a blob
// it found was set aside. Its commit is refused, unless the blob is there again.
func TestCommitMissesBlobs(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	one, two := open(t, root, dir.Options{}), open(t, root, dir.Options{})
	p := noise(1, 1000)
	d := sum(digest.BLAKE3, p)
	_, err := commit(t.Context(), one, digest.BLAKE3, nil, p)
	require.NoError(t, err)
	rot(t, root, d)
	attempt := func(again bool) error {
		sess := begin(t, two)
		has, err := sess.Has(t.Context(), d)
		require.NoError(t, err)
		require.True(t, has)
		root := put(t, sess, digest.BLAKE3, noise(2, 100))
		require.NoError(t, one.Quarantine(t.Context(), d))
		if again {
			_, err = commit(t.Context(), one, digest.BLAKE3, nil, p)
			require.NoError(t, err)
		}
		return errors.Join(sess.Commit(t.Context(), entryOf(root)), sess.Abort(t.Context()))
	}
	require.ErrorIs(t, attempt(false), kvferry.ErrCorrupt)
	_, err = commit(t.Context(), one, digest.BLAKE3, nil, p)
	require.NoError(t, err)
	rot(t, root, d)
	require.NoError(t, attempt(true))
	wantWhole(t, two)
}

// TestStoredAnewByOthers: a blob that was set aside counts again for a session
// once another one of the same store put it.
func TestStoredAnewByOthers(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, dir.Options{})
	p := noise(1, 1000)
	_, err := commit(t.Context(), s, digest.BLAKE3, nil, p)
	require.NoError(t, err)
	d := sum(digest.BLAKE3, p)
	sess := begin(t, s)
	has, err := sess.Has(t.Context(), d)
	require.NoError(t, err)
	require.True(t, has)
	rot(t, root, d)
	r, err := cas.NewReader(s, nil)
	require.NoError(t, err)
	_, err = r.Get(t.Context(), d, make([]byte, len(p)))
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	put(t, begin(t, s), digest.BLAKE3, p) // and is not flushed
	require.NoError(t, sess.Commit(t.Context(), entryOf(d)))
	wantWhole(t, open(t, root, dir.Options{ReadOnly: true}))
}

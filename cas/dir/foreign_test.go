package dir_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/digest"
)

// TestForeignStoresKeepTheirManifests: what the original captured stays with
// its pages though nothing refers to it, unless that is asked for.
func TestForeignStoresKeepTheirManifests(t *testing.T) {
	t.Parallel()
	for _, archive := range []string{"pf-bf16-bench", "pf-foreign-frames", "pf-sequences", "pf-forks"} {
		root := extract(t, "testdata/"+archive+".tar.gz")
		s := open(t, root, dir.Options{})
		before := count(t, s)
		sess := begin(t, s)
		loose := put(t, sess, digest.SHA256, []byte("{ not a manifest"))
		require.NoError(t, sess.Flush(t.Context()))
		require.NoError(t, s.Close())
		s = open(t, root, dir.Options{}) // by now it is marked as foreign
		require.EqualValues(t, 1, collect(t, s, cas.CollectOptions{Now: later()}).Deleted)
		require.Equal(t, before, count(t, s))
		_, err := s.Get(t.Context(), loose, nil)
		require.ErrorIs(t, err, kvferry.ErrNotFound)
		require.NoError(t, s.Close())

		s = open(t, root, dir.Options{DropUnlisted: true})
		require.Zero(t, collect(t, s, cas.CollectOptions{}).Deleted, "files of the last hour")
		require.EqualValues(t, before, collect(t, s, cas.CollectOptions{Now: later()}).Deleted)
	}
}

// TestForeignCapturesInOurStore: what the original captures into a store that
// kvferry made stays as well.
func TestForeignCapturesInOurStore(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, dir.Options{})
	ours, err := commit(t.Context(), s, digest.SHA256, []string{"x"}, noise(1, 1000))
	require.NoError(t, err)
	require.NoError(t, os.CopyFS(root, os.DirFS(extract(t, "testdata/pf-forks.tar.gz"))))
	before := count(t, s)
	require.Zero(t, collect(t, s, cas.CollectOptions{Now: later()}).Deleted)
	require.Equal(t, before, count(t, s))
	require.NoError(t, s.Catalog().Drop(t.Context(), ours))
	require.EqualValues(t, 2, collect(t, s, cas.CollectOptions{Now: later()}).Deleted)
}

// TestDroppedManifestsGo: in a store that the original made, its captures stay
// and ours go when they were dropped, with what only they needed. A manifest
// that is committed again stays.
func TestDroppedManifestsGo(t *testing.T) {
	t.Parallel()
	root := extract(t, "testdata/pf-forks.tar.gz")
	s := open(t, root, dir.Options{})
	before := count(t, s)
	dropped := func() int {
		list, err := os.ReadDir(filepath.Join(root, "dropped"))
		require.NoError(t, err)
		return len(list)
	}
	page := noise(9, 5000)
	capture := func(version int) cas.Entry {
		sess := begin(t, s)
		d := put(t, sess, digest.SHA256, page)
		e := entryOf(put(t, sess, digest.SHA256, fmt.Appendf(nil, `{"layout":"x","pages":[{"k":"%v"}]}`, d)))
		text := fmt.Appendf(nil, `{"schema_version":1,"cache":{"manifest":"%v"},"version":%d}`, e.Root, version)
		e.Format, e.Image = cas.FormatProcessFork, put(t, sess, digest.SHA256, text)
		require.NoError(t, sess.Commit(t.Context(), e))
		return e
	}
	kept := cas.CollectOptions{Now: later(), References: func(_ context.Context, e cas.Entry, visit func(digest.Digest) error) error {
		return errors.Join(visit(e.Root), visit(e.Image), visit(sum(digest.SHA256, page)))
	}}
	gc := func(o cas.CollectOptions) int64 {
		r, err := s.Collect(t.Context(), o)
		require.NoError(t, err)
		return r.Deleted
	}
	e := capture(1)
	require.Zero(t, gc(kept))
	require.NoError(t, s.Catalog().Drop(t.Context(), e.Root))
	young := kept
	young.Now = time.Time{}
	require.Zero(t, gc(young), "files of the last hour")
	require.Equal(t, 1, dropped())
	require.Equal(t, e, capture(1))
	require.Zero(t, dropped(), "it is committed again")
	require.Zero(t, gc(kept))

	capture(2)
	require.EqualValues(t, 1, gc(kept), "the image that was replaced")
	require.Zero(t, dropped())
	require.NoError(t, s.Catalog().Drop(t.Context(), e.Root))
	require.EqualValues(t, 3, gc(kept))
	require.Zero(t, dropped())

	capture(3)
	policy := kept
	policy.KeepWithin = 1
	require.EqualValues(t, 3, gc(policy))
	require.Zero(t, dropped())
	require.Equal(t, before, count(t, s))
}

// TestRottenBlobsDoNotStopCollection: a SHA-256 blob that cannot be decoded
// might be a manifest, so it stays, and everything else is done.
func TestRottenBlobsDoNotStopCollection(t *testing.T) {
	t.Parallel()
	root := extract(t, "testdata/pf-forks.tar.gz")
	s := open(t, root, dir.Options{})
	before := count(t, s)
	sess := begin(t, s)
	garbage := put(t, sess, digest.SHA256, noise(1, 100))
	rotten := put(t, sess, digest.SHA256, noise(2, 100))
	require.NoError(t, sess.Flush(t.Context()))
	require.NoError(t, sess.Abort(t.Context()))
	require.NoError(t, os.WriteFile(blobFile(root, rotten), []byte("no zstd"), 0o644))
	require.EqualValues(t, 1, collect(t, s, cas.CollectOptions{Now: later()}).Deleted)
	require.NoFileExists(t, blobFile(root, garbage))
	require.FileExists(t, blobFile(root, rotten))
	require.Equal(t, before+1, count(t, s))
}

package dir_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/fault"
)

// imaged puts a page manifest without pages and an image of it, and returns
// the entry of both and the image's bytes.
func imaged(t *testing.T, sess cas.Session, n, version int) (cas.Entry, []byte) {
	t.Helper()
	e := entryOf(put(t, sess, digest.SHA256, fmt.Appendf(nil, `{"pages":[],"number":%d}`, n)))
	text := fmt.Appendf(nil, `{"schema_version":1,"cache":{"manifest":"%v"},"version":%d}`, e.Root, version)
	e.Format, e.Image = cas.FormatProcessFork, put(t, sess, digest.SHA256, text)
	return e, text
}

func commitImaged(t *testing.T, s cas.Store, n, version int) (cas.Entry, []byte, error) {
	t.Helper()
	sess := begin(t, s)
	e, text := imaged(t, sess, n, version)
	err := sess.Commit(t.Context(), e)
	require.NoError(t, sess.Abort(t.Context()))
	return e, text, err
}

func mustCommitImaged(t *testing.T, s cas.Store, n, version int) (cas.Entry, []byte) {
	t.Helper()
	e, text, err := commitImaged(t, s, n, version)
	require.NoError(t, err)
	return e, text
}

// markers lists images/.
func markers(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	list, err := os.ReadDir(filepath.Join(root, "images"))
	if !os.IsNotExist(err) {
		require.NoError(t, err)
	}
	for _, e := range list {
		text, err := os.ReadFile(filepath.Join(root, "images", e.Name()))
		require.NoError(t, err)
		out[e.Name()] = string(text)
	}
	return out
}

// wantMarkers requires that images/ has what the catalog says.
func wantMarkers(t *testing.T, root string, s *dir.Store) {
	t.Helper()
	entries, err := s.Catalog().Entries(t.Context())
	require.NoError(t, err)
	want := map[string]string{}
	for _, e := range entries {
		r, err := cas.NewReader(s, nil)
		require.NoError(t, err)
		text, err := r.ReadAll(t.Context(), e.Image, 1<<20)
		require.NoError(t, err)
		want[e.Image.Hex()+".json"] = string(text)
	}
	require.Equal(t, want, markers(t, root))
}

func TestMarkers(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, dir.Options{})
	first, text := mustCommitImaged(t, s, 1, 1)
	require.Equal(t, map[string]string{first.Image.Hex() + ".json": string(text)}, markers(t, root))
	again, _ := mustCommitImaged(t, s, 1, 1)
	require.Equal(t, first, again)
	second, _ := mustCommitImaged(t, s, 1, 2)
	require.NotEqual(t, first.Image, second.Image)
	other, _ := mustCommitImaged(t, s, 2, 1)
	require.Len(t, markers(t, root), 2)
	wantMarkers(t, root, s)
	require.Empty(t, problems(t, s))

	theirs := filepath.Join(root, "images", first.Image.Hex()+".json") // as if ProcessFork listed it
	require.NoError(t, os.WriteFile(theirs, text, 0o644))
	require.NoError(t, s.Catalog().Drop(t.Context(), first.Root))
	require.NoError(t, s.Catalog().Drop(t.Context(), other.Root))
	require.Equal(t, map[string]string{filepath.Base(theirs): string(text)}, markers(t, root), "what the catalog does not know is left alone")
	require.EqualValues(t, 2, collect(t, s, cas.CollectOptions{Now: later()}).Live, "and keeps what it refers to")
	require.NoError(t, os.Remove(theirs))
	require.Zero(t, collect(t, s, cas.CollectOptions{Now: later()}).Live)
}

// TestMissingMarkers: a crash may leave an entry without its marker.
func TestMissingMarkers(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, dir.Options{})
	e, _ := mustCommitImaged(t, s, 1, 1)
	marker := "images/" + e.Image.Hex() + ".json"
	require.NoError(t, os.Remove(filepath.Join(root, marker)))
	require.Equal(t, []string{marker}, keys(problems(t, s)))
	require.ErrorIs(t, problems(t, s)[marker], kvferry.ErrNotFound)
	require.Zero(t, collect(t, s, cas.CollectOptions{DryRun: true, Now: later()}).Deleted)
	require.Empty(t, markers(t, root))
	require.Zero(t, collect(t, s, cas.CollectOptions{Now: later()}).Deleted)
	wantMarkers(t, root, s)

	require.NoError(t, os.RemoveAll(filepath.Join(root, "images")))
	require.NoError(t, s.Catalog().Drop(t.Context(), e.Root), "there is no marker to remove")
	require.EqualValues(t, 2, collect(t, s, cas.CollectOptions{Now: later()}).Deleted)
}

func keys(m map[string]error) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

// TestNoImages: what no collection could read is not made a root.
func TestNoImages(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, dir.Options{})
	other := sum(digest.SHA256, []byte("{}")).String()
	for _, text := range []string{"", "{}", "[]", `{"cache":{"manifest":"sha256:x"}}`, `{"cache":{"manifest":"` + other + `"}}`,
		string(make([]byte, 2<<20))} {
		sess := begin(t, s)
		e, _ := imaged(t, sess, 1, 1)
		e.Image = put(t, sess, digest.SHA256, []byte(text))
		require.ErrorIs(t, sess.Commit(t.Context(), e), kvferry.ErrInvalid, "%.80q", text)
		require.NoError(t, sess.Abort(t.Context()))
	}
	require.Empty(t, wantWhole(t, s))
	require.Empty(t, markers(t, root))
}

// TestFaultsInMarkers fails every operation of replacing an image and of
// dropping its snapshot in turn.
func TestFaultsInMarkers(t *testing.T) {
	t.Parallel()
	fired := 0
	for k := 0; ; k++ {
		root := memoryDir(t)
		var inject fault.Injector
		s := open(t, root, dir.Options{Fault: inject.Hook})
		mustCommitImaged(t, s, 2, 1)
		want, _ := mustCommitImaged(t, s, 1, 1)
		inject.Reset()
		inject.Fail(k, syscall.EIO)
		fresh, err := replaceImage(t, s, want)
		if err == nil {
			want = fresh
		}
		entries, listed := s.Catalog().Entries(t.Context())
		if listed == nil {
			require.Contains(t, entries, want, "%v: %v", inject.Fired(), err)
		}
		if listed == nil && len(inject.Fired()) > 0 {
			wantMarkers(t, root, s) // undone, if it failed
		}
		if err == nil {
			err = s.Catalog().Drop(t.Context(), want.Root)
		}
		if len(inject.Fired()) == 0 {
			require.NoError(t, err)
			break
		}
		fired++
		if err != nil {
			require.ErrorIs(t, err, syscall.EIO, "%v", inject.Fired())
		}
		inject.Reset()
		collect(t, s, cas.CollectOptions{Now: later()})
		wantMarkers(t, root, s)
		require.NoError(t, s.Close())
	}
	require.Greater(t, fired, 60)
}

// replaceImage commits the snapshot old with another image.
func replaceImage(t *testing.T, s cas.Store, old cas.Entry) (cas.Entry, error) {
	t.Helper()
	sess, err := s.Begin(t.Context(), cas.SessionOptions{})
	if err != nil {
		return cas.Entry{}, err
	}
	defer func() { _ = sess.Abort(t.Context()) }() // its faults are harmless
	if _, err := sess.Has(t.Context(), old.Root); err != nil {
		return cas.Entry{}, err
	}
	text := fmt.Appendf(nil, `{"cache":{"manifest":"%v"}}`, old.Root)
	old.Image = sum(digest.SHA256, text)
	if _, err := sess.Put(t.Context(), old.Image, text); err != nil {
		return cas.Entry{}, err
	}
	return old, sess.Commit(t.Context(), old)
}

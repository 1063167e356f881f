package dir_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/digest"
)

// later is a time after which files that were written now are old.
func later() time.Time { return time.Now().Add(2 * time.Hour) }

func count(t *testing.T, s *dir.Store) int {
	t.Helper()
	st, err := s.Stats(t.Context())
	require.NoError(t, err)
	return int(st.Blobs)
}

// TestImagesAreRoots: what image markers refer to stays in any store, and one
// that cannot be read stops the collection.
func TestImagesAreRoots(t *testing.T) {
	t.Parallel()
	root := extract(t, "testdata/pf-images.tar.gz")
	s := open(t, root, dir.Options{DropUnlisted: true})
	r, err := cas.NewReader(s, nil)
	require.NoError(t, err)
	markers, err := filepath.Glob(filepath.Join(root, "images", "*.json"))
	require.NoError(t, err)
	require.Greater(t, len(markers), 2)
	all := collect(t, s, cas.CollectOptions{Now: later()})
	require.Positive(t, all.Live)
	for _, marker := range markers {
		text, err := os.ReadFile(marker)
		require.NoError(t, err)
		var image struct {
			Cache struct{ Manifest digest.Digest }
		}
		require.NoError(t, json.Unmarshal(text, &image))
		manifest, err := r.ReadAll(t.Context(), image.Cache.Manifest, 1<<20)
		require.NoError(t, err)
		var pages struct {
			Pages []struct{ K, V digest.Digest }
		}
		require.NoError(t, json.Unmarshal(manifest, &pages))
		for _, p := range pages.Pages {
			for _, d := range []digest.Digest{p.K, p.V} {
				_, err := r.ReadAll(t.Context(), d, 1<<20)
				require.NoError(t, err)
			}
		}
	}
	good, err := os.ReadFile(markers[0])
	require.NoError(t, err)
	for _, bad := range []string{"", "{}", "not JSON", `{"cache":{"manifest":"sha256:x"}}`, string(good[:len(good)/2]),
		strings.Replace(string(good), `"manifest":"sha256:`, `"manifest":"sha256:0123456789`, 1)} {
		require.NoError(t, os.WriteFile(markers[0], []byte(bad), 0o644))
		for _, dry := range []bool{true, false} {
			report, err := s.Collect(t.Context(), cas.CollectOptions{References: references(s), DryRun: dry, Now: later()})
			require.ErrorIs(t, err, kvferry.ErrCorrupt, "%.80q", bad)
			require.Zero(t, report.Deleted)
		}
		require.Len(t, problems(t, s), 1, "its name is not its hash")
	}
	require.NoError(t, os.Remove(markers[0]))
	require.NoError(t, os.Symlink("elsewhere", markers[0]))
	_, err = s.Collect(t.Context(), cas.CollectOptions{References: references(s)})
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	require.NoError(t, os.Remove(markers[0]))
	r2 := collect(t, s, cas.CollectOptions{Now: later()})
	require.Equal(t, all.Live, r2.Live+r2.Deleted)
	require.Positive(t, r2.Deleted, "what only that image needed")
}

// TestLeftovers: temporary files of sessions that ended go at once, of the
// original and of small files when they are old, foreign files never.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, dir.Options{})
	_, err := commit(t.Context(), s, digest.SHA256, nil, noise(1, 10))
	require.NoError(t, err)
	live := begin(t, s)
	put(t, live, digest.BLAKE3, noise(2, 10))
	hex := strings.Repeat("ab", 32)
	file := func(rel string) string {
		path := filepath.Join(root, rel)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte("12345"), 0o644))
		return path
	}
	ours := file("blobs/blake3/ab/.kvf-0123456789abcdef-1." + hex)
	theirs := file("blobs/sha256/ab/" + hex + ".tmp.123.4")
	small := file("names/.kvf-0123456789abcdef-2")
	session := file("sessions/0123456789abcdef")
	foreign := []string{
		file("README"), file("blobs/README"), file("blobs/sha256/ab/README"), file("blobs/sha256/ab/" + hex + ".zst.bak"),
		file("blobs/other/ab/" + hex), file("names/.hidden"), file("snapshots/notes.txt"), file("sessions/note"),
		file("images/README.json"), file("quarantine/mine"), file("blobs/blake3/ab/.kvf-0123456789abcdef-1.short"),
		file("blobs/blake3/cd/.kvf-x"),
	}
	kinds := problems(t, s)
	require.NoError(t, s.Check(t.Context(), func(p cas.Problem) { require.True(t, p.Leftover, p.Path) }))
	require.Contains(t, kinds, "blobs/blake3/ab/"+filepath.Base(ours))
	require.Contains(t, kinds, "blobs/sha256/ab/"+filepath.Base(theirs))
	for path, err := range kinds {
		require.ErrorIs(t, err, kvferry.ErrNotFound, path)
	}
	r := collect(t, s, cas.CollectOptions{DryRun: true})
	require.FileExists(t, ours)
	require.Equal(t, r, collect(t, s, cas.CollectOptions{}))
	require.EqualValues(t, 1, r.Deleted)
	require.EqualValues(t, 5, r.DeletedBytes)
	require.EqualValues(t, 1, r.Stale, "the session")
	require.NoFileExists(t, ours)
	require.NoFileExists(t, session)
	require.FileExists(t, theirs)
	require.FileExists(t, small)
	require.EqualValues(t, 2, collect(t, s, cas.CollectOptions{Now: later()}).Stale)
	require.NoFileExists(t, theirs)
	require.NoFileExists(t, small)
	for _, path := range foreign {
		require.FileExists(t, path)
	}
	require.NoError(t, live.Commit(t.Context(), entryOf(sum(digest.BLAKE3, noise(2, 10)))))
}

// TestCollectedSessionCannotCommit: a collector took a hung session for dead;
// that its own clock stands still does not save it.
func TestCollectedSessionCannotCommit(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	frozen := time.Now()
	hung := open(t, root, dir.Options{Clock: func() time.Time { return frozen }})
	s := open(t, root, dir.Options{Clock: func() time.Time { return frozen.Add(cas.DefaultLease + time.Minute) }})
	sess := begin(t, hung)
	flushed := put(t, sess, digest.BLAKE3, noise(1, 100))
	require.NoError(t, sess.Flush(t.Context()))
	put(t, sess, digest.BLAKE3, noise(2, 100))
	other := begin(t, hung)
	put(t, other, digest.BLAKE3, noise(3, 100))

	require.EqualValues(t, 3, collect(t, s, cas.CollectOptions{}).Deleted)
	require.ErrorIs(t, sess.Commit(t.Context(), entryOf(flushed)), kvferry.ErrExpired, "flushed, so only the lease tells")
	_, err := other.Put(t.Context(), sum(digest.BLAKE3, noise(4, 1)), noise(4, 1))
	require.ErrorIs(t, err, kvferry.ErrExpired)
	require.NoError(t, other.Abort(t.Context()))
	entries, err := s.Catalog().Entries(t.Context())
	require.NoError(t, err)
	require.Empty(t, entries)
	_, err = commit(t.Context(), hung, digest.BLAKE3, nil, noise(1, 100), noise(2, 100), noise(3, 100))
	require.NoError(t, err, "the next session finds nothing that is not there")
	wantWhole(t, s)
}

// TestAdoptedBlobs: a session that found a blob which another one wrote and
// then left keeps it, in this process and for collectors of others.
func TestAdoptedBlobs(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	one, two := open(t, root, dir.Options{}), open(t, root, dir.Options{})
	writer, finder := begin(t, one), begin(t, one)
	p := noise(1, 100)
	d := put(t, writer, digest.BLAKE3, p)
	has, err := finder.Has(t.Context(), d)
	require.NoError(t, err)
	require.True(t, has)
	require.NoError(t, writer.Abort(t.Context()))
	require.Zero(t, collect(t, two, cas.CollectOptions{}).Deleted)
	require.NoError(t, finder.Commit(t.Context(), entryOf(d)))
	buf := make([]byte, 100)
	_, err = two.Get(t.Context(), d, buf)
	require.NoError(t, err)
	require.Equal(t, p, buf)

	left := begin(t, one)
	gone := put(t, left, digest.BLAKE3, noise(2, 100))
	require.NoError(t, left.Flush(t.Context()))
	require.NoError(t, left.Abort(t.Context()))
	require.EqualValues(t, 1, collect(t, two, cas.CollectOptions{}).Deleted)
	has, err = one.Has(t.Context(), gone)
	require.NoError(t, err)
	require.False(t, has, "the other store's collector took it")
	r, err := begin(t, one).Put(t.Context(), gone, noise(2, 100))
	require.NoError(t, err)
	require.True(t, r.New)
}

// TestAbortLeavesNothing: what only an aborted session, or one that a closed
// store ended, wrote is gone, and what another one holds stays.
func TestAbortLeavesNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, dir.Options{})
	files := func() (n int) {
		for _, path := range tree(t, filepath.Join(root, "blobs")) {
			if strings.Contains(path, ".kvf-") {
				n++
			}
		}
		return n
	}
	writer, finder := begin(t, s), begin(t, s)
	for i := range 20 {
		d := put(t, writer, digest.BLAKE3, noise(uint64(i), 100))
		if i < 5 {
			has, err := finder.Has(t.Context(), d)
			require.NoError(t, err)
			require.True(t, has)
		}
	}
	require.Equal(t, 20, files())
	require.NoError(t, writer.Abort(t.Context()))
	require.Equal(t, 5, files())
	require.Equal(t, 5, count(t, s))
	has, err := s.Has(t.Context(), sum(digest.BLAKE3, noise(9, 100)))
	require.NoError(t, err)
	require.False(t, has)
	r, err := begin(t, s).Put(t.Context(), sum(digest.BLAKE3, noise(9, 100)), noise(9, 100))
	require.NoError(t, err)
	require.True(t, r.New)
	require.NoError(t, finder.Commit(t.Context(), entryOf(sum(digest.BLAKE3, noise(0, 100)))))
	require.Equal(t, 1, files())
	require.NoError(t, s.Close())
	require.Zero(t, files())
}

// TestCommitWhileCollecting commits a snapshot between marking and sweeping:
// it is found and marked.
func TestCommitWhileCollecting(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), dir.Options{})
	_, err := commit(t.Context(), s, digest.BLAKE3, []string{"first"}, noise(1, 10))
	require.NoError(t, err)
	_, err = commit(t.Context(), s, digest.BLAKE3, nil, noise(9, 10))
	require.NoError(t, err)
	refs := references(s)
	committed := false
	report, err := s.Collect(t.Context(), cas.CollectOptions{KeepLast: 1,
		References: func(ctx context.Context, e cas.Entry, visit func(digest.Digest) error) error {
			if !committed {
				committed = true
				if _, err := commit(ctx, s, digest.BLAKE3, nil, noise(1, 10), noise(3, 10)); err != nil {
					return err
				}
			}
			return refs(ctx, e, visit)
		}})
	require.NoError(t, err)
	require.True(t, committed)
	require.NotZero(t, report.Live)
	wantWhole(t, s)
}

// TestDamagedLeaseStopsCollection: what a live session needs must be known.
func TestDamagedLeaseStopsCollection(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, dir.Options{})
	sess := begin(t, s)
	put(t, sess, digest.BLAKE3, noise(1, 10))
	files, err := filepath.Glob(filepath.Join(root, "sessions", "*"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	good, err := os.ReadFile(files[0])
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(good, []byte("kvfses1\n")))
	bad := append([]byte(nil), good...)
	bad[len(bad)-10] ^= 1
	f, err := os.OpenFile(files[0], os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(bad, 0)
	require.NoError(t, err)
	_, err = s.Collect(t.Context(), cas.CollectOptions{References: references(s)})
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	_, err = f.WriteAt(good, 0)
	require.NoError(t, errors.Join(err, f.Close()))
	require.Zero(t, collect(t, s, cas.CollectOptions{}).Deleted)
	require.NoError(t, sess.Abort(t.Context()))
}

// TestCheck names each kind of damage.
func TestCheck(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, dir.Options{})
	p := noise(1, 100)
	first, err := commit(t.Context(), s, digest.BLAKE3, []string{"x", "y"}, p)
	require.NoError(t, err)
	require.Empty(t, problems(t, s))
	d := sum(digest.BLAKE3, p)
	rel := func(path string) string { r, _ := filepath.Rel(root, path); return r }

	require.NoError(t, os.Truncate(blobFile(root, d), 50))
	require.NoError(t, os.MkdirAll(filepath.Join(root, "blobs/blake3/00"), 0o755))
	wrong := filepath.Join(root, "blobs/blake3/00", d.Hex()+".kvf")
	require.NoError(t, os.WriteFile(wrong, nil, 0o644))
	require.NoError(t, os.Remove(filepath.Join(root, "snapshots", "blake3-"+first.Hex())))
	require.NoError(t, os.WriteFile(filepath.Join(root, "names", "z"), []byte("?"), 0o644))
	got := problems(t, s)
	require.Len(t, got, 5)
	require.NoError(t, s.Check(t.Context(), func(p cas.Problem) { require.False(t, p.Leftover, p.Path) }))
	require.ErrorIs(t, got[rel(blobFile(root, d))], kvferry.ErrCorrupt)
	require.ErrorIs(t, got[rel(wrong)], kvferry.ErrCorrupt)
	require.ErrorIs(t, got["names/x"], kvferry.ErrNotFound)
	require.ErrorIs(t, got["names/y"], kvferry.ErrNotFound)
	require.ErrorIs(t, got["names/z"], kvferry.ErrCorrupt)
	_, err = s.Catalog().Lookup(t.Context(), "x")
	require.ErrorIs(t, err, kvferry.ErrNotFound)
}

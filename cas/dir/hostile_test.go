package dir_test

import (
	"context"
	"errors"
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

// TestNoFileButAFile puts other things in the place of a blob: they are never
// read, are reported, and give way to a put.
func TestNoFileButAFile(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	p := noise(1, 100)
	d := sum(digest.SHA256, p)
	require.NoError(t, os.WriteFile(secret, []byte("\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00"), 0o600))
	for name, plant := range map[string]func(path string) error{
		"link":          func(path string) error { return os.Symlink(secret, path) },
		"dangling link": func(path string) error { return os.Symlink("nowhere", path) },
		"fifo":          func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory":     func(path string) error { return os.MkdirAll(filepath.Join(path, "sub"), 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			s := open(t, root, dir.Options{})
			path := blobFile(root, d)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, plant(path))
			_, err := s.Get(t.Context(), d, make([]byte, 100))
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			has, err := s.Has(t.Context(), d)
			require.NoError(t, err)
			require.False(t, has)
			found := problems(t, s)
			require.Len(t, found, 1)
			for _, err := range found {
				require.ErrorIs(t, err, kvferry.ErrCorrupt)
			}
			sess := begin(t, s)
			put(t, sess, digest.SHA256, p)
			require.NoError(t, sess.Commit(t.Context(), entryOf(d)))
			buf := make([]byte, 100)
			_, err = s.Get(t.Context(), d, buf)
			require.NoError(t, err)
			require.Equal(t, p, buf)
			require.Empty(t, problems(t, s))
			require.FileExists(t, secret)
		})
	}
}

// TestLinkedDirectories: a link in the place of a shard, the blobs, the
// snapshots or the names leads nowhere; the root itself may be one.
func TestLinkedDirectories(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	p := noise(1, 100)
	d := sum(digest.BLAKE3, p)
	for _, at := range []string{"blobs/blake3/" + d.Hex()[:2], "blobs/blake3", "blobs", "snapshots", "names"} {
		t.Run(at, func(t *testing.T) {
			root := t.TempDir()
			s := open(t, root, dir.Options{})
			_, err := commit(t.Context(), s, digest.BLAKE3, []string{"x"}, p)
			require.NoError(t, err)
			moved := filepath.Join(outside, "moved-"+filepath.Base(at))
			require.NoError(t, os.Rename(filepath.Join(root, at), moved))
			require.NoError(t, os.Symlink(moved, filepath.Join(root, at)))
			_, getErr := s.Get(t.Context(), d, make([]byte, 100))
			_, lookupErr := s.Catalog().Lookup(t.Context(), "x")
			require.Error(t, errors.Join(getErr, lookupErr))
			_, err = s.Collect(t.Context(), cas.CollectOptions{References: references(s), KeepWithin: 1})
			if at == "snapshots" || at == "names" {
				require.ErrorIs(t, err, kvferry.ErrCorrupt)
			}
			_, err = commit(t.Context(), s, digest.BLAKE3, []string{"y"}, p, noise(2, 10))
			require.Error(t, err)
			entries, err := os.ReadDir(moved)
			require.NoError(t, err)
			require.NotEmpty(t, entries, "nothing behind the link is touched")
		})
	}
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(t.TempDir(), link))
	s := open(t, link, dir.Options{})
	_, err := commit(t.Context(), s, digest.BLAKE3, nil, p)
	require.NoError(t, err)
}

// TestReadOnly: every write is refused, and nothing is created.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	w := open(t, root, dir.Options{})
	first, err := commit(t.Context(), w, digest.BLAKE3, []string{"x"}, noise(1, 100))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	before := tree(t, root)
	s := open(t, root, dir.Options{ReadOnly: true})
	wantWhole(t, s)
	cat := s.Catalog()
	for name, call := range map[string]func(context.Context) error{
		"Begin":      func(ctx context.Context) error { _, err := s.Begin(ctx, cas.SessionOptions{}); return err },
		"SetName":    func(ctx context.Context) error { return cat.SetName(ctx, "y", first) },
		"Remove":     func(ctx context.Context) error { _, err := cat.Remove(ctx, "x"); return err },
		"Drop":       func(ctx context.Context) error { return cat.Drop(ctx, first) },
		"Quarantine": func(ctx context.Context) error { return s.Quarantine(ctx, first) },
		"Collect": func(ctx context.Context) error {
			_, err := s.Collect(ctx, cas.CollectOptions{References: references(s)})
			return err
		},
	} {
		require.ErrorIs(t, call(t.Context()), kvferry.ErrReadOnly, name)
	}
	require.EqualValues(t, 2, collect(t, s, cas.CollectOptions{DryRun: true}).Live)
	require.Empty(t, problems(t, s))
	require.Equal(t, before, tree(t, root))
}

// TestRemoveUnreadableNames: a damaged name, and one of a newer version, can be
// removed, and names the file in its error. Another name of the snapshot may be
// the damaged one, so the snapshot stays.
func TestRemoveUnreadableNames(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, dir.Options{})
	first, err := commit(t.Context(), s, digest.BLAKE3, []string{"x", "y"}, noise(1, 100))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(root, "names", "x"), []byte("kvferry name 1\n?"), 0o644))
	_, err = s.Catalog().Lookup(t.Context(), "x")
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	require.ErrorContains(t, err, "names/x")
	r, err := s.Catalog().Remove(t.Context(), "y")
	require.NoError(t, err)
	require.False(t, r.Dropped)
	require.Equal(t, first, r.Entry.Root)
	r, err = s.Catalog().Remove(t.Context(), "x")
	require.NoError(t, err)
	require.Equal(t, cas.Removed{}, r)
	require.Len(t, wantWhole(t, s), 1)
	require.Empty(t, problems(t, s))
}

// TestUnreadableFiles: what cannot be read is told, beside everything else.
func TestUnreadableFiles(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	var inject fault.Injector
	s := open(t, root, dir.Options{Fault: inject.Hook})
	first, err := commit(t.Context(), s, digest.BLAKE3, []string{"x"}, noise(1, 100))
	require.NoError(t, err)
	second, err := commit(t.Context(), s, digest.BLAKE3, []string{"y"}, noise(2, 100))
	require.NoError(t, err)
	require.NoError(t, syscall.Mkfifo(filepath.Join(root, "sessions", "0123456789abcdef"), 0o600))
	require.NoError(t, os.Truncate(blobFile(root, sum(digest.BLAKE3, noise(2, 100))), 50))
	newer := "kvferry snapshot 2\nroot " + second.String() + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(root, "snapshots", "blake3-"+second.Hex()),
		[]byte(newer+"sum "+sum(digest.BLAKE3, []byte(newer)).Hex()+"\n"), 0o644))

	st, err := s.Stats(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 4, st.Blobs)
	require.Zero(t, st.Sessions)
	entries, err := s.Catalog().Entries(t.Context())
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
	require.ErrorContains(t, err, "snapshots/blake3-"+second.Hex())
	require.Len(t, entries, 1)
	require.Equal(t, first, entries[0].Root)

	blob := "blobs/blake3/" + first.Hex()[:2] + "/" + first.Hex() + ".kvf"
	inject.Reset()
	inject.Only(func(_, path string) bool { return path == blob })
	inject.Fail(0, syscall.EACCES)
	found := problems(t, s)
	require.Len(t, found, 4)
	require.ErrorIs(t, found[blob], syscall.EACCES)
	require.ErrorIs(t, found["sessions/0123456789abcdef"], kvferry.ErrCorrupt)
	require.ErrorIs(t, found["snapshots/blake3-"+second.Hex()], kvferry.ErrUnsupported)
	require.NoError(t, s.Catalog().Drop(t.Context(), second))
	require.EqualValues(t, 2, collect(t, s, cas.CollectOptions{}).Deleted, "nor does a fifo stop a collection")
}

// TestOpening of what is no store, a newer one, or a damaged one.
func TestOpening(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, o := range []dir.Options{{ReadOnly: true}, {MustExist: true}} {
		_, err := dir.Open(filepath.Join(root, "missing"), o)
		require.ErrorIs(t, err, kvferry.ErrNotFound)
		_, err = dir.Open(root, o)
		require.ErrorIs(t, err, kvferry.ErrNotFound, "an empty directory is no store")
	}
	require.NoDirExists(t, filepath.Join(root, "missing"))
	_, err := dir.Open(root, dir.Options{QuotaBytes: -1})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.NoError(t, open(t, filepath.Join(root, "a", "b"), dir.Options{}).Close())
	file := filepath.Join(root, "a", "b", "kvferry.json")
	good, err := os.ReadFile(file)
	require.NoError(t, err)
	for text, want := range map[string]error{
		"":                              kvferry.ErrCorrupt,
		"{}":                            kvferry.ErrCorrupt,
		"not JSON":                      kvferry.ErrCorrupt,
		`{"format":"else","version":9}`: kvferry.ErrCorrupt,
		`{"format":"kvferry-dir","version":2,"new":true}`: kvferry.ErrUnsupported,
		string(good) + " ": kvferry.ErrCorrupt,
	} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		for _, o := range []dir.Options{{}, {ReadOnly: true}, {MustExist: true}} {
			_, err := dir.Open(filepath.Dir(file), o)
			require.ErrorIs(t, err, want, "%q", text)
		}
	}
}

// TestEveryBitOfTheCatalog flips each bit of each small file: the damage is
// reported, never taken for something else.
func TestEveryBitOfTheCatalog(t *testing.T) {
	t.Parallel()
	root := memoryDir(t)
	s := open(t, root, dir.Options{})
	first, err := commit(t.Context(), s, digest.BLAKE3, []string{"x"}, noise(1, 10))
	require.NoError(t, err)
	want, err := s.Catalog().Entries(t.Context())
	require.NoError(t, err)
	for file, read := range map[string]func() error{
		"snapshots/blake3-" + first.Hex(): func() error { _, err := s.Catalog().Entries(t.Context()); return err },
		"names/x":                         func() error { _, err := s.Catalog().Lookup(t.Context(), "x"); return err },
		"kvferry.json":                    func() error { _, err := dir.Open(root, dir.Options{ReadOnly: true}); return err },
	} {
		path := filepath.Join(root, file)
		good, err := os.ReadFile(path)
		require.NoError(t, err)
		for bit := range 8 * len(good) {
			bad := append([]byte(nil), good...)
			bad[bit/8] ^= 1 << (bit % 8)
			require.NoError(t, os.WriteFile(path, bad, 0o644))
			err := read()
			require.True(t, errors.Is(err, kvferry.ErrCorrupt) || errors.Is(err, kvferry.ErrUnsupported), "%s bit %d: %v", file, bit, err)
		}
		if file != "kvferry.json" {
			require.Len(t, problems(t, s), 1)
			_, err = s.Collect(t.Context(), cas.CollectOptions{References: references(s), KeepWithin: 1})
			require.Error(t, err, "a collection does not go on without what it cannot read")
		}
		if file == "names/x" {
			require.EqualValues(t, 2, collect(t, s, cas.CollectOptions{}).Live, "without a policy names do not matter")
		}
		require.NoError(t, os.WriteFile(path, good, 0o644))
	}
	got, err := s.Catalog().Entries(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.EqualValues(t, 2, collect(t, s, cas.CollectOptions{}).Live)
}

// TestEveryBitOfABlob flips each bit of stored files: no wrong byte is read.
func TestEveryBitOfABlob(t *testing.T) {
	t.Parallel()
	for a := digest.BLAKE3; a.Valid(); a++ {
		for _, p := range [][]byte{noise(1, 60), make([]byte, 60), append(make([]byte, 300), noise(1, 20)...)} {
			root := memoryDir(t)
			s := open(t, root, dir.Options{})
			_, err := commit(t.Context(), s, a, nil, p)
			require.NoError(t, err)
			ro := open(t, root, dir.Options{ReadOnly: true})
			key := digest.DeriveKey([]byte("test"))
			r, err := cas.NewReader(ro, &key)
			require.NoError(t, err)
			path := blobFile(root, sum(a, p))
			good, err := os.ReadFile(path)
			require.NoError(t, err)
			buf := make([]byte, len(p))
			for bit := range 8 * len(good) {
				bad := append([]byte(nil), good...)
				bad[bit/8] ^= 1 << (bit % 8)
				require.NoError(t, os.WriteFile(path, bad, 0o644))
				if n, err := r.Get(t.Context(), sum(a, p), buf); err == nil {
					require.Equal(t, p, buf[:n])
				}
			}
		}
	}
}

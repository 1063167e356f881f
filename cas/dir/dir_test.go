package dir_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/castest"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/digest"
)

func TestMain(m *testing.M) {
	if root := os.Getenv(childRoot); root != "" {
		child(root, os.Getenv(childJob))
		return
	}
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	castest.Run(t, castest.Config{
		Open: func(t testing.TB, s castest.Setup) cas.Store {
			return open(t, s.Dir, dir.Options{QuotaBytes: s.QuotaBytes, Clock: s.Now})
		},
		Abilities: []castest.Ability{castest.Quota, castest.Clock, castest.Persistent, castest.Shared,
			castest.Enumerates, castest.Collects, castest.Checks, castest.Quarantines, castest.Describes},
	})
}

func open(t testing.TB, root string, o dir.Options) *dir.Store {
	t.Helper()
	s, err := dir.Open(root, o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() }) // the test may have closed it
	return s
}

func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

func sum(a digest.Algorithm, p []byte) digest.Digest {
	key := digest.DeriveKey([]byte("test"))
	h, err := digest.NewHasher(a, &key)
	if err != nil {
		panic(err)
	}
	return h.Sum(p)
}

func begin(t testing.TB, s cas.Store) cas.Session {
	t.Helper()
	sess, err := s.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	return sess
}

func put(t testing.TB, sess cas.Session, a digest.Algorithm, p []byte) digest.Digest {
	t.Helper()
	d := sum(a, p)
	_, err := sess.Put(t.Context(), d, p)
	require.NoError(t, err)
	return d
}

func entryOf(root digest.Digest, names ...string) cas.Entry {
	return cas.Entry{Root: root, Format: cas.FormatNative, Created: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Names: names}
}

// commit stores the parts and a root that lists their digests in 33 bytes
// each, and commits it.
func commit(ctx context.Context, s cas.Store, a digest.Algorithm, names []string, parts ...[]byte) (digest.Digest, error) {
	sess, err := s.Begin(ctx, cas.SessionOptions{})
	if err != nil {
		return digest.Digest{}, err
	}
	defer func() { _ = sess.Abort(ctx) }() // nothing is left to do after a commit
	list := []byte{}
	for _, p := range parts {
		d := sum(a, p)
		if _, err := sess.Put(ctx, d, p); err != nil {
			return digest.Digest{}, err
		}
		sum := d.Sum()
		list = append(append(list, byte(a)), sum[:]...)
	}
	root := sum(a, list)
	if _, err := sess.Put(ctx, root, list); err != nil {
		return digest.Digest{}, err
	}
	return root, sess.Commit(ctx, entryOf(root, names...))
}

// references reads the roots that commit wrote.
func references(s cas.Store) cas.References {
	return func(ctx context.Context, e cas.Entry, visit func(digest.Digest) error) error {
		key := digest.DeriveKey([]byte("test"))
		r, err := cas.NewReader(s, &key)
		if err != nil {
			return err
		}
		list, err := r.ReadAll(ctx, e.Root, 1<<20)
		if err != nil {
			return err
		}
		for ; len(list)%33 == 0 && len(list) > 0; list = list[33:] { // else it is a blob without references
			if err := visit(digest.New(digest.Algorithm(list[0]), [32]byte(list[1:33]))); err != nil {
				return err
			}
		}
		if e.Image.Valid() {
			if err := visit(e.Image); err != nil {
				return err
			}
		}
		return visit(e.Root)
	}
}

// wantWhole requires that everything that the catalog lists can be read.
func wantWhole(t testing.TB, s cas.Store) []cas.Entry {
	t.Helper()
	key := digest.DeriveKey([]byte("test"))
	r, err := cas.NewReader(s, &key)
	require.NoError(t, err)
	entries, err := s.Catalog().Entries(t.Context())
	require.NoError(t, err)
	for _, e := range entries {
		require.NoError(t, references(s)(t.Context(), e, func(d digest.Digest) error {
			_, err := r.ReadAll(t.Context(), d, 1<<20)
			return err
		}), "snapshot %v", e.Root)
	}
	return entries
}

func collect(t testing.TB, s *dir.Store, o cas.CollectOptions) cas.CollectReport {
	t.Helper()
	o.References = references(s)
	r, err := s.Collect(t.Context(), o)
	require.NoError(t, err)
	return r
}

func problems(t testing.TB, s *dir.Store) map[string]error {
	t.Helper()
	out := map[string]error{}
	require.NoError(t, s.Check(t.Context(), func(p cas.Problem) { out[p.Path] = p.Err }))
	return out
}

// blobFile is where a blob lies, by the layout that is drawn in the package
// comment.
func blobFile(root string, d digest.Digest) string {
	suffix := ".kvf"
	if d.Algorithm() == digest.SHA256 {
		suffix = ".zst"
	}
	return filepath.Join(root, "blobs", d.Algorithm().String(), d.Hex()[:2], d.Hex()+suffix)
}

// tree lists every file below root.
func tree(t testing.TB, root string) []string {
	t.Helper()
	var out []string
	require.NoError(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		out = append(out, rel)
		return err
	}))
	return out
}

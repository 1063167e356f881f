package pack

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/digest"
)

// goldenStore says what is in a store that some version wrote.
type goldenStore struct {
	Snapshots   []goldenSnapshot `json:"snapshots"`
	Quarantined int64            `json:"quarantined"`
}

type goldenSnapshot struct {
	Root    digest.Digest   `json:"root"`
	Format  cas.Format      `json:"format"`
	Created time.Time       `json:"created"`
	Names   []string        `json:"names"`
	Pages   int64           `json:"pages"`
	Blobs   []digest.Digest `json:"blobs"`
}

// TestVersions opens a store of every version that there ever was, reads
// everything in it, and goes on with it. Each was written by the build that
// brought the version, and is never written anew.
func TestVersions(t *testing.T) {
	t.Parallel()
	all, err := filepath.Glob("testdata/v*")
	require.NoError(t, err)
	require.Len(t, all, markerVersion, "a store of every version: KVFERRY_GOLDEN=1 go test -run TestGolden writes that of this one")
	for _, dir := range all {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join(dir, "content.json")) //nolint:gosec // of the test
			require.NoError(t, err)
			var want goldenStore
			require.NoError(t, json.Unmarshal(text, &want))
			require.NotEmpty(t, want.Snapshots)
			root := t.TempDir()
			goldenUnpack(t, filepath.Join(dir, "store.tar.gz"), root)
			for _, o := range []Options{{ReadOnly: true}, {MustExist: true}, {Repair: true, Buffered: true}, {ReadOnly: true}} {
				s, err := Open(root, o)
				require.NoError(t, err)
				want.wholeIn(t, s)
				if !o.ReadOnly {
					want.goesOn(t, s)
					want.wholeIn(t, s)
				}
				require.NoError(t, s.Close())
			}
		})
	}
}

func (g goldenStore) wholeIn(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	entries, err := s.Catalog().Entries(ctx)
	require.NoError(t, err)
	entries = slices.DeleteFunc(entries, func(e cas.Entry) bool { return e.Root == faultRoot("golden") })
	require.Len(t, entries, len(g.Snapshots))
	buf := make([]byte, 1<<20)
	for i, want := range g.Snapshots {
		require.Equal(t, cas.Entry{Root: want.Root, Format: want.Format, Created: want.Created, Names: want.Names, Pages: want.Pages}, entries[i])
		for _, d := range want.Blobs {
			n, err := s.Get(ctx, d, buf)
			require.NoError(t, err)
			require.Equal(t, d, faultSum(buf[:n]))
		}
	}
	st, err := s.Stats(ctx)
	require.NoError(t, err)
	require.LessOrEqual(t, st.Quarantined, g.Quarantined)
	report := func(p cas.Problem) { require.True(t, p.Leftover, "%+v", p) }
	require.NoError(t, s.Check(ctx, report))
	require.NoError(t, s.Scrub(ctx, cas.ScrubOptions{Report: report}))
}

// goesOn writes to the store, collects, and replaces its log.
func (g goldenStore) goesOn(t *testing.T, s *Store) {
	t.Helper()
	w := newFaultWorld(t)
	for _, x := range g.Snapshots {
		w.refs[x.Root] = x.Blobs
	}
	w.capture(t.Context(), s, "golden", 5, nil, "golden")
	w.collect(t.Context(), s)
	require.NoError(t, s.checkpoint(t.Context()))
	require.Empty(t, w.errs)
}

// TestGolden writes the store of this version, once.
func TestGolden(t *testing.T) {
	if os.Getenv("KVFERRY_GOLDEN") == "" {
		t.Skip("KVFERRY_GOLDEN=1 writes a store for a new version; those of older ones stay as they are")
	}
	dir := filepath.Join("testdata", "v1")
	require.NoError(t, os.MkdirAll(dir, 0o750))
	root := t.TempDir()
	w := newFaultWorld(t)
	o := hostileOptions(w)
	o.CacheBytes = 0
	s, err := Open(root, o)
	require.NoError(t, err)
	w.s = s
	ctx := t.Context()
	w.capture(ctx, s, "first", 6, nil, "one", "uno")
	w.capture(ctx, s, "gone", 4, nil, "gone")
	w.quarantineOne(ctx, root, "gone", 2)
	require.NoError(t, s.checkpoint(ctx))
	w.clock.Turn(1e9)
	w.capture(ctx, s, "second", 5, w.digests("first", 2), "two")
	w.quarantineOne(ctx, root, "gone", 3)
	w.drop(ctx, s, faultRoot("gone"))
	cached, err := s.Begin(ctx, cas.SessionOptions{Class: cas.Cache})
	require.NoError(t, err)
	p, d := w.content("cached", 0)
	_, err = cached.Put(ctx, d, p)
	require.NoError(t, err)
	require.NoError(t, cached.Flush(ctx))
	require.NoError(t, cached.Abort(ctx))
	require.Empty(t, w.errs)

	st, err := s.Stats(ctx)
	require.NoError(t, err)
	g := goldenStore{Quarantined: st.Quarantined}
	require.EqualValues(t, 2, g.Quarantined)
	entries, err := s.Catalog().Entries(ctx)
	require.NoError(t, err)
	for _, e := range entries {
		g.Snapshots = append(g.Snapshots, goldenSnapshot{e.Root, e.Format, e.Created, e.Names, e.Pages, w.refs[e.Root]})
	}
	require.NoError(t, s.Close())
	text, err := json.MarshalIndent(g, "", "\t")
	require.NoError(t, err)
	goldenPack(t, root, filepath.Join(dir, "store.tar.gz"))
	hostileWrite(t, filepath.Join(dir, "content.json"), append(text, '\n'))
}

// quarantineOne damages a blob and sets it aside.
func (w *faultWorld) quarantineOne(ctx context.Context, root, kind string, i int) {
	_, d := w.content(kind, i)
	at, p, ok := w.s.st().find(d)
	require.True(w.t, ok)
	f, err := os.OpenFile(filepath.Join(root, packfile.Path(p.id)), os.O_RDWR, 0) //nolint:gosec // of the test
	require.NoError(w.t, err)
	_, err = f.WriteAt([]byte("damage"), at.Offset()+100)
	require.NoError(w.t, errors.Join(err, f.Close()))
	w.note(w.s.Quarantine(ctx, d))
}

func goldenPack(t *testing.T, root, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // of the test
	require.NoError(t, err)
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	require.NoError(t, err)
	w := tar.NewWriter(z)
	require.NoError(t, w.AddFS(os.DirFS(root)))
	require.NoError(t, errors.Join(w.Close(), z.Close(), f.Close()))
}

func goldenUnpack(t *testing.T, path, root string) {
	t.Helper()
	f, err := os.Open(path) //nolint:gosec // of the test
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
		require.True(t, filepath.IsLocal(h.Name))
		at := filepath.Join(root, h.Name)
		if h.FileInfo().IsDir() {
			require.NoError(t, os.MkdirAll(at, 0o750))
			continue
		}
		b, err := io.ReadAll(io.LimitReader(r, 1<<26))
		require.NoError(t, err)
		hostileWrite(t, at, b)
	}
}

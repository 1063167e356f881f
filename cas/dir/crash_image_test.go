package dir

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// TestPowerFailureOfMarkers cuts the power before every operation of a commit
// with an image, of one that replaces the image, and of a drop. There is never
// a marker that the catalog does not know, and after a collection there is one
// for each image that it knows.
func TestPowerFailureOfMarkers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s, root := openForCrash(t, -1)
	d := newDevice(t, root)
	s.fs.fault = d.hook
	crashes := 0
	var want []cas.Entry // what was committed
	cut := func() {
		for _, happened := range []bool{false, true} {
			crashes++
			crashedMarkers(t, d.clone(happened, func([]byte) []byte { return nil }), want)
		}
	}
	d.at = func(int) { cut() }
	first := crashImage(ctx, t, s, 1)
	want = []cas.Entry{first}
	require.NoError(t, d.hook("committed", "")) // what it made durable counts from now on
	want = nil
	second := crashImage(ctx, t, s, 2)
	require.Equal(t, first.Root, second.Root)
	want = []cas.Entry{second}
	require.NoError(t, d.hook("replaced", ""))
	want = nil
	require.NoError(t, s.Catalog().Drop(ctx, second.Root))
	require.NoError(t, d.hook("dropped", ""))
	s.fs.fault = nil
	require.NoError(t, s.Close())
	require.Greater(t, crashes, 100)
}

// crashImage commits a page manifest with an image of it.
func crashImage(ctx context.Context, t *testing.T, s *Store, version int) cas.Entry {
	h, err := digest.NewHasher(digest.SHA256, nil)
	require.NoError(t, err)
	sess, err := s.Begin(ctx, cas.SessionOptions{})
	require.NoError(t, err)
	put := func(p []byte) digest.Digest {
		_, err := sess.Put(ctx, h.Sum(p), p)
		require.NoError(t, err)
		return h.Sum(p)
	}
	e := cas.Entry{Root: put([]byte(`{"pages":[]}`)), Format: cas.FormatProcessFork, Created: time.Unix(1, 0).UTC()}
	e.Image = put(fmt.Appendf(nil, `{"cache":{"manifest":"%v"},"version":%d}`, e.Root, version))
	require.NoError(t, sess.Commit(ctx, e))
	return e
}

// crashedMarkers opens what a power failure left.
func crashedMarkers(t *testing.T, root string, want []cas.Entry) {
	ctx := context.Background()
	s, err := Open(root, Options{})
	require.NoError(t, err)
	entries, err := s.Catalog().Entries(ctx)
	require.NoError(t, err)
	require.Subset(t, entries, want)
	found := crashMarkers(t, root)
	known := map[string]bool{}
	for _, e := range entries {
		known[markerName(e.Image)] = true
	}
	for name := range found {
		require.True(t, known[name], "%s is a root that the catalog does not know", name)
	}
	for _, e := range want {
		require.True(t, found[markerName(e.Image)], "the commit of %v had returned", e.Image)
	}
	_, err = s.Collect(ctx, cas.CollectOptions{References: func(_ context.Context, e cas.Entry, visit func(digest.Digest) error) error {
		for _, d := range []digest.Digest{e.Root, e.Image} {
			if err := visit(d); err != nil {
				return err
			}
		}
		return nil
	}})
	require.NoError(t, err)
	require.Equal(t, known, crashMarkers(t, root))
	require.NoError(t, s.Close())
	require.NoError(t, os.RemoveAll(root))
}

// crashMarkers lists the markers, whose bytes must be what their names say.
func crashMarkers(t *testing.T, root string) map[string]bool {
	h, err := digest.NewHasher(digest.SHA256, nil)
	require.NoError(t, err)
	out := map[string]bool{}
	list, err := filepath.Glob(filepath.Join(root, imagesDir, "*.json"))
	require.NoError(t, err)
	for _, path := range list {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, markerName(h.Sum(text)), filepath.Base(path))
		out[filepath.Base(path)] = true
	}
	return out
}

package capture_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

// The original's tests of its stores and images, under the original's names.

// stored puts a blob under its SHA-256 and makes it durable.
func stored(t testing.TB, s cas.Store, plain []byte) digest.Digest {
	t.Helper()
	h, err := digest.NewHasher(digest.SHA256, nil)
	require.NoError(t, err)
	x, err := s.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	d := h.Sum(plain)
	_, err = x.Put(t.Context(), d, plain)
	require.NoError(t, err)
	require.NoError(t, x.Flush(t.Context()))
	require.NoError(t, x.Abort(t.Context()))
	return d
}

// cas.rs
func TestFsRoundTripByteIdentical(t *testing.T) {
	t.Parallel()
	s, _ := newDir(t)
	fox := []byte("the quick brown fox")
	d := stored(t, s, fox)
	require.Equal(t, "sha256:9ecb36561341d18eb65484e833efea61edc74b84cf5e6ae1b81c63533e25fc8f", d.String())
	has, err := s.Has(t.Context(), d)
	require.NoError(t, err)
	require.True(t, has)
	require.Equal(t, fox, readBlob(t, s, d))
}

// cas.rs
func TestFsDedupesIdenticalWrites(t *testing.T) {
	t.Parallel()
	s, _ := newDir(t)
	first := stored(t, s, bytes.Repeat([]byte{0xAB}, 1024))
	size := physical(t, s)
	require.Equal(t, first, stored(t, s, bytes.Repeat([]byte{0xAB}, 1024)))
	require.Equal(t, size, physical(t, s))
}

// cas.rs
func TestFsDetectsCorruption(t *testing.T) {
	t.Parallel()
	s, path := newDir(t)
	d := stored(t, s, []byte("hello"))
	file := filepath.Join(path, "blobs", "sha256", d.Hex()[:2], d.Hex()+".zst")
	require.NoError(t, os.WriteFile(file, append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0}, "garbage"...), 0o600))
	r, err := cas.NewReader(s, nil)
	require.NoError(t, err)
	_, err = r.ReadAll(t.Context(), d, 100)
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
}

// cas.rs
func TestMemRoundTrip(t *testing.T) {
	t.Parallel()
	s := newMem(t)
	require.Equal(t, []byte("x"), readBlob(t, s, stored(t, s, []byte("x"))))
}

// cas.rs
func TestFsShardingUsesFirstTwoHexChars(t *testing.T) {
	t.Parallel()
	s, path := newDir(t)
	stored(t, s, []byte("sharding test"))
	require.FileExists(t, filepath.Join(path, "blobs/sha256/db/db3a7920e4c12cc52bd5a9260ed8bf86f3a20e759c149e90bb28d94080284203.zst"))
}

// images captures twice, with different versions of the agent. The pages
// differ: a snapshot has one image, the latest.
func images(t testing.TB, s cas.Store) (roots []digest.Digest) {
	t.Helper()
	for i, version := range []string{"1", "2"} {
		e := populated(t, 4, 2, 2, 4, pager.BF16, 2, uint64(i)<<40)
		rep, err := capture.Capture(t.Context(), e, s, capture.Options{
			Format: cas.FormatProcessFork, Image: &capture.Image{AgentKind: "test", AgentVersion: version},
			Now: time.Date(2026, 5, 5, 14, 11, i, 0, time.UTC),
		})
		require.NoError(t, err)
		roots = append(roots, rep.ImageRoot)
	}
	return roots
}

// store.rs: an image is a blob like any other, and reads as it was written.
func TestPutGetManifestRoundTrip(t *testing.T) {
	t.Parallel()
	s, path := newDir(t)
	for _, root := range images(t, s) {
		text := readBlob(t, s, root)
		require.Contains(t, string(text), `"media_type":"application/vnd.processfork.image.v1+json"`)
		marker, err := os.ReadFile(filepath.Join(path, "images", root.Hex()+".json"))
		require.NoError(t, err)
		require.Equal(t, text, marker)
	}
}

// store.rs
func TestIterManifestsListsWhatWasWritten(t *testing.T) {
	t.Parallel()
	s, path := newDir(t)
	roots := images(t, s)
	require.NotEqual(t, roots[0], roots[1])
	listed, err := filepath.Glob(filepath.Join(path, "images", "*.json"))
	require.NoError(t, err)
	require.ElementsMatch(t, listed, []string{
		filepath.Join(path, "images", roots[0].Hex()+".json"), filepath.Join(path, "images", roots[1].Hex()+".json"),
	})
}

package dir_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
)

// extract unpacks a store directory that the original wrote.
func extract(t testing.TB, archive string) string {
	t.Helper()
	root := t.TempDir()
	f, err := os.Open(archive)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return root
		}
		require.NoError(t, err)
		path := filepath.Join(root, filepath.FromSlash(h.Name))
		require.True(t, filepath.IsLocal(h.Name))
		if h.Typeflag == tar.TypeDir {
			require.NoError(t, os.MkdirAll(path, 0o755))
			continue
		}
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, b, 0o644))
	}
}

// TestFixturesOfTheOriginal reads every blob of every store, without creating
// anything in it, and stores them all anew with the same digests.
func TestFixturesOfTheOriginal(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/*.tar.gz")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(archives), 14)
	for _, archive := range archives {
		name := strings.TrimSuffix(filepath.Base(archive), ".tar.gz")
		if name == "pf-damaged" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := extract(t, archive)
			before := tree(t, root)
			s := open(t, root, dir.Options{ReadOnly: true})
			again := open(t, t.TempDir(), dir.Options{})
			sess := begin(t, again)
			r, err := cas.NewReader(s, nil)
			require.NoError(t, err)
			back, err := cas.NewReader(again, nil)
			require.NoError(t, err)
			blobs := 0
			for b, err := range s.Blobs(t.Context()) {
				require.NoError(t, err)
				plain, err := r.ReadAll(t.Context(), b.Digest, 16<<20)
				require.NoError(t, err)
				require.Equal(t, b.Digest, put(t, sess, digest.SHA256, plain))
				copied, err := back.ReadAll(t.Context(), b.Digest, 16<<20)
				require.NoError(t, err)
				require.True(t, bytes.Equal(plain, copied))
				blobs++
			}
			require.NoError(t, sess.Flush(t.Context()))
			require.Positive(t, blobs)
			require.Empty(t, problems(t, s))
			require.Equal(t, before, tree(t, root), "reading changes nothing")
		})
	}
}

// TestFixtureDamaged: every file that the original refuses is refused, and
// stored anew by the next put of the right bytes (PF-5).
func TestFixtureDamaged(t *testing.T) {
	t.Parallel()
	root := extract(t, "testdata/pf-damaged.tar.gz")
	text, err := os.ReadFile("testdata/pf-damaged.json")
	require.NoError(t, err)
	var index struct {
		Reads []struct {
			What, Cid string
		}
	}
	require.NoError(t, json.Unmarshal(text, &index))
	s := open(t, root, dir.Options{ReadOnly: true})
	r, err := cas.NewReader(s, nil)
	require.NoError(t, err)
	pages := regexp.MustCompile(`"sha256:[0-9a-f]{64}"`)
	refused := 0
	for _, read := range index.Reads {
		if !strings.HasPrefix(read.What, "page file: ") {
			continue
		}
		cid, err := digest.Parse(read.Cid)
		require.NoError(t, err)
		manifest, err := r.ReadAll(t.Context(), cid, 1<<20)
		require.NoError(t, err, read.What)
		bad := 0
		for _, quoted := range pages.FindAllString(string(manifest), -1) {
			d, err := digest.Parse(strings.Trim(quoted, `"`))
			require.NoError(t, err)
			if _, err := r.ReadAll(t.Context(), d, 1<<20); err != nil {
				require.ErrorIs(t, err, kvferry.ErrCorrupt, read.What)
				bad++
			}
		}
		require.Positive(t, bad, read.What)
		refused++
	}
	require.Equal(t, 7, refused)
}

// TestFramesOfTheOriginal reads the files of the specification's vectors.
func TestFramesOfTheOriginal(t *testing.T) {
	t.Parallel()
	fox := []byte("the quick brown fox")
	for _, x := range []struct {
		plain []byte
		file  string
	}{
		{fox, "28b52ffd0068990000" + hex.EncodeToString(fox)},
		{bytes.Repeat([]byte{0xab}, 1024), "28b52ffd006845000008ab0100fc2b2004"},
		{[]byte{0x41, 0xb9, 0xda, 0x03}, "28b52ffd006821000041b9da03"},
		{nil, "28b52ffd2000010000"},
	} {
		root := t.TempDir()
		d := sum(digest.SHA256, x.plain)
		file, err := hex.DecodeString(x.file)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(blobFile(root, d)), 0o755))
		require.NoError(t, os.WriteFile(blobFile(root, d), file, 0o644))
		s := open(t, root, dir.Options{})
		r, err := begin(t, s).Put(t.Context(), d, x.plain)
		require.NoError(t, err)
		require.False(t, r.New)
		buf := make([]byte, len(x.plain))
		n, err := s.Get(t.Context(), d, buf)
		require.NoError(t, err)
		require.True(t, bytes.Equal(x.plain, buf[:n]))
	}
}

// TestFilesForTheOriginal: what we write for the original is a zstd file in
// its place, and what we write for ourselves a frame.
func TestFilesForTheOriginal(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, dir.Options{})
	sess := begin(t, s)
	for a := digest.BLAKE3; a.Valid(); a++ {
		for _, n := range []int{0, 1, 5000, 300000} {
			for _, p := range [][]byte{noise(1, n), append(make([]byte, n), 1)} {
				d := put(t, sess, a, p)
				require.NoFileExists(t, blobFile(root, d), "before it is durable")
				require.NoError(t, sess.Flush(t.Context()))
				file, err := os.ReadFile(blobFile(root, d))
				require.NoError(t, err)
				var dec codec.Decoder
				buf := make([]byte, len(p))
				if a == digest.SHA256 {
					_, err = dec.DecodeZstd(buf, file)
				} else {
					_, err = dec.Decode(buf, file)
				}
				require.NoError(t, err)
				require.True(t, bytes.Equal(p, buf))
			}
		}
	}
}

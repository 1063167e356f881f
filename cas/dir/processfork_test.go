package dir_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/digest"
)

// The tests in this file are named after the original's defects that they
// keep out.

// TestPF1PathsOnlyFromParsedDigests: files outside of the store, and files
// whose names are no digests, cannot be named.
func TestPF1PathsOnlyFromParsedDigests(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"sha256:../../x", "sha256:/tmp/x", "sha256:", "sha256:..", "sha256:" + strings.Repeat("../", 21) + "a"} {
		_, err := digest.Parse(text)
		require.ErrorIs(t, err, kvferry.ErrInvalid, text)
	}
	root := t.TempDir()
	s := open(t, root, dir.Options{})
	for _, name := range []string{"../x", "..", "/x", "a/../b"} {
		_, err := s.Catalog().Lookup(t.Context(), name)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
		_, err = s.Catalog().Remove(t.Context(), name)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
}

// TestPF3Bombs: a file of a few KiB that expands to 256 MiB costs no more
// than the buffer.
func TestPF3Bombs(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, dir.Options{})
	var file bytes.Buffer
	w, err := zstd.NewWriter(&file, zstd.WithEncoderConcurrency(1))
	require.NoError(t, err)
	zeros := make([]byte, 1<<20)
	for range 256 {
		_, err = w.Write(zeros)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.Less(t, file.Len(), 64<<10)
	d := sum(digest.SHA256, []byte("what the file is not"))
	require.NoError(t, os.MkdirAll(filepath.Dir(blobFile(root, d)), 0o755))
	require.NoError(t, os.WriteFile(blobFile(root, d), file.Bytes(), 0o644))
	buf := make([]byte, 4096)
	_, err = s.Get(t.Context(), d, buf[:2048])
	require.ErrorIs(t, err, kvferry.ErrShortBuffer)
	require.Equal(t, make([]byte, 2048), buf[2048:])

	require.NoError(t, os.WriteFile(blobFile(root, d), make([]byte, 8<<20), 0o644))
	_, err = s.Get(t.Context(), d, buf)
	require.ErrorIs(t, err, kvferry.ErrShortBuffer, "the file is not read at all")
}

// TestPF4TwoInstancesRace: 900 puts of the same blobs by two stores of one
// process, of which the original lost a third.
func TestPF4TwoInstancesRace(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	stores := []*dir.Store{open(t, root, dir.Options{}), open(t, root, dir.Options{})}
	const rounds, puts = 9, 50
	for round := range rounds {
		sessions := []cas.Session{begin(t, stores[0]), begin(t, stores[1])}
		errs := make([]error, 2*puts)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				p := noise(uint64(round*10+i/2%10), 500)
				_, errs[i] = sessions[i%2].Put(t.Context(), sum(digest.SHA256, p), p)
			})
		}
		wg.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		var flushed [2]error
		for i := range sessions {
			wg.Go(func() { flushed[i] = sessions[i].Flush(t.Context()) })
		}
		wg.Wait()
		require.NoError(t, flushed[0])
		require.NoError(t, flushed[1])
		require.NoError(t, sessions[0].Abort(t.Context()))
		require.NoError(t, sessions[1].Abort(t.Context()))
	}
	st, err := stores[0].Stats(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 10*rounds, st.Blobs)
	require.Empty(t, problems(t, stores[1]), "no temporary file is left")
}

// TestPF5DamagedFilesAreStoredAnew: a put does not take a cut, empty or
// foreign file for the blob, and one whose content is wrong is replaced after
// a get found out.
func TestPF5DamagedFilesAreStoredAnew(t *testing.T) {
	t.Parallel()
	for a := digest.BLAKE3; a.Valid(); a++ {
		p := noise(5, 300000)
		d := sum(a, p)
		for name, spoil := range map[string]func([]byte) []byte{
			"empty":     func([]byte) []byte { return nil },
			"cut":       func(b []byte) []byte { return b[:len(b)-1] },
			"half":      func(b []byte) []byte { return b[:len(b)/2] },
			"longer":    func(b []byte) []byte { return append(b, 0) },
			"no magic":  func(b []byte) []byte { b[0] ^= 1; return b },
			"zeros":     func(b []byte) []byte { clear(b); return b },
			"one bit":   func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
			"last byte": func(b []byte) []byte { b[len(b)-1] ^= 0x80; return b },
		} {
			t.Run(a.String()+"/"+name, func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				s := open(t, root, dir.Options{})
				_, err := commit(t.Context(), s, a, []string{"x"}, p)
				require.NoError(t, err)
				file, err := os.ReadFile(blobFile(root, d))
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(blobFile(root, d), spoil(file), 0o644))
				key := digest.DeriveKey([]byte("test"))
				r, err := cas.NewReader(s, &key)
				require.NoError(t, err)
				structural := name != "one bit" && name != "last byte"
				if !structural {
					_, err = r.Get(t.Context(), d, make([]byte, len(p)))
					require.ErrorIs(t, err, kvferry.ErrCorrupt)
				}
				has, err := s.Has(t.Context(), d)
				require.NoError(t, err)
				require.False(t, has)
				res, err := begin(t, s).Put(t.Context(), d, p)
				require.NoError(t, err)
				require.True(t, res.New)
				_, err = r.Get(t.Context(), d, make([]byte, len(p)))
				require.NoError(t, err)
				st, err := s.Stats(t.Context())
				require.NoError(t, err)
				require.EqualValues(t, 1, st.Quarantined, "the damaged file was set aside")
			})
		}
	}
}

// TestPF7ReadingCreatesNothing in a store that the original made.
func TestPF7ReadingCreatesNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d := sum(digest.SHA256, []byte("x"))
	require.NoError(t, os.MkdirAll(filepath.Join(root, "blobs", "sha256"), 0o755))
	before := tree(t, root)
	s := open(t, root, dir.Options{ReadOnly: true})
	_, err := s.Get(t.Context(), d, nil)
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	has, err := s.Has(t.Context(), d)
	require.NoError(t, err)
	require.False(t, has)
	entries, err := s.Catalog().Entries(t.Context())
	require.NoError(t, err)
	require.Empty(t, entries)
	_, err = s.Stats(t.Context())
	require.NoError(t, err)
	require.Empty(t, problems(t, s))
	require.Equal(t, before, tree(t, root))
}

// TestPF8UpperCaseNamesAreIgnored: they are other digests to the original,
// and none to us.
func TestPF8UpperCaseNamesAreIgnored(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, dir.Options{})
	d := put(t, begin(t, s), digest.SHA256, []byte("sharding test"))
	upper := filepath.Join(root, "blobs", "sha256", "DB", strings.ToUpper(d.Hex())+".zst")
	require.NoError(t, os.MkdirAll(filepath.Dir(upper), 0o755))
	require.NoError(t, os.WriteFile(upper, []byte("x"), 0o644))
	st, err := s.Stats(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, st.Blobs)
	collect(t, s, cas.CollectOptions{})
	require.FileExists(t, upper)
}

// TestPF10MissingIsOneError whatever is missing.
func TestPF10MissingIsOneError(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), dir.Options{})
	for a := digest.BLAKE3; a.Valid(); a++ {
		_, err := s.Get(t.Context(), sum(a, []byte("missing")), nil)
		require.ErrorIs(t, err, kvferry.ErrNotFound)
		require.NotErrorIs(t, err, kvferry.ErrCorrupt)
	}
}

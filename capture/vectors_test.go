package capture_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// vector is a capture whose result the original fixed.
type vector struct {
	p, l, h, d uint32
	dtype      pager.Dtype
	pages      int
	seed       uint64
	manifest   int // bytes
	cid        string
	memory     int64 // bytes in a store in memory; 0: not stated
}

func vectors() map[string]vector {
	return map[string]vector{
		"A": {2, 1, 1, 2, pager.FP8E4M3, 1, 0, 377, "9a3b177376776ace9692eae74e03c77c26fb7cf594296f109a74976668ab4508", 385},
		"B": {4, 2, 2, 4, pager.BF16, 2, 99, 541, "8bbd09e1462b4ef28146b05e2ccaba08cc5cd7cbeeaef60f5c4eb6bd4a3d0e37", 0},
		"C": {4, 2, 2, 4, pager.BF16, 8, 99, 1543, "530ae64d7190faf6861dff4d3fe22268b5440d9524ef82e4df7756464bb20e8b", 3591},
		"D": {4, 2, 2, 4, pager.BF16, 0, 0, 209, "41b9fc3ee02093837d04b40e50e85203a27d1aa6489a7a964ca64c30bb3b9fb9", 0},
		"E": {8, 4, 4, 8, pager.BF16, 64, 0, 11003, "1dd51309aea3fa90c19d7123e5a435509b588d6454f699373414e79a68dda8e1", 273147},
		"F": {8, 4, 4, 8, pager.BF16, 32, 0, 5595, "38d504ae483f734cb59e06dbaaad9922878dd791bdc3c83a7c712ff75469c6ca", 136667},
		"G": {8, 4, 4, 8, pager.BF16, 64, 12345, 11003, "806f7caf2cad6705e4a38967959dea992da89f19f792bb70532a5365ba4716b1", 273147},
		"H": {1, 1, 1, 1, pager.F32, 1, math.MaxUint64, 373, "345cb71feb2a54fb239e46dcb4c76b1f0de7153c7c3d9c34f7ff7e6c44f0474e", 0},
	}
}

// newDir opens a store in a new directory.
func newDir(t testing.TB) (s cas.Store, path string) {
	t.Helper()
	path = t.TempDir()
	return openDir(t, path, dir.Options{}), path
}

func openDir(t testing.TB, path string, o dir.Options) cas.Store {
	t.Helper()
	s, err := dir.Open(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// physical returns the bytes of a store's blobs.
func physical(t testing.TB, s cas.Store) int64 {
	t.Helper()
	st, err := s.(cas.Stater).Stats(t.Context())
	require.NoError(t, err)
	return st.StoredBytes
}

// takePF captures in ProcessFork's format.
func takePF(t testing.TB, p pager.Pager, s cas.Store) capture.Report {
	t.Helper()
	rep, err := capture.Capture(t.Context(), p, s, capture.Options{Format: cas.FormatProcessFork, Transfer: capture.Transfer{StagingBytes: 1 << 20}})
	require.NoError(t, err)
	return rep
}

// TestVectorsEndToEnd captures what the original captured, into a store in
// memory and into one in a directory, with and without abilities, and restores
// it.
func TestVectorsEndToEnd(t *testing.T) {
	t.Parallel()
	for name, v := range vectors() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := populated(t, v.p, v.l, v.h, v.d, v.dtype, v.pages, v.seed)
			d, path := newDir(t)
			for _, s := range []cas.Store{newMem(t), d} {
				for _, set := range []synthetic.Ability{synthetic.NoAbility, synthetic.AllAbilities} {
					rep := takePF(t, e.With(set), s)
					require.Equal(t, "sha256:"+v.cid, rep.Root.String())
					require.Equal(t, v.pages, rep.Pages)
				}
			}
			m := newMem(t)
			rep := takePF(t, e, m)
			if v.memory > 0 {
				require.Equal(t, v.memory, physical(t, m))
			}
			r, err := cas.NewReader(m, nil)
			require.NoError(t, err)
			manifest, err := r.ReadAll(t.Context(), rep.Root, 1<<20)
			require.NoError(t, err)
			require.Len(t, manifest, v.manifest)

			fresh := populated(t, v.p, v.l, v.h, v.d, v.dtype, 0, 0)
			require.NoError(t, fresh.InstallLogicalSeqs(t.Context(), nil))
			_, err = capture.Restore(t.Context(), d, rep.Root, fresh, capture.RestoreOptions{})
			require.NoError(t, err)
			wantPages, wantSeqs := content(t, e)
			gotPages, gotSeqs := content(t, fresh)
			require.Equal(t, wantPages, gotPages)
			require.Equal(t, wantSeqs, gotSeqs)
			require.Equal(t, len(blobsOf(t, d)), zstdFiles(t, path))
		})
	}
}

// blobsOf lists a store's blobs.
func blobsOf(t testing.TB, s cas.Store) (all []cas.BlobInfo) {
	t.Helper()
	for b, err := range s.(cas.Enumerator).Blobs(t.Context()) {
		require.NoError(t, err)
		all = append(all, b)
	}
	return all
}

// zstdFiles decodes every file of ProcessFork's layout with a foreign decoder
// and holds its content against its name.
func zstdFiles(t *testing.T, path string) (n int) {
	t.Helper()
	z, err := zstd.NewReader(nil)
	require.NoError(t, err)
	defer z.Close()
	h, err := digest.NewHasher(digest.SHA256, nil)
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(path, "blobs", "sha256", "??", "*.zst"))
	require.NoError(t, err)
	for _, f := range files {
		data, err := os.ReadFile(f)
		require.NoError(t, err)
		plain, err := z.DecodeAll(data, nil)
		require.NoError(t, err, f)
		sum := h.Sum(plain).Hex()
		require.Equal(t, filepath.Join(sum[:2], sum+".zst"), filepath.Join(filepath.Base(filepath.Dir(f)), filepath.Base(f)))
	}
	return len(files)
}

// TestVectorAFiles: the two pages of vector A lie where the original puts
// them, and its own bytes in their place are read.
func TestVectorAFiles(t *testing.T) {
	t.Parallel()
	for _, mode := range []codec.Mode{codec.Auto, codec.OnlyRaw, codec.PreferZstd} {
		e := populated(t, 2, 1, 1, 2, pager.FP8E4M3, 1, 0)
		s, path := newDir(t)
		rep, err := capture.Capture(t.Context(), e, s, capture.Options{Format: cas.FormatProcessFork, Codec: mode})
		require.NoError(t, err)
		z, err := zstd.NewReader(nil)
		require.NoError(t, err)
		defer z.Close()
		for rel, want := range map[string][2][]byte{
			"fc/fc8f9866db5a0376c1769a74cc4f6dcd0ea8736a6ef9bb2111751899de31a2b7.zst": {
				{0x41, 0xb9, 0xda, 0x03}, {0x28, 0xb5, 0x2f, 0xfd, 0, 0x68, 0x21, 0, 0, 0x41, 0xb9, 0xda, 0x03},
			},
			"a3/a3980f17a894bb3d1040c9e26c8f8469aa75c40b5764d7925f32cd5e66d10b34.zst": {
				{0xec, 0x3b, 0xe7, 0xbb}, {0x28, 0xb5, 0x2f, 0xfd, 0, 0x68, 0x21, 0, 0, 0xec, 0x3b, 0xe7, 0xbb},
			},
		} {
			file := filepath.Join(path, "blobs", "sha256", rel)
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			plain, err := z.DecodeAll(data, nil)
			require.NoError(t, err)
			require.Equal(t, want[0], plain)
			require.NoError(t, os.WriteFile(file, want[1], 0o600))
		}
		v, err := capture.Verify(t.Context(), s, rep.Root, capture.VerifyOptions{})
		require.NoError(t, err)
		require.Empty(t, v.Problems)
	}
}

// TestVectorEscapingEndToEnd: an id with everything that JSON writers disagree
// about.
func TestVectorEscapingEndToEnd(t *testing.T) {
	t.Parallel()
	const id = "a<b>&\u2028\u00e9\u007f\u0001\"\\"
	e := populated(t, 16, 1, 1, 1, pager.F16, 0, 0)
	require.NoError(t, e.InstallLogicalSeqs(t.Context(), []pager.LogicalSeq{{ID: id}}))
	s := newMem(t)
	rep := takePF(t, e, s)
	require.Equal(t, "sha256:4cdb6365a999f6972ba556bc1fbe346d494df224ed638a4045f8267901bb895d", rep.Root.String())
	r, err := cas.NewReader(s, nil)
	require.NoError(t, err)
	text, err := r.ReadAll(t.Context(), rep.Root, 1<<20)
	require.NoError(t, err)
	require.Len(t, text, 205)
	require.True(t, bytes.Contains(text, []byte("\"a<b>&\u2028\u00e9\u007f\\u0001\\\"\\\\\"")))
	native, err := capture.Capture(t.Context(), e, s, capture.Options{})
	require.NoError(t, err)
	for _, root := range []digest.Digest{rep.Root, native.Root} {
		dst := populated(t, 16, 1, 1, 1, pager.F16, 0, 0)
		require.NoError(t, dst.InstallLogicalSeqs(t.Context(), nil))
		_, err = capture.Restore(t.Context(), s, root, dst, capture.RestoreOptions{})
		require.NoError(t, err)
		_, seqs := content(t, dst)
		require.Equal(t, id, seqs[0].ID)
	}
}

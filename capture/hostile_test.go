package capture_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// pfManifest returns a page manifest of one-byte parts: the digests of page 0
// stand as given.
func pfManifest(k, v string) string {
	return `{"layout":"paged-batchinvariant-v1","page_size_tokens":4,"n_layers":1,"n_heads":1,"head_dim":1,"dtype":"fp8e4m3",` +
		`"pages":[{"ix":0,"k":"` + k + `","v":"` + v + `"}],"logical_seqs":[{"id":"s","page_ixs":[0],"fill_in_last_page":1}]}`
}

// refusedBy checks that nothing that reads the snapshot takes it, and that the
// engine is not touched.
func refusedBy(t *testing.T, s cas.Store, root digest.Digest, want error, why string) {
	t.Helper()
	ctx := t.Context()
	e := populated(t, 4, 1, 1, 1, pager.FP8E4M3, 0, 0)
	require.NoError(t, e.InstallLogicalSeqs(ctx, nil))
	free := e.FreePages()
	for _, lenient := range []bool{false, true} {
		_, err := capture.Restore(ctx, s, root, e.With(synthetic.AllAbilities), capture.RestoreOptions{Lenient: lenient})
		require.ErrorIs(t, err, want, why)
		v, err := capture.Verify(ctx, s, root, capture.VerifyOptions{LoadOptions: capture.LoadOptions{Lenient: lenient}})
		if err == nil {
			err = problems(v.Problems)
		}
		require.ErrorIs(t, err, want, why)
		_, err = capture.Convert(ctx, s, root, newMem(t), capture.ConvertOptions{Lenient: lenient})
		require.ErrorIs(t, err, want, why)
	}
	c, err := capture.Check(ctx, s, capture.CheckOptions{})
	require.NoError(t, err)
	require.False(t, c.Sound(), why)
	pages, seqs := content(t, e)
	require.Empty(t, pages)
	require.Empty(t, seqs)
	require.Equal(t, free, e.FreePages())
}

// TestTraversalByDigests: text in a manifest that is no digest never becomes a
// path.
func TestTraversalByDigests(t *testing.T) {
	t.Parallel()
	good := "sha256:" + strings.Repeat("ab", 32)
	for _, bad := range []string{
		"sha256:../../x", "sha256:/tmp/x", "../../x", "/etc/passwd", "", "sha256:", "sha256", "x",
		"sha256:" + strings.Repeat("AB", 32), "sha256:" + strings.Repeat("ab", 31), "sha256:" + strings.Repeat("ab", 33),
		"sha256:" + strings.Repeat("../", 21) + "x", "sha256:" + strings.Repeat("a", 62) + "/x", "sha256:" + strings.Repeat("a", 62) + `\u0000x`,
		"SHA256:" + strings.Repeat("ab", 32), "blake3:" + strings.Repeat("ab", 32), "md5:" + strings.Repeat("ab", 16),
		" " + good, good + " ", good + "/..", "sha256:é" + strings.Repeat("a", 62),
	} {
		path := filepath.Join(t.TempDir(), "store")
		d := openDir(t, path, dir.Options{})
		outside := filepath.Join(filepath.Dir(path), "x.zst")
		require.NoError(t, os.WriteFile(outside, []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 9, 0, 0, 'x'}, 0o600))
		for i, text := range []string{pfManifest(bad, good), pfManifest(good, bad)} {
			refusedBy(t, d, putBlob(t, d, digest.SHA256, []byte(text)), kvferry.ErrCorrupt, fmt.Sprint(bad, i))
		}
		entries, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Len(t, entries, 2, "nothing was created beside the store")
	}
}

// TestTraversalInNativeManifests: likewise for the pieces of a page table.
func TestTraversalInNativeManifests(t *testing.T) {
	t.Parallel()
	d, _ := newDir(t)
	rep, err := capture.Capture(t.Context(), populated(t, 4, 1, 1, 1, pager.FP8E4M3, 3, 1<<40), d, capture.Options{})
	require.NoError(t, err)
	text := string(readBlob(t, d, rep.Root))
	at := strings.Index(text, `"table":["`) + len(`"table":["`)
	require.Greater(t, at, 10)
	for _, bad := range []string{"blake3:../../x", "../../x", "", "blake3:" + strings.Repeat("AB", 32), "sha256:" + strings.Repeat("ab", 32)} {
		refusedBy(t, d, putBlob(t, d, digest.BLAKE3, []byte(text[:at]+bad+text[at+71:])), kvferry.ErrCorrupt, bad)
	}
}

// TestTraversalByNames: what cannot be a name is refused before anything is
// done, and never looked up.
func TestTraversalByNames(t *testing.T) {
	t.Parallel()
	d, path := newDir(t)
	w := newWorld(t, d, 2, 0)
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/x", ".hidden", "-x", "a\x00b", "a\nb", "ü", strings.Repeat("a", 200), strings.Repeat("ab", 32)} {
		_, err := capture.Groups(t.Context(), w.groups, d, capture.Options{Names: []string{"good", name}})
		require.ErrorIs(t, err, kvferry.ErrInvalid, "%q", name)
		_, err = capture.Resolve(t.Context(), d, name)
		require.True(t, isNotFoundOrInvalid(err), "%q: %v", name, err)
	}
	for _, ref := range []string{"sha256:../../x", "sha256:", "blake3:../..", "blake3:zz", "md5:abcd", "sha256:" + strings.Repeat("a", 65), "a:b:c"} {
		_, err := capture.Resolve(t.Context(), d, ref)
		require.ErrorIs(t, err, kvferry.ErrInvalid, ref)
	}
	require.Zero(t, w.engines[0].Pauses())
	require.Empty(t, blobsOf(t, d))
	entries, err := os.ReadDir(filepath.Join(path, "names"))
	require.NoError(t, err)
	require.Empty(t, entries)
}

func isNotFoundOrInvalid(err error) bool {
	return damage("", err) == nil && err != nil || strings.Contains(fmt.Sprint(err), kvferry.ErrInvalid.Error())
}

// TestBombs: a blob that unpacks to far more than its part is refused without
// the memory for it.
func TestBombs(t *testing.T) {
	t.Parallel()
	const unpacked = 256 << 20
	bomb := zstdBomb(t, unpacked)
	require.Less(t, len(bomb), 64<<10)
	d, path := newDir(t)
	e := populated(t, 4, 1, 1, 1, pager.FP8E4M3, 1, 1<<40)
	rep := takePF(t, e, d)
	snap, _, err := capture.Load(t.Context(), d, rep.Root, capture.LoadOptions{})
	require.NoError(t, err)
	k := snap.Groups[0].Table.Digest(0, 0)
	file := filepath.Join(path, "blobs", "sha256", k.Hex()[:2], k.Hex()+".zst")
	require.NoError(t, os.WriteFile(file, bomb, 0o600))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	dst := fresh(t, e)
	_, err = capture.Restore(t.Context(), d, rep.Root, dst, capture.RestoreOptions{Transfer: capture.Transfer{Workers: 1}})
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	require.Less(t, after.HeapSys, before.HeapSys+unpacked/2, "the heap did not grow by what the bomb announces")
}

func zstdBomb(t *testing.T, size int) []byte {
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedFastest))
	require.NoError(t, err)
	zeros := make([]byte, 1<<20)
	for range size >> 20 {
		_, err = z.Write(zeros)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	return b.Bytes()
}

// TestBlobsOfAnotherLength: a blob that is what its digest says, but not as
// long as the part that names it, is damage of the snapshot.
func TestBlobsOfAnotherLength(t *testing.T) {
	t.Parallel()
	h, err := digest.NewHasher(digest.SHA256, nil)
	require.NoError(t, err)
	good := []byte{1, 2, 3, 4}
	for _, other := range [][]byte{{}, {1}, {1, 2, 3}, {1, 2, 3, 4, 5}, bytes.Repeat([]byte{7}, 1<<16)} {
		d, _ := newDir(t)
		for _, s := range []cas.Store{newMem(t), d} {
			g, bad := h.Sum(good), h.Sum(other)
			for _, text := range []string{pfManifest(g.String(), bad.String()), pfManifest(bad.String(), g.String())} {
				root := putBlob(t, s, digest.SHA256, []byte(text), good, other)
				refusedBy(t, s, root, kvferry.ErrCorrupt, fmt.Sprint(len(other)))
				require.Equal(t, other, readBlob(t, s, bad), "the blob itself is sound and stays")
			}
		}
	}
}

// TestAnnouncedSizes: numbers in a manifest that stand for absurd sizes are
// refused before memory for them is taken.
func TestAnnouncedSizes(t *testing.T) {
	t.Parallel()
	s := newMem(t)
	rep, err := capture.Capture(t.Context(), populated(t, 4, 1, 1, 1, pager.FP8E4M3, 3, 1<<40), s, capture.Options{})
	require.NoError(t, err)
	native := string(readBlob(t, s, rep.Root))
	h, err := digest.NewHasher(digest.SHA256, nil)
	require.NoError(t, err)
	good := h.Sum([]byte{1, 2, 3, 4}).String()
	pf := pfManifest(good, good)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := 0
	for _, c := range []struct {
		a    digest.Algorithm
		text string
		keys []string
	}{
		{digest.BLAKE3, native, []string{"page_tokens", "layers", "kv_heads", "head_dim", "bytes", "pages", "chunk_pages", "fill", "world"}},
		{digest.SHA256, pf, []string{"page_size_tokens", "n_layers", "n_heads", "head_dim", "ix", "fill_in_last_page"}},
	} {
		for _, key := range c.keys {
			for _, value := range []string{"4294967295", "4294967296", "9223372036854775807", "18446744073709551615", "1e9", "-1", "99999999999999999999999"} {
				text, ok := replaceNumber(c.text, key, value)
				require.True(t, ok, key)
				if text == c.text || key == "world" && value == "4294967295" {
					continue
				}
				_, _, err := capture.Load(t.Context(), s, putBlob(t, s, c.a, []byte(text)), capture.LoadOptions{})
				require.Error(t, err, "%s: %s", key, value)
				require.NoError(t, damage(key, err))
				n++
			}
		}
	}
	runtime.ReadMemStats(&after)
	require.GreaterOrEqual(t, n, 90)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<30))
}

// replaceNumber puts value in the place of the first number under key.
func replaceNumber(text, key, value string) (string, bool) {
	_, rest, ok := strings.Cut(text, `"`+key+`":`)
	if !ok {
		return text, false
	}
	at := len(text) - len(rest)
	end := at + strings.IndexAny(rest, ",}]")
	return text[:at] + value + text[end:], true
}

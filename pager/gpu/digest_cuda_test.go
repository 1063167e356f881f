//go:build cuda

package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/softcuda"
	"github.com/kvferry/kvferry/pager"
)

// aligned is a layout whose pages can be digested in place: fragments of 2,048
// bytes.
func aligned(t testing.TB) *pager.Layout {
	t.Helper()
	m, err := pager.Plain(8, 3, 2, 64, pager.BF16)
	require.NoError(t, err)
	l, err := pager.KVOutermost(m, 24)
	require.NoError(t, err)
	return l
}

// digests returns what the host makes of pages.
func digests(t *testing.T, l *pager.Layout, memory [][]byte, a digest.Algorithm, key *digest.Key, ids []pager.PageID) []digest.Digest {
	t.Helper()
	h, err := digest.NewHasher(a, key)
	require.NoError(t, err)
	ref, page := reference(t, l, memory), make([]byte, l.Meta.PageBytes())
	var out []digest.Digest
	for _, id := range ids {
		require.NoError(t, ref.ReadPage(t.Context(), id, page))
		at := 0
		for _, p := range l.Meta.Parts {
			out = append(out, h.Sum(page[at:at+p.Bytes]))
			at += p.Bytes
		}
	}
	return out
}

func eachDigest(t *testing.T, f func(t *testing.T, l *pager.Layout, inPlace bool, a digest.Algorithm, key *digest.Key)) {
	t.Helper()
	key := digest.DeriveKey([]byte("tenant"))
	for name, l := range map[string]*pager.Layout{"gathered": ordinary(t), "in-place": aligned(t)} {
		t.Run("pages="+name, func(t *testing.T) {
			f(t, l, name == "in-place", digest.BLAKE3, nil)
			t.Run("keyed", func(t *testing.T) { f(t, l, name == "in-place", digest.KeyedBLAKE3, &key) })
		})
	}
}

func TestDigestsOfWhatTheModelWrote(t *testing.T) {
	eachDigest(t, func(t *testing.T, l *pager.Layout, inPlace bool, a digest.Algorithm, key *digest.Key) {
		w := newWorld(t, l)
		p := w.open(inBatches(5, func(*Config) {}))
		require.Equal(t, inPlace, p.cache.inPlace)
		memory, ids := w.memory(), w.all()
		w.queueUpload(memory)
		got := make([]digest.Digest, 2*len(ids))
		require.NoError(t, p.cache.DigestPages(t.Context(), a, key, ids, got))
		require.Equal(t, digests(t, l, memory, a, key, ids), got)
		if a == digest.KeyedBLAKE3 { // a key that is not asked for changes nothing
			require.NoError(t, p.cache.DigestPages(t.Context(), digest.BLAKE3, key, ids, got))
			require.Equal(t, digests(t, l, memory, digest.BLAKE3, nil, ids), got)
		}
	})
}

// TestComparisonTellsTheChangedPages changes no, some and all pages, and looks at
// what comes back over the link.
func TestComparisonTellsTheChangedPages(t *testing.T) {
	eachDigest(t, func(t *testing.T, l *pager.Layout, _ bool, a digest.Algorithm, key *digest.Key) {
		for name, change := range map[string]func(i int) bool{
			"none": func(int) bool { return false },
			"some": func(i int) bool { return i%5 == 1 || i%7 == 3 || i >= 20 },
			"all":  func(int) bool { return true },
		} {
			t.Run("changed="+name, func(t *testing.T) {
				w := newWorld(t, l)
				p := w.open(inBatches(9, func(*Config) {}))
				memory, ids := w.memory(), w.all()
				want := digests(t, l, memory, a, key, ids)
				var at []int
				var sums []digest.Digest
				ref := reference(t, l, memory)
				page := make([]byte, l.Meta.PageBytes())
				for i, id := range ids {
					if change(i) {
						require.NoError(t, ref.ReadPage(t.Context(), id, page))
						page[w.rng.IntN(len(page))] ^= 0x40
						require.NoError(t, ref.WritePage(t.Context(), id, page))
						at, sums = append(at, i), append(sums, digests(t, l, memory, a, key, []pager.PageID{id})...)
					}
				}
				w.queueUpload(memory)
				w.settle()
				before, _ := bytesOverLink()
				changed, got, err := p.cache.ComparePages(t.Context(), a, key, ids, want, []int{-1}, want[:1:1])
				require.NoError(t, err)
				require.Equal(t, append([]int{-1}, at...), changed, "appended")
				require.Equal(t, append(want[:1:1], sums...), got)
				if after, soft := bytesOverLink(); soft {
					batches := 3
					if p.cache.inPlace {
						batches = 1
					}
					require.EqualValues(t, batches*metaHead+4*len(ids)+32*len(sums), after-before, "only indices and changed digests")
				}
			})
		}
	})
}

// bytesOverLink returns the bytes to the host; soft tells whether they are known.
func bytesOverLink() (toHost int64, soft bool) {
	if !softcuda.Loaded() {
		return 0, false
	}
	toHost, _ = softcuda.BytesOverLink()
	return toHost, true
}

func TestPagesWithoutAKnownDigestCountAsChanged(t *testing.T) {
	w := newWorld(t, ordinary(t))
	p := w.open(nil)
	memory, ids := w.memory(), w.all()
	w.queueUpload(memory)
	sums := digests(t, w.layout, memory, digest.BLAKE3, nil, ids)
	want := append([]digest.Digest(nil), sums...)
	want[2*3] = digest.Digest{}                             // unknown
	want[2*8+1] = digest.New(digest.SHA256, want[17].Sum()) // of another kind
	changed, got, err := p.cache.ComparePages(t.Context(), digest.BLAKE3, nil, ids, want, nil, nil)
	require.NoError(t, err)
	require.Equal(t, []int{3, 8}, changed)
	require.Equal(t, []digest.Digest{sums[6], sums[7], sums[16], sums[17]}, got)
}

func TestDigestsAreRefused(t *testing.T) {
	w := newWorld(t, ordinary(t))
	p := w.open(nil)
	c := p.cache
	dst := make([]digest.Digest, 2)
	one := []pager.PageID{0}
	require.ErrorIs(t, c.DigestPages(t.Context(), digest.SHA256, nil, one, dst), kvferry.ErrUnsupported)
	require.ErrorIs(t, c.DigestPages(t.Context(), digest.KeyedBLAKE3, nil, one, dst), kvferry.ErrInvalid)
	require.ErrorIs(t, c.DigestPages(t.Context(), digest.BLAKE3, nil, one, dst[:1]), kvferry.ErrInvalid)
	require.ErrorIs(t, c.DigestPages(t.Context(), digest.BLAKE3, nil, []pager.PageID{24}, dst), kvferry.ErrNotFound)
	changed, sums, err := c.ComparePages(t.Context(), digest.BLAKE3, nil, one, dst[:1], []int{4}, dst[:1])
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.Equal(t, []int{4}, changed)
	require.Len(t, sums, 1)
	require.Zero(t, p.Stats().Submissions)
}

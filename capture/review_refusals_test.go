package capture_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// TestNegativeWorkers: nothing is done by a negative number of workers, and
// none is not taken for all is well.
func TestNegativeWorkers(t *testing.T) {
	t.Parallel()
	s, to := newMem(t), newMem(t)
	e := populated(t, 4, 2, 2, 4, pager.BF16, 3, 1<<40)
	rep, err := capture.Capture(t.Context(), e, s, capture.Options{})
	require.NoError(t, err)
	pauses, blobs := e.Pauses(), blobsOf(t, s)
	few := capture.Transfer{Workers: -1}
	dst := fresh(t, e)
	for name, f := range map[string]func() error{
		"capture": func() error {
			_, err := capture.Capture(t.Context(), e, to, capture.Options{Transfer: few})
			return err
		},
		"restore": func() error {
			_, err := capture.Restore(t.Context(), s, rep.Root, dst, capture.RestoreOptions{Transfer: few})
			return err
		},
		"verify": func() error {
			_, err := capture.Verify(t.Context(), s, rep.Root, capture.VerifyOptions{Workers: -1})
			return err
		},
		"check": func() error {
			_, err := capture.Check(t.Context(), s, capture.CheckOptions{Workers: -1})
			return err
		},
		"convert": func() error {
			_, err := capture.Convert(t.Context(), s, rep.Root, to, capture.ConvertOptions{Workers: -1, Names: []string{"copy"}})
			return err
		},
	} {
		require.ErrorIs(t, f(), kvferry.ErrInvalid, name)
	}
	require.Equal(t, pauses, e.Pauses())
	require.Zero(t, dst.Pauses())
	require.ElementsMatch(t, blobs, blobsOf(t, s))
	entries, err := to.Catalog().Entries(t.Context())
	require.NoError(t, err)
	require.Empty(t, entries)
	require.Empty(t, blobsOf(t, to))
}

// unread is an engine of which no page may be read.
type unread struct {
	pager.Pager
	t    *testing.T
	many int // pages that it claims to hold, if not 0
	seqs []pager.LogicalSeq
}

func (u unread) OccupiedPages(ctx context.Context) ([]pager.PageID, error) {
	if u.many == 0 {
		return u.Pager.OccupiedPages(ctx)
	}
	ids := make([]pager.PageID, u.many)
	for i := range ids {
		ids[i] = pager.PageID(i)
	}
	return ids, nil
}

func (u unread) LogicalSeqs(ctx context.Context) ([]pager.LogicalSeq, error) {
	if u.seqs == nil {
		return u.Pager.LogicalSeqs(ctx)
	}
	return u.seqs, nil
}

func (u unread) ReadPage(_ context.Context, id pager.PageID, _ []byte) error {
	u.t.Errorf("page %d was read", id)
	return errMarker
}

// TestRefusedBeforeAPageIsRead: what the manifest could not hold is found
// before anything is copied.
func TestRefusedBeforeAPageIsRead(t *testing.T) { // not parallel: others watch the heap
	some := []pager.PageID{0, 1}
	for name, c := range map[string]struct {
		dtype pager.Dtype
		many  int
		seqs  []pager.LogicalSeq
		want  map[cas.Format]error
		calm  bool // the engine is not even paused
	}{
		"dtype": {
			dtype: pager.FP8E5M2, calm: true,
			want: map[cas.Format]error{cas.FormatProcessFork: kvferry.ErrUnsupported},
		},
		"too many pages": {
			dtype: pager.BF16, many: 1_600_000,
			want: map[cas.Format]error{cas.FormatProcessFork: kvferry.ErrUnsupported},
		},
		"too long ids": {
			dtype: pager.BF16, seqs: []pager.LogicalSeq{{ID: strings.Repeat("x", 45<<20), Pages: some}},
			want: map[cas.Format]error{cas.FormatProcessFork: kvferry.ErrUnsupported},
		},
		"id that is no text": {
			dtype: pager.BF16, seqs: []pager.LogicalSeq{{ID: "a\xff", Pages: some}},
			want: map[cas.Format]error{cas.FormatProcessFork: kvferry.ErrInvalid, cas.FormatNative: kvferry.ErrInvalid},
		},
		"fill of a full page": {
			dtype: pager.BF16, seqs: []pager.LogicalSeq{{ID: "a", Pages: some, FillInLastPage: 4}},
			want: map[cas.Format]error{cas.FormatProcessFork: kvferry.ErrInvalid, cas.FormatNative: kvferry.ErrInvalid},
		},
	} {
		for format, want := range c.want {
			t.Run(fmt.Sprint(name, "/", format), func(t *testing.T) {
				s := newMem(t)
				e := populated(t, 4, 1, 1, 2, c.dtype, 2, 1<<40)
				_, err := capture.Capture(t.Context(), unread{e, t, c.many, c.seqs}, s, capture.Options{Format: format, Names: []string{"x"}})
				require.ErrorIs(t, err, want)
				require.Equal(t, c.calm, e.Pauses() == 0)
				require.False(t, e.Paused())
				require.Empty(t, blobsOf(t, s))
				stats, err := s.(cas.Stater).Stats(t.Context())
				require.NoError(t, err)
				require.Zero(t, stats.Sessions)
			})
		}
	}
}

// reads is a store that notes which blobs are read.
type reads struct {
	cas.Store
	mu  sync.Mutex
	got map[digest.Digest]int
}

func (r *reads) Get(ctx context.Context, d digest.Digest, dst []byte) (int, error) {
	r.mu.Lock()
	r.got[d]++
	r.mu.Unlock()
	return r.Store.Get(ctx, d, dst)
}

// TestTablesBeyondTheBound: a short document that names one chunk again and
// again cannot make its reader build a table without end.
func TestTablesBeyondTheBound(t *testing.T) { // not parallel: it counts allocations
	parts := make([]pager.Part, pager.MaxParts)
	for i := range parts {
		parts[i] = pager.Part{Kind: pager.PartScale, Bytes: 1, Form: "x"}
	}
	meta := pager.Meta{PageTokens: 1, Dtype: pager.BF16, Parts: parts}
	var chunk digest.Digest
	build := func(pages int) (*reads, digest.Digest) {
		s := newMem(t)
		tb := manifest.NewTable(digest.BLAKE3, manifest.TableChunkPages, len(parts))
		h, err := digest.NewHasher(digest.BLAKE3, nil)
		require.NoError(t, err)
		var blobs [][]byte
		_, _, err = manifest.Encode(&manifest.Snapshot{Groups: []manifest.Group{{Meta: meta, Table: tb}}}, func(b []byte) (digest.Digest, error) {
			blobs = append(blobs, b)
			return h.Sum(b), nil
		})
		require.NoError(t, err)
		require.Len(t, blobs, 2)
		chunk = h.Sum(blobs[0])
		text := string(blobs[1])
		quoted := `"` + chunk.String() + `"`
		require.Equal(t, 1, strings.Count(text, quoted))
		text = strings.Replace(text, quoted, strings.Repeat(quoted+",", pages/manifest.TableChunkPages-1)+quoted, 1)
		text = strings.Replace(text, fmt.Sprintf(`"pages":%d`, manifest.TableChunkPages), fmt.Sprintf(`"pages":%d`, pages), 1)
		r := &reads{Store: s, got: map[digest.Digest]int{}}
		return r, putBlob(t, s, digest.BLAKE3, []byte(text), blobs[0])
	}
	s, root := build(4 * manifest.TableChunkPages)
	snap, _, err := capture.Load(t.Context(), s, root, capture.LoadOptions{})
	require.NoError(t, err, "the text is edited rightly")
	require.Equal(t, 4*manifest.TableChunkPages, snap.Groups[0].Table.Pages())
	require.NotZero(t, s.got[chunk])

	most := manifest.MaxDigests / len(parts) / manifest.TableChunkPages * manifest.TableChunkPages
	s, root = build(most + manifest.TableChunkPages)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err = capture.Load(t.Context(), s, root, capture.LoadOptions{})
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	require.NotZero(t, s.got[root])
	require.Zero(t, s.got[chunk], "no chunk is read")
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20))
}

// TestResolveOnlyLooks: resolving a reference finds manifests and nothing else,
// and changes nothing.
func TestResolveOnlyLooks(t *testing.T) {
	t.Parallel()
	d, _ := newDir(t)
	key := digest.DeriveKey([]byte("k"))
	for _, s := range []cas.Store{newMem(t), d} {
		x, err := s.Begin(t.Context(), cas.SessionOptions{})
		require.NoError(t, err)
		put := func(a digest.Algorithm, blob []byte) digest.Digest {
			h, err := digest.NewHasher(a, &key)
			require.NoError(t, err)
			sum := h.Sum(blob)
			_, err = x.Put(t.Context(), sum, blob)
			require.NoError(t, err)
			return sum
		}
		data := append([]byte("{"), make([]byte, 2047)...)
		for _, a := range []digest.Algorithm{digest.BLAKE3, digest.SHA256} {
			sum := put(a, data)
			for _, ref := range []string{sum.String(), sum.Hex(), sum.Hex()[:8]} {
				_, err := capture.Resolve(t.Context(), s, ref)
				require.ErrorIs(t, err, kvferry.ErrNotFound, ref)
			}
		}
		put(digest.KeyedBLAKE3, data)

		wrong := digest.New(digest.BLAKE3, [digest.Size]byte{0xab, 0xcd, 0xef, 1})
		_, err = x.Put(t.Context(), wrong, data)
		require.NoError(t, err)
		for _, ref := range []string{wrong.Hex()[:8], wrong.String()} {
			e, err := capture.Resolve(t.Context(), s, ref)
			require.NoError(t, err, "to ask for it must show the damage")
			require.Equal(t, wrong, e.Root)
			has, err := s.Has(t.Context(), wrong)
			require.NoError(t, err)
			require.True(t, has, "looking takes nothing away")
		}
		before := blobsOf(t, s)
		_, err = capture.Unlisted(t.Context(), s)
		require.NoError(t, err)
		require.ElementsMatch(t, before, blobsOf(t, s))
		_, _, err = capture.Load(t.Context(), s, wrong, capture.LoadOptions{})
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
		require.NoError(t, x.Abort(t.Context()))
	}
}

// TestImageIsNoSnapshot: whoever asks for an image learns the digest that he
// should ask for.
func TestImageIsNoSnapshot(t *testing.T) {
	t.Parallel()
	s := newMem(t)
	e := populated(t, 4, 1, 1, 2, pager.BF16, 2, 1<<40)
	rep, err := capture.Capture(t.Context(), e.With(synthetic.AllAbilities), s, capture.Options{
		Format: cas.FormatProcessFork, Image: &capture.Image{AgentKind: "x"},
	})
	require.NoError(t, err)
	entry, err := capture.Resolve(t.Context(), s, rep.ImageRoot.String())
	require.NoError(t, err)
	require.Equal(t, rep.ImageRoot, entry.Root)
	_, _, err = capture.Load(t.Context(), s, rep.ImageRoot, capture.LoadOptions{})
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
	require.ErrorContains(t, err, rep.Root.String())
	_, err = capture.Restore(t.Context(), s, rep.ImageRoot, fresh(t, e), capture.RestoreOptions{})
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
}

package capture_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// published stores a snapshot as it stands, whether its pages are there or not.
func published(t testing.TB, s cas.Store, g manifest.Group, blobs ...[]byte) digest.Digest {
	t.Helper()
	x, err := s.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	require.NoError(t, err)
	put := func(b []byte) (digest.Digest, error) {
		d := h.Sum(b)
		_, err := x.Put(t.Context(), d, b)
		return d, err
	}
	for _, b := range blobs {
		_, err := put(b)
		require.NoError(t, err)
	}
	root, _, err := manifest.Encode(&manifest.Snapshot{Groups: []manifest.Group{g}}, put)
	require.NoError(t, err)
	require.NoError(t, x.Commit(t.Context(), cas.Entry{Root: root, Format: cas.FormatNative, Created: time.Unix(1, 0).UTC()}))
	return root
}

// TestOneBlobForPartsOfTwoLengths: a blob has one length. A table that names it
// for parts of two is damaged, whichever part comes first.
func TestOneBlobForPartsOfTwoLengths(t *testing.T) {
	t.Parallel()
	for _, sizes := range [][2]int{{64, 16}, {16, 64}} {
		meta := pager.Meta{PageTokens: 4, Layers: 1, KVHeads: 1, HeadDim: 8, Dtype: pager.BF16, Parts: []pager.Part{
			{Kind: pager.PartKV, Bytes: sizes[0], Form: "x"}, {Kind: pager.PartScale, Bytes: sizes[1], Form: "y"},
		}}
		blob := make([]byte, 64)
		h, err := digest.NewHasher(digest.BLAKE3, nil)
		require.NoError(t, err)
		tb := manifest.NewTable(digest.BLAKE3, 2, 2)
		for i := range 4 {
			tb.Set(i/2, i%2, h.Sum(blob))
		}
		s := newMem(t)
		root := published(t, s, manifest.Group{Meta: meta, Table: tb}, blob)
		for _, workers := range []int{1, 4} {
			v, err := capture.Verify(t.Context(), s, root, capture.VerifyOptions{Workers: workers})
			require.NoError(t, err)
			require.Len(t, v.Problems, 1)
			require.Equal(t, []uint32{0, 1}, v.Problems[0].Pages)
			require.ErrorIs(t, v.Problems[0].Err, kvferry.ErrCorrupt)
		}
		c, err := capture.Check(t.Context(), s, capture.CheckOptions{})
		require.NoError(t, err)
		require.False(t, c.Sound())
		require.Equal(t, 2, c.Snapshots[0].PagesLost)
		e, err := synthetic.New(synthetic.Options{Meta: meta, Capacity: 4})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, e.Close()) })
		_, err = capture.Restore(t.Context(), s, root, e.With(synthetic.Releaser), capture.RestoreOptions{})
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
		require.Equal(t, 4, e.FreePages())
	}
}

// TestLenientReadersTellWhatTheyLeftOut: leaving a sequence out is allowed,
// hiding it is not.
func TestLenientReadersTellWhatTheyLeftOut(t *testing.T) {
	t.Parallel()
	s := newMem(t)
	e := populated(t, 4, 1, 1, 2, pager.BF16, 4, 1<<40)
	rep := takePF(t, e, s)
	text := string(readBlob(t, s, rep.Root))
	text = text[:len(text)-2] + `,{"id":"zz","page_ixs":[9],"fill_in_last_page":1}]}`
	root := putBlob(t, s, digest.SHA256, []byte(text))
	_, whole := content(t, e)
	_, err := capture.Verify(t.Context(), s, root, capture.VerifyOptions{})
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	c, err := capture.Check(t.Context(), s, capture.CheckOptions{})
	require.NoError(t, err)
	require.False(t, c.Sound(), "a check is strict")
	for _, h := range c.Snapshots {
		require.Equal(t, h.Entry.Root == root, h.Err != nil)
	}

	v, err := capture.Verify(t.Context(), s, root, capture.VerifyOptions{LoadOptions: capture.LoadOptions{Lenient: true}})
	require.NoError(t, err)
	require.Empty(t, v.Problems)
	require.Equal(t, len(whole), v.Sequences)
	require.Len(t, v.Omitted, 1)
	require.Equal(t, "zz", v.Omitted[0].ID)
	require.NotEmpty(t, v.Omitted[0].Why)
	x, err := capture.Convert(t.Context(), s, root, newMem(t), capture.ConvertOptions{Lenient: true, Format: cas.FormatNative})
	require.NoError(t, err)
	require.Equal(t, v.Omitted, x.Omitted)
	r, err := capture.Restore(t.Context(), s, root, fresh(t, e), capture.RestoreOptions{Lenient: true})
	require.NoError(t, err)
	require.Equal(t, v.Omitted, r.Omitted)
	require.Equal(t, len(whole), r.Sequences)
	r, err = capture.Restore(t.Context(), s, rep.Root, fresh(t, e), capture.RestoreOptions{Lenient: true})
	require.NoError(t, err)
	require.Empty(t, r.Omitted)
	_, err = capture.Restore(t.Context(), s, root, fresh(t, e), capture.RestoreOptions{Lenient: true, Sequences: []string{"zz"}})
	require.ErrorIs(t, err, kvferry.ErrNotFound)
}

// TestCheckReadsImages: a snapshot can do without its image, but not the
// collector, so that a check must not call the store sound.
func TestCheckReadsImages(t *testing.T) {
	t.Parallel()
	h, err := digest.NewHasher(digest.SHA256, nil)
	require.NoError(t, err)
	nothing := h.Sum(nil)
	for _, lose := range []func(capture.Report) digest.Digest{
		func(r capture.Report) digest.Digest { return r.ImageRoot },
		func(capture.Report) digest.Digest { return nothing },
	} {
		s := newMem(t)
		e := populated(t, 4, 1, 1, 2, pager.BF16, 4, 1<<40)
		rep, err := capture.Capture(t.Context(), e, s, capture.Options{Format: cas.FormatProcessFork, Image: &capture.Image{AgentKind: "x"}})
		require.NoError(t, err)
		c, err := capture.Check(t.Context(), s, capture.CheckOptions{})
		require.NoError(t, err)
		require.True(t, c.Sound(), "%+v", c)
		require.NoError(t, s.(cas.Quarantiner).Quarantine(t.Context(), lose(rep)))
		c, err = capture.Check(t.Context(), s, capture.CheckOptions{})
		require.NoError(t, err)
		require.False(t, c.Sound())
		require.Len(t, c.Bad, 1)
		require.Equal(t, rep.ImageRoot, c.Bad[0].Digest)
		require.ErrorIs(t, c.Bad[0].Err, kvferry.ErrNotFound)
		require.ErrorContains(t, c.Bad[0].Err, rep.Root.String())
		require.Zero(t, c.Snapshots[0].PagesLost, "the snapshot itself is whole")
	}
}

// TestManyLosses: a store that lost all is told page by page, and a table whose
// digests all begin alike is looked through: both in time that grows with the
// pages. (Work that grows with their square would take minutes.)
func TestManyLosses(t *testing.T) { // not parallel: others watch the heap
	const n = 100_000
	meta := pager.Meta{PageTokens: 1, Dtype: pager.BF16, Parts: []pager.Part{{Kind: pager.PartKV, Bytes: 4, Form: "x"}}}
	tb := manifest.NewTable(digest.BLAKE3, n, 1)
	seqs := []manifest.Sequence{{ID: "all"}, {ID: "last", Pages: []uint32{n - 1}}}
	for i := range n {
		var sum [digest.Size]byte
		binary.LittleEndian.PutUint32(sum[digest.Size-4:], uint32(i))
		tb.Set(i, 0, digest.New(digest.BLAKE3, sum))
		seqs[0].Pages = append(seqs[0].Pages, uint32(i))
	}
	s := newMem(t)
	root := published(t, s, manifest.Group{Meta: meta, Table: tb, Sequences: seqs})
	v, err := capture.Verify(t.Context(), s, root, capture.VerifyOptions{})
	require.NoError(t, err)
	require.EqualValues(t, n, v.Blobs)
	lost := func(losses []capture.Loss) {
		require.Len(t, losses, n)
		for i, l := range losses {
			want := []string{"all"}
			if i == n-1 {
				want = []string{"all", "last"}
			}
			if len(l.Pages) != 1 || l.Pages[0] != uint32(i) || fmt.Sprint(l.Sequences) != fmt.Sprint(want) {
				t.Fatalf("loss %d: %+v", i, l)
			}
		}
	}
	lost(v.Problems)
	c, err := capture.Check(t.Context(), s, capture.CheckOptions{})
	require.NoError(t, err)
	require.Equal(t, n, c.Snapshots[0].PagesLost)
	lost(c.Snapshots[0].Losses)
	d, err := capture.Diff(t.Context(), s, root, root, capture.LoadOptions{})
	require.NoError(t, err)
	require.Equal(t, n, d.SamePages)
	require.Zero(t, d.OnlyA+d.OnlyB)
}

// TestManySequencesOnOneLoss: the page that all sequences share is lost.
func TestManySequencesOnOneLoss(t *testing.T) { // not parallel: others watch the heap
	const n = 50_000
	meta := pager.Meta{PageTokens: 1, Dtype: pager.BF16, Parts: []pager.Part{{Kind: pager.PartKV, Bytes: 4, Form: "x"}}}
	tb := manifest.NewTable(digest.BLAKE3, 1, 1)
	tb.Set(0, 0, digest.New(digest.BLAKE3, [digest.Size]byte{1}))
	seqs := make([]manifest.Sequence, n)
	for i := range seqs {
		seqs[i] = manifest.Sequence{ID: fmt.Sprintf("%06d", i), Pages: []uint32{0, 0}}
	}
	s := newMem(t)
	root := published(t, s, manifest.Group{Meta: meta, Table: tb, Sequences: seqs})
	v, err := capture.Verify(t.Context(), s, root, capture.VerifyOptions{})
	require.NoError(t, err)
	require.Len(t, v.Problems, 1)
	require.Len(t, v.Problems[0].Sequences, n, "each once")
}

// TestUnlisted: page manifests that no catalog names are found by themselves,
// by Unlisted as by Check.
func TestUnlisted(t *testing.T) {
	t.Parallel()
	e := populated(t, 4, 1, 1, 2, pager.BF16, 4, 1<<40)
	d, _ := newDir(t)
	for kind, s := range map[string]cas.Store{"mem": newMem(t), "dir": d} {
		for _, f := range bothFormats() {
			_, err := capture.Capture(t.Context(), e, s, capture.Options{Format: f})
			require.NoError(t, err)
		}
		found, err := capture.Unlisted(t.Context(), s)
		require.NoError(t, err)
		require.Empty(t, found, "all are listed")

		x, err := s.Begin(t.Context(), cas.SessionOptions{})
		require.NoError(t, err)
		h, err := digest.NewHasher(digest.SHA256, nil)
		require.NoError(t, err)
		put := func(text string) digest.Digest {
			sum := h.Sum([]byte(text))
			_, err := x.Put(t.Context(), sum, []byte(text))
			require.NoError(t, err)
			return sum
		}
		page := put("\x01\x02\x03\x04").String()
		missing := "sha256:" + h.Sum([]byte("missing")).Hex()
		whole, torn := put(pfManifest(page, page)), put(pfManifest(page, missing))
		put("{")
		put(`{"layout":"paged-batchinvariant-v1"}`)
		found, err = capture.Unlisted(t.Context(), s)
		require.NoError(t, err)
		want := []cas.Entry{
			{Root: whole, Format: cas.FormatProcessFork, Pages: 1, Sequences: 1, Bytes: 8},
			{Root: torn, Format: cas.FormatProcessFork, Pages: 1, Sequences: 1, Bytes: 8},
		}
		if whole.Compare(torn) > 0 {
			want[0], want[1] = want[1], want[0]
		}
		require.Equal(t, want, found, kind)

		c, err := capture.Check(t.Context(), s, capture.CheckOptions{})
		require.NoError(t, err)
		require.False(t, c.Sound())
		require.Len(t, c.Snapshots, 4)
		for i, hl := range c.Snapshots {
			require.Equal(t, i >= 2, hl.Unlisted)
			require.NoError(t, hl.Err)
			require.Equal(t, hl.Entry.Root == torn, hl.PagesLost == 1, kind)
		}
		require.Equal(t, want, []cas.Entry{c.Snapshots[2].Entry, c.Snapshots[3].Entry}, kind)
		require.NoError(t, x.Abort(t.Context()))
	}
	found, err := capture.Unlisted(t.Context(), struct{ cas.Store }{d})
	require.NoError(t, err)
	require.Empty(t, found, "a store that cannot list its blobs")
}

// finding is a store that reports what it is told to.
type finding struct {
	cas.Store
	cas.Enumerator
	found []cas.Problem
}

func (f finding) Check(_ context.Context, report func(cas.Problem)) error {
	for _, p := range f.found {
		report(p)
	}
	return nil
}

// TestLeftoversAreNoDamage: what an ended process left behind is told apart.
func TestLeftoversAreNoDamage(t *testing.T) {
	t.Parallel()
	m := newMem(t)
	left := cas.Problem{Path: "tmp/1", Leftover: true, Err: kvferry.ErrCorrupt}
	bad := cas.Problem{Path: "names/x", Err: kvferry.ErrCorrupt}
	c, err := capture.Check(t.Context(), finding{m, m.(cas.Enumerator), []cas.Problem{left}}, capture.CheckOptions{})
	require.NoError(t, err)
	require.True(t, c.Sound())
	require.Equal(t, []cas.Problem{left}, c.Leftovers)
	require.Empty(t, c.Bad)
	c, err = capture.Check(t.Context(), finding{m, m.(cas.Enumerator), []cas.Problem{left, bad}}, capture.CheckOptions{})
	require.NoError(t, err)
	require.False(t, c.Sound())
	require.Equal(t, []cas.Problem{left}, c.Leftovers)
	require.Equal(t, []cas.Problem{bad}, c.Bad)
}

package capture_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

func TestMain(m *testing.M) {
	withoutHugePages()
	goleak.VerifyTestMain(m)
}

// populated returns an engine with n pages of the geometry P, L, H, D.
func populated(t testing.TB, p, l, h, d uint32, dt pager.Dtype, n int, seed uint64) *synthetic.Engine {
	t.Helper()
	m, err := pager.Plain(p, l, h, d, dt)
	require.NoError(t, err)
	e, err := synthetic.New(synthetic.Options{Meta: m, Capacity: 4 * (n + 16)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	require.NoError(t, e.Populate(n, seed))
	return e
}

// content returns an engine's pages and sequences.
func content(t testing.TB, p pager.Pager) (map[pager.PageID][]byte, []pager.LogicalSeq) {
	t.Helper()
	ids, err := p.OccupiedPages(t.Context())
	require.NoError(t, err)
	pages := make(map[pager.PageID][]byte, len(ids))
	for _, id := range ids {
		pages[id] = make([]byte, p.Meta().PageBytes())
		require.NoError(t, p.ReadPage(t.Context(), id, pages[id]))
	}
	seqs, err := p.LogicalSeqs(t.Context())
	require.NoError(t, err)
	return pages, seqs
}

// tokensOf returns the bytes of the sequence's pages in order.
func tokensOf(t testing.TB, p pager.Pager, id string) []byte {
	t.Helper()
	pages, seqs := content(t, p)
	for _, s := range seqs {
		if s.ID == id {
			var b bytes.Buffer
			for _, ix := range s.Pages {
				b.Write(pages[ix])
			}
			return b.Bytes()
		}
	}
	t.Fatalf("no sequence %q", id)
	return nil
}

func TestRoundTripIsExact(t *testing.T) {
	t.Parallel()
	for _, f := range []cas.Format{cas.FormatNative, cas.FormatProcessFork} {
		for _, ab := range []synthetic.Ability{synthetic.NoAbility, synthetic.Mover, synthetic.AllAbilities} {
			src := populated(t, 8, 4, 4, 8, pager.BF16, 64, 12345)
			s := newMem(t)
			rep, err := capture.Capture(t.Context(), src.With(ab), s, capture.Options{Format: f, Names: []string{"one"}})
			require.NoError(t, err)
			require.Equal(t, 64, rep.Pages)
			require.EqualValues(t, 64*4096, rep.Bytes)
			require.EqualValues(t, 64*4096, rep.NewBytes)
			entry, err := capture.Resolve(t.Context(), s, "one")
			require.NoError(t, err)
			require.Equal(t, rep.Root, entry.Root)

			dst := populated(t, 8, 4, 4, 8, pager.BF16, 0, 0)
			require.NoError(t, dst.InstallLogicalSeqs(t.Context(), nil))
			back, err := capture.Restore(t.Context(), s, rep.Root, dst.With(ab), capture.RestoreOptions{})
			require.NoError(t, err)
			require.Equal(t, 64, back.Pages)
			wantPages, wantSeqs := content(t, src)
			gotPages, gotSeqs := content(t, dst)
			require.Equal(t, wantPages, gotPages)
			require.Equal(t, wantSeqs, gotSeqs)

			again, err := capture.Capture(t.Context(), dst.With(ab), s, capture.Options{Format: f})
			require.NoError(t, err)
			require.Equal(t, rep.Root, again.Root)
			require.Zero(t, again.NewBytes)
		}
	}
}

func TestRestoreIntoABusyEngine(t *testing.T) {
	t.Parallel()
	src := populated(t, 4, 2, 2, 4, pager.BF16, 8, 99<<32)
	s := newMem(t)
	rep, err := capture.Capture(t.Context(), src, s, capture.Options{})
	require.NoError(t, err)
	busy := populated(t, 4, 2, 2, 4, pager.BF16, 5, 7<<32)
	before, _ := content(t, busy)

	_, err = capture.Restore(t.Context(), s, rep.Root, busy, capture.RestoreOptions{})
	require.ErrorIs(t, err, kvferry.ErrNotEmpty)
	_, err = capture.Restore(t.Context(), s, rep.Root, busy, capture.RestoreOptions{Busy: true, Sequences: []string{"nobody"}})
	require.ErrorIs(t, err, kvferry.ErrNotFound)

	id := "seq-seed-0000006300000000"
	back, err := capture.Restore(t.Context(), s, rep.Root, busy.With(synthetic.AllAbilities), capture.RestoreOptions{
		Busy: true, Sequences: []string{id}, Rename: func(string) string { return "guest" },
	})
	require.NoError(t, err)
	require.Equal(t, 8, back.Pages)
	require.Equal(t, tokensOf(t, src, id), tokensOf(t, busy, "guest"))
	after, seqs := content(t, busy)
	require.Len(t, seqs, 2)
	for ix, b := range before {
		require.Equal(t, b, after[ix], "page %d of the running sequence", ix)
	}
	_, err = capture.Restore(t.Context(), s, rep.Root, busy, capture.RestoreOptions{Busy: true, Rename: func(string) string { return "guest" }})
	require.ErrorIs(t, err, kvferry.ErrExists)
}

func TestVerifyDiffConvertCheck(t *testing.T) {
	t.Parallel()
	src := populated(t, 4, 2, 2, 4, pager.BF16, 8, 1<<32)
	s := newMem(t)
	a, err := capture.Capture(t.Context(), src, s, capture.Options{Names: []string{"a"}})
	require.NoError(t, err)
	require.NoError(t, src.WritePage(t.Context(), 3, bytes.Repeat([]byte{0xAA}, 256)))
	b, err := capture.Capture(t.Context(), src, s, capture.Options{Names: []string{"b"}})
	require.NoError(t, err)

	v, err := capture.Verify(t.Context(), s, b.Root, capture.VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, v.Problems)
	require.EqualValues(t, 15, v.Blobs, "K and V of the overwritten page are one blob")

	d, err := capture.Diff(t.Context(), s, a.Root, b.Root, capture.LoadOptions{})
	require.NoError(t, err)
	require.Equal(t, [3]int{7, 1, 1}, [3]int{d.SamePages, d.OnlyA, d.OnlyB})
	require.Equal(t, []capture.SequenceDiff{{
		ID: "seq-seed-0000000100000000", State: capture.Changed, TokensA: 30, TokensB: 30, CommonTokens: 12,
	}}, d.Sequences)

	to := newMem(t)
	pf, err := capture.Convert(t.Context(), s, a.Root, to, capture.ConvertOptions{Format: cas.FormatProcessFork})
	require.NoError(t, err)
	native, err := capture.Convert(t.Context(), to, pf.Root, s, capture.ConvertOptions{Format: cas.FormatNative})
	require.NoError(t, err)
	require.Equal(t, a.Root, native.Root)

	c, err := capture.Check(t.Context(), s, capture.CheckOptions{})
	require.NoError(t, err)
	require.True(t, c.Sound())
	require.Len(t, c.Snapshots, 2)
}

func TestResumeErrorKeepsTheSnapshot(t *testing.T) {
	t.Parallel()
	s := newMem(t)
	p := stuck{populated(t, 4, 2, 2, 4, pager.BF16, 8, 0)}
	rep, err := capture.Capture(t.Context(), p, s, capture.Options{})
	require.ErrorIs(t, err, kvferry.ErrClosed)
	require.True(t, rep.Root.Valid())
	v, err := capture.Verify(t.Context(), s, rep.Root, capture.VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, v.Problems)
}

// stuck is an engine that cannot be resumed.
type stuck struct{ pager.Pager }

func (stuck) Resume(context.Context) error { return kvferry.ErrClosed }

// newMem returns an empty store in memory.
func newMem(t testing.TB) cas.Store {
	t.Helper()
	s, err := mem.Open(mem.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

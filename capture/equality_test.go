package capture_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/host"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// TestAbilitiesChangeNothing: with every combination of abilities a capture
// has the same root, also when the store holds some or all of the pages, and a
// restore gives the same engine.
func TestAbilitiesChangeNothing(t *testing.T) {
	t.Parallel()
	for _, f := range bothFormats() {
		e := populated(t, 4, 2, 2, 4, pager.BF16, 0, 0)
		require.NoError(t, e.InstallLogicalSeqs(t.Context(), nil))
		branched(t, e, 20, 3<<40)
		wantPages, wantSeqs := content(t, e)
		var root digest.Digest
		for set := range synthetic.AllAbilities + 1 {
			s := newMem(t)
			o := capture.Options{Format: f, Transfer: capture.Transfer{Workers: 2, StagingBytes: 1 << 11, Allocator: new(countingAllocator)}}
			first, err := capture.Capture(t.Context(), e.With(set), s, o)
			require.NoError(t, err)
			require.True(t, !root.Valid() || root == first.Root, "abilities %05b", set)
			root = first.Root
			require.Zero(t, first.SkippedCopy)

			again, err := capture.Capture(t.Context(), e.With(set), s, o)
			require.NoError(t, err)
			require.Equal(t, root, again.Root)
			require.Zero(t, again.NewBlobs)
			if set&synthetic.Digester != 0 {
				require.Equal(t, again.Bytes, again.SkippedCopy, "pages that are known need no copy")
			} else {
				require.Zero(t, again.SkippedCopy)
			}

			dst := fresh(t, e)
			_, err = capture.Restore(t.Context(), s, root, dst.With(set), capture.RestoreOptions{
				KeepIndices: set&synthetic.Reserver != 0, Transfer: o.Transfer,
			})
			require.NoError(t, err)
			gotPages, gotSeqs := content(t, dst)
			if set&synthetic.Reserver != 0 {
				require.Equal(t, wantPages, gotPages)
				require.Len(t, gotSeqs, len(wantSeqs))
			}
			for _, q := range wantSeqs {
				require.True(t, slices.ContainsFunc(gotSeqs, func(g pager.LogicalSeq) bool {
					return g.ID == q.ID && len(g.Pages) == len(q.Pages) && g.FillInLastPage == q.FillInLastPage
				}))
				require.Equal(t, tokensOf(t, e, q.ID), tokensOf(t, dst, q.ID))
			}
		}
	}
}

// TestBoundsChangeNothing: neither the number of workers nor the size of the
// ring matters for the result, and the ring is what was asked for.
func TestBoundsChangeNothing(t *testing.T) {
	t.Parallel()
	e := populated(t, 4, 2, 2, 4, pager.BF16, 40, 9<<40)
	page := e.Meta().PageBytes()
	var root digest.Digest
	for _, set := range []synthetic.Ability{synthetic.NoAbility, synthetic.AllAbilities} {
		for workers := 1; workers <= 8; workers++ {
			for _, staging := range []int{1, page, page + 1, 3 * page, 1 << 20, 16 << 20} {
				s := newMem(t)
				tr := capture.Transfer{Workers: workers, StagingBytes: staging, Allocator: new(countingAllocator)}
				rep, err := capture.Capture(t.Context(), e.With(set), s, capture.Options{Transfer: tr})
				require.NoError(t, err)
				require.True(t, !root.Valid() || root == rep.Root)
				root = rep.Root
				dst := fresh(t, e)
				_, err = capture.Restore(t.Context(), s, root, dst.With(set), capture.RestoreOptions{Transfer: tr})
				require.NoError(t, err)
				want, _ := content(t, e)
				got, _ := content(t, dst)
				require.Equal(t, want, got)
			}
		}
	}
}

// shadow is an engine whose memory somebody else keeps: what the host pager
// asks for besides the bytes.
type shadow struct {
	*synthetic.Engine
	ids []pager.PageID
}

func (s *shadow) AllocatePages(ctx context.Context, n int) ([]pager.PageID, error) {
	ids, err := s.Engine.AllocatePages(ctx, n)
	s.ids = append(s.ids, ids...)
	return ids, err
}

func (s *shadow) OccupiedPages(context.Context) ([]pager.PageID, error) {
	return slices.Sorted(slices.Values(s.ids)), nil
}

// TestStrideOrdersChangeNothing: an engine's strides are not seen in a
// snapshot. One that was taken of any order is restored into any other.
func TestStrideOrdersChangeNothing(t *testing.T) {
	t.Parallel()
	const pages = 12
	e := populated(t, 4, 3, 2, 6, pager.BF16, 0, 0)
	require.NoError(t, e.InstallLogicalSeqs(t.Context(), nil))
	branched(t, e, pages-1, 5<<40)
	m := e.Meta()
	layouts := map[string]func() (*pager.Layout, error){
		"outermost":   func() (*pager.Layout, error) { return pager.KVOutermost(m, pages) },
		"per page":    func() (*pager.Layout, error) { return pager.KVPerPage(m, pages, false) },
		"heads first": func() (*pager.Layout, error) { return pager.KVPerPage(m, pages, true) },
		"packed":      func() (*pager.Layout, error) { return pager.KVPacked(m, pages) },
		"pools":       func() (*pager.Layout, error) { return pager.TokenPools(m, pages) },
	}
	for _, order := range pager.Orders() {
		layouts[order] = func() (*pager.Layout, error) { return pager.KVOrdered(m, pages, order) }
	}
	for _, f := range bothFormats() {
		s := newMem(t)
		rep, err := capture.Capture(t.Context(), e, s, capture.Options{Format: f, Transfer: capture.Transfer{StagingBytes: 1 << 12}})
		require.NoError(t, err)
		root := rep.Root
		images := map[string]string{}
		for name, layout := range layouts {
			l, err := layout()
			require.NoError(t, err)
			p, regions := hostPager(t, l)
			_, err = capture.Restore(t.Context(), s, root, p, capture.RestoreOptions{Transfer: capture.Transfer{StagingBytes: 1 << 12}})
			require.NoError(t, err, name)
			images[fmt.Sprint(regions)] = name
			again, err := capture.Capture(t.Context(), p, s, capture.Options{Format: f, Transfer: capture.Transfer{StagingBytes: 1 << 12}})
			require.NoError(t, err, name)
			require.Equal(t, root, again.Root, name)
		}
		require.GreaterOrEqual(t, len(images), 8, "the memories of the layouts differ")
	}
}

// hostPager returns an empty engine over memory of its own in the layout.
func hostPager(t testing.TB, l *pager.Layout) (p pager.Pager, regions [][]byte) {
	t.Helper()
	keep, err := synthetic.New(synthetic.Options{Meta: l.Meta, Capacity: l.Pages})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, keep.Close()) })
	for _, r := range l.Regions {
		regions = append(regions, make([]byte, r.Offset+r.Bytes))
	}
	p, err = host.New(host.Config{Layout: l, Regions: regions, Engine: &shadow{Engine: keep}})
	require.NoError(t, err)
	return p, regions
}

// TestForkSharesChunks: after a restore to other indices and a change of one
// page, a capture adds that page, the piece of the page table that names it,
// the index hints and the manifest, and nothing else.
func TestForkSharesChunks(t *testing.T) {
	t.Parallel()
	const pages = 3000
	tr := capture.Transfer{StagingBytes: 1 << 14}
	s := newMem(t)
	e := populated(t, 1, 1, 1, 8, pager.BF16, pages, 6<<40)
	first, err := capture.Capture(t.Context(), e, s, capture.Options{Transfer: tr})
	require.NoError(t, err)
	blobs := len(blobsOf(t, s))
	require.Equal(t, 2*pages+3+1+1, blobs, "pages, three pieces of the table, one of indices, the manifest")

	dst, err := synthetic.New(synthetic.Options{Meta: e.Meta(), Capacity: 5000})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dst.Close()) })
	_, err = dst.AllocatePages(t.Context(), 700)
	require.NoError(t, err)
	back, err := capture.Restore(t.Context(), s, first.Root, dst, capture.RestoreOptions{Transfer: tr})
	require.NoError(t, err)
	same, err := capture.Capture(t.Context(), dst, s, capture.Options{Transfer: tr})
	require.NoError(t, err)
	require.NotEqual(t, first.Root, same.Root, "the indices are others")
	require.Zero(t, same.NewBlobs)
	require.Len(t, blobsOf(t, s), blobs+1+1, "index hints and the manifest")

	page := make([]byte, dst.Meta().PageBytes())
	copy(page, "changed")
	require.NoError(t, dst.WritePage(t.Context(), back.Mappings[0].Restored[2500], page))
	fork, err := capture.Capture(t.Context(), dst, s, capture.Options{Transfer: tr})
	require.NoError(t, err)
	require.EqualValues(t, 2, fork.NewBlobs)
	require.Len(t, blobsOf(t, s), blobs+1+1+2+1+1, "K, V, one piece of the table, the manifest")
	d, err := capture.Diff(t.Context(), s, first.Root, fork.Root, capture.LoadOptions{})
	require.NoError(t, err)
	require.Equal(t, [3]int{pages - 1, 1, 1}, [3]int{d.SamePages, d.OnlyA, d.OnlyB})
	require.EqualValues(t, 2500, d.Sequences[0].CommonTokens)
}

// TestGroupsRoundTrip captures and restores an engine of several KV groups of
// different geometry, by name and in another order.
func TestGroupsRoundTrip(t *testing.T) {
	t.Parallel()
	a, b := populated(t, 4, 2, 2, 4, pager.BF16, 9, 1<<40), populated(t, 16, 1, 1, 3, pager.F32, 4, 1<<40)
	s := newMem(t)
	rep, err := capture.Groups(t.Context(), []capture.Group{{"full", a}, {"window", b.With(synthetic.AllAbilities)}}, s, capture.Options{})
	require.NoError(t, err)
	require.Equal(t, 13, rep.Pages)
	require.Equal(t, 1, rep.Sequences, "one sequence in two groups")
	da, db := fresh(t, a), fresh(t, b)
	back, err := capture.RestoreGroups(t.Context(), s, rep.Root, []capture.Group{{"window", db}, {"full", da.With(synthetic.Mover)}}, capture.RestoreOptions{})
	require.NoError(t, err)
	require.Equal(t, 13, back.Pages)
	for _, p := range [][2]*synthetic.Engine{{a, da}, {b, db}} {
		wantPages, wantSeqs := content(t, p[0])
		gotPages, gotSeqs := content(t, p[1])
		require.Equal(t, wantPages, gotPages)
		require.Equal(t, wantSeqs, gotSeqs)
	}
	_, err = capture.Convert(t.Context(), s, rep.Root, s, capture.ConvertOptions{Format: cas.FormatProcessFork})
	require.Error(t, err)
}

// TestChosenSequences restores every subset of an engine's sequences into an
// engine that runs others.
func TestChosenSequences(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newMem(t), sweepPages, synthetic.AllAbilities).stored(t, sweepPages+2, capture.Options{})
	all := []string{"left", "idle", "right"}
	seed := rand.Uint64()
	for subset := range 8 {
		var ids []string
		for i, id := range all {
			if subset&(1<<i) != 0 {
				ids = append(ids, id)
			}
		}
		if ids == nil {
			ids = []string{}
		}
		w := newWorld(t, w.inner, sweepPages, synthetic.Ability(seed>>subset)&synthetic.AllAbilities|synthetic.Releaser).stored(t, sweepPages+2, capture.Options{})
		before := w.condition(t)
		o := capture.RestoreOptions{Busy: true, Sequences: ids, Rename: func(id string) string { return "x" + id }, Transfer: w.transfer(2)}
		rep, err := capture.RestoreGroups(t.Context(), w.store, w.root, w.groups, o)
		require.NoError(t, err)
		require.Equal(t, len(ids), rep.Sequences)
		restored(t, w, o)
		after := w.condition(t)
		require.Equal(t, before.Free[0]-rep.Pages, after.Free[0])
		for id, b := range before.Pages[0] {
			require.Equal(t, b, after.Pages[0][id])
		}
	}
}

package capture_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// TestOutcomesOfCopies ends every batch of asynchronous copies as not started
// and as unknown. Copies of unknown end move their bytes when all is over:
// staging memory that was given back would be a crash, a page that was given
// back an error.
func TestOutcomesOfCopies(t *testing.T) {
	t.Parallel()
	var scs []scenario
	for _, sc := range slices.Concat(captures(), restores()) {
		w := sc.world(t)
		if slices.ContainsFunc(w.books, func(p *faultPager) bool { return p.has.Mover != nil }) {
			scs = append(scs, sc)
		}
	}
	require.GreaterOrEqual(t, len(scs), 20)
	sweepAll(t, scs, notStarted, unknown)
}

// TestPagesOfAnUnknownCopyAreNeverReused restores again after a copy without a
// known end, which goes on writing to its pages.
func TestPagesOfAnUnknownCopyAreNeverReused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newMem(t), sweepPages, synthetic.Releaser|synthetic.Mover).stored(t, sweepPages+2, capture.Options{})
	before := w.condition(t)
	o := capture.RestoreOptions{Busy: true, Rename: func(id string) string { return "first " + id }, Transfer: w.transfer(1)}
	restore := func() (capture.RestoreReport, error) {
		return capture.RestoreGroups(t.Context(), w.store, w.root, w.groups, o)
	}
	w.calls.failFirst("wait", errUnknown)
	_, err := restore()
	require.ErrorIs(t, err, kvferry.ErrUnknownOutcome)
	w.calls.disarm()
	fenced := w.books[0].fenced
	require.NotEmpty(t, fenced)
	require.Positive(t, w.alloc.live.Load(), "staging memory of the copy stays")
	after := w.condition(t)
	require.Equal(t, before.Seqs, after.Seqs)
	require.Equal(t, before.Free[0]-len(fenced), after.Free[0])

	rep, err := restore()
	require.NoError(t, err)
	for _, to := range rep.Mappings[0].Restored {
		require.False(t, fenced[to], "page %d", to)
	}
	require.Positive(t, w.moveLate(t))
	restored(t, w, o)
	w.balanced(t)
}

// TestUndoGoesOnAfterAnError: when cleaning up fails too, both errors are
// told, the sequences are as before and the engine runs.
func TestUndoGoesOnAfterAnError(t *testing.T) {
	t.Parallel()
	for _, groups := range [][]synthetic.Ability{{synthetic.Releaser}, {synthetic.Releaser, synthetic.Releaser}} {
		w := newWorld(t, newMem(t), sweepPages, groups...).stored(t, sweepPages, capture.Options{})
		before := w.condition(t)
		w.books[0].has.Releaser = refusing{}
		w.calls.failFirst("write", errMarker)
		_, err := capture.RestoreGroups(t.Context(), w.store, w.root, w.groups, capture.RestoreOptions{
			Busy: true, Rename: func(id string) string { return "x" + id }, Transfer: w.transfer(1),
		})
		require.ErrorIs(t, err, errMarker)
		require.ErrorIs(t, err, kvferry.ErrDeviceLost)
		w.calls.disarm()
		w.balanced(t)
		after := w.condition(t)
		require.Equal(t, before.Seqs, after.Seqs)
		for i := 1; i < len(groups); i++ {
			require.Equal(t, before.Free[i], after.Free[i], "the other group is cleaned up")
		}
		require.Equal(t, before.Entries, after.Entries)
	}
}

// refusing is an engine that cannot take pages back.
type refusing struct{}

func (refusing) ReleasePages(context.Context, []pager.PageID) error { return kvferry.ErrDeviceLost }

// TestEngineThatAllocatesBadly: an engine that hands out a page twice, or too
// few, is refused, and gets back what it handed out.
func TestEngineThatAllocatesBadly(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func([]pager.PageID) []pager.PageID{
		"twice":   func(ids []pager.PageID) []pager.PageID { ids[1] = ids[0]; return ids },
		"too few": func(ids []pager.PageID) []pager.PageID { return ids[1:] },
	} {
		w := newWorld(t, newMem(t), 0, synthetic.Releaser).stored(t, sweepPages, capture.Options{})
		a := pager.AbilitiesOf(w.groups[0].Pager)
		w.groups[0].Pager = pager.Compose(misallocating{w.groups[0].Pager, change}, a)
		_, err := capture.RestoreGroups(t.Context(), w.store, w.root, w.groups, capture.RestoreOptions{Transfer: w.transfer(1)})
		require.ErrorIs(t, err, kvferry.ErrInvalid, name)
		w.balanced(t)
		_, seqs := content(t, w.engines[0])
		require.Empty(t, seqs)
		require.Equal(t, 6-1, w.books[0].released, name)
	}
}

type misallocating struct {
	pager.Pager
	change func([]pager.PageID) []pager.PageID
}

func (m misallocating) AllocatePages(ctx context.Context, n int) ([]pager.PageID, error) {
	ids, err := m.Pager.AllocatePages(ctx, n)
	if err != nil {
		return nil, err
	}
	return m.change(ids), nil
}

// TestDigesterIsChecked: a digest that an engine computed is held against the
// bytes that arrive.
func TestDigesterIsChecked(t *testing.T) {
	t.Parallel()
	for _, set := range []synthetic.Ability{synthetic.Digester, synthetic.AllAbilities} {
		e := populated(t, 4, 2, 2, 4, pager.BF16, 4, 1)
		s := newMem(t)
		a := pager.AbilitiesOf(e.With(set))
		other := populated(t, 4, 2, 2, 4, pager.BF16, 4, 2<<32)
		a.Digester = pager.AbilitiesOf(other.With(synthetic.Digester)).Digester
		_, err := capture.Capture(t.Context(), pager.Compose(only{e}, a), s, capture.Options{})
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
		entries, err := s.Catalog().Entries(t.Context())
		require.NoError(t, err)
		require.Empty(t, entries)
		stats, err := s.(cas.Stater).Stats(t.Context())
		require.NoError(t, err)
		require.Zero(t, stats.Sessions)
	}
}

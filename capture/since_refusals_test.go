package capture_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/identity"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// TestSinceRefuses: a base that cannot be one is refused before the engine is
// paused, and nothing is left behind.
func TestSinceRefuses(t *testing.T) {
	t.Parallel()
	key, foreign := digest.DeriveKey([]byte("ours")), digest.DeriveKey([]byte("theirs"))
	who := identity.Identity{Model: "m"}
	type options = capture.Options
	other := func(t testing.TB) pager.Pager { return populated(t, 4, 2, 2, 8, pager.BF16, 3, 1<<40) }
	for name, c := range map[string]struct {
		base   options
		taken  options
		engine func(t testing.TB) pager.Pager // of the base; nil: the captured one
		want   error
	}{
		"another layout":        {options{}, options{}, other, kvferry.ErrLayoutMismatch},
		"another format":        {options{Format: cas.FormatProcessFork}, options{}, nil, kvferry.ErrInvalid},
		"another format, back":  {options{}, options{Format: cas.FormatProcessFork}, nil, kvferry.ErrInvalid},
		"keyed":                 {options{Key: &key}, options{}, nil, kvferry.ErrInvalid},
		"not keyed":             {options{}, options{Key: &key}, nil, kvferry.ErrInvalid},
		"another key":           {options{Key: &key}, options{Key: &foreign}, nil, kvferry.ErrCorrupt},
		"another identity":      {options{Identity: who}, options{Identity: identity.Identity{Model: "n"}}, nil, kvferry.ErrIdentityMismatch},
		"no identity":           {options{Identity: who}, options{}, nil, kvferry.ErrIdentityMismatch},
		"identity of something": {options{}, options{Identity: who}, nil, kvferry.ErrIdentityMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, newMem(t), sweepPages, synthetic.AllAbilities)
			base := w.groups[0].Pager
			if c.engine != nil {
				base = c.engine(t)
			}
			rep, err := capture.Capture(t.Context(), base, w.inner, c.base)
			require.NoError(t, err)
			c.taken.Since = rep.Root
			w.refusesSince(t, c.taken, c.want)
		})
	}
}

// refusesSince expects a capture to fail before it pauses an engine.
func (w *world) refusesSince(t testing.TB, o capture.Options, want error) {
	t.Helper()
	before, pauses := w.condition(t), w.engines[0].Pauses()
	_, err := capture.Groups(t.Context(), w.groups, w.store, o)
	require.ErrorIs(t, err, want)
	require.Equal(t, before, w.condition(t))
	require.Equal(t, pauses, w.engines[0].Pauses())
	w.balanced(t)
}

// TestSinceRefusesGroups: other KV groups are another layout.
func TestSinceRefusesGroups(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newMem(t), sweepPages, synthetic.AllAbilities, synthetic.AllAbilities)
	one, err := capture.Groups(t.Context(), w.groups[:1], w.inner, capture.Options{})
	require.NoError(t, err)
	w.refusesSince(t, capture.Options{Since: one.Root}, kvferry.ErrLayoutMismatch)
	w.groups[1].Name = "c"
	two, err := capture.Groups(t.Context(), w.groups, w.inner, capture.Options{})
	require.NoError(t, err)
	w.groups[1].Name = "b"
	w.refusesSince(t, capture.Options{Since: two.Root}, kvferry.ErrLayoutMismatch)
}

// TestSinceOfADamagedBase: a base whose manifest or page table cannot be read
// is refused; of one whose pages are gone these are copied anew.
func TestSinceOfADamagedBase(t *testing.T) {
	t.Parallel()
	for _, view := range []synthetic.Ability{synthetic.Digester, synthetic.AllAbilities} {
		w := newWorld(t, newMem(t), sweepPages, view)
		rep, err := capture.Groups(t.Context(), w.groups, w.inner, capture.Options{})
		require.NoError(t, err)
		o := capture.Options{Since: rep.Root}
		snap, _, err := capture.Load(t.Context(), w.inner, rep.Root, capture.LoadOptions{})
		require.NoError(t, err)
		parts := map[digest.Digest]bool{}
		table := snap.Groups[0].Table
		for i := range 2 * table.Pages() {
			parts[table.Digest(i/2, i%2)] = true
		}

		// Pages 1 and 4 lose a part each.
		q := w.inner.(cas.Quarantiner)
		require.NoError(t, q.Quarantine(t.Context(), table.Digest(1, 0)))
		require.NoError(t, q.Quarantine(t.Context(), table.Digest(4, 1)))
		healed, err := capture.Groups(t.Context(), w.groups, w.inner, o)
		require.NoError(t, err)
		require.Equal(t, rep.Root, healed.Root)
		require.Equal(t, [2]int{rep.Pages, 2}, [2]int{healed.Unchanged, healed.CopiedPages})
		require.EqualValues(t, 2, healed.NewBlobs)
		w.verify(t, healed.Root)

		// The chunks of the base, then its root.
		var docs []digest.Digest
		entry := cas.Entry{Root: rep.Root, Format: cas.FormatNative}
		require.NoError(t, capture.References(w.inner, nil)(t.Context(), entry, func(d digest.Digest) error {
			if !parts[d] {
				docs = append(docs, d)
			}
			return nil
		}))
		require.Len(t, docs, 3)
		for _, d := range docs {
			require.NoError(t, q.Quarantine(t.Context(), d))
			w.refusesSince(t, o, kvferry.ErrNotFound)
			_, err := capture.Groups(t.Context(), w.groups, w.inner, capture.Options{})
			require.NoError(t, err, "without a base, which stores the chunk anew")
		}
	}
	w := newWorld(t, newMem(t), sweepPages, synthetic.AllAbilities)
	w.refusesSince(t, capture.Options{Since: digest.New(digest.BLAKE3, [digest.Size]byte{1})}, kvferry.ErrNotFound)
}

// answering is a Comparer that changes what another one answers.
type answering struct {
	pager.Digester
	change func(changed []int, sums []digest.Digest) ([]int, []digest.Digest, error)
}

func (a answering) ComparePages(ctx context.Context, al digest.Algorithm, key *digest.Key, ids []pager.PageID, want []digest.Digest, changed []int, sums []digest.Digest) ([]int, []digest.Digest, error) {
	changed, sums, err := a.Digester.(pager.Comparer).ComparePages(ctx, al, key, ids, want, changed, sums)
	if err != nil {
		return changed, sums, err
	}
	return a.change(changed, sums)
}

// TestComparerIsChecked: an answer that cannot be one is damage, and so are
// digests that the bytes do not have. The engine goes on and nothing is
// published.
func TestComparerIsChecked(t *testing.T) {
	t.Parallel()
	type sums = []digest.Digest
	wrong := digest.New(digest.BLAKE3, [digest.Size]byte{1})
	lost := errors.New("lost")
	for name, c := range map[string]struct {
		change func(changed []int, s sums) ([]int, sums, error)
		want   error
	}{
		"an error":         {func(c []int, s sums) ([]int, sums, error) { return c, s, lost }, lost},
		"too few digests":  {func(c []int, s sums) ([]int, sums, error) { return c, s[1:], nil }, kvferry.ErrCorrupt},
		"too many digests": {func(c []int, s sums) ([]int, sums, error) { return c, append(s, s[0]), nil }, kvferry.ErrCorrupt},
		"descending":       {func(c []int, s sums) ([]int, sums, error) { c[0], c[1] = c[1], c[0]; return c, s, nil }, kvferry.ErrCorrupt},
		"twice":            {func(c []int, s sums) ([]int, sums, error) { c[1] = c[0]; return c, s, nil }, kvferry.ErrCorrupt},
		"negative":         {func(c []int, s sums) ([]int, sums, error) { c[0] = -1; return c, s, nil }, kvferry.ErrCorrupt},
		"beyond":           {func(c []int, s sums) ([]int, sums, error) { c[1] = 99; return c, s, nil }, kvferry.ErrCorrupt},
		"no digest":        {func(c []int, s sums) ([]int, sums, error) { s[1] = digest.Digest{}; return c, s, nil }, kvferry.ErrCorrupt},
		"another algorithm": {func(c []int, s sums) ([]int, sums, error) {
			s[0] = digest.New(digest.SHA256, s[0].Sum())
			return c, s, nil
		}, kvferry.ErrCorrupt},
		"a wrong digest":     {func(c []int, s sums) ([]int, sums, error) { s[1] = wrong; return c, s, nil }, kvferry.ErrCorrupt},
		"a new page is none": {func(c []int, s sums) ([]int, sums, error) { return c[:1], s[:2], nil }, kvferry.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, o := comparedWorld(t, c.change)
			before := w.condition(t)
			_, err := capture.Groups(t.Context(), w.groups, w.store, o)
			require.ErrorIs(t, err, c.want)
			require.Equal(t, before, w.condition(t))
			w.balanced(t)
			require.Zero(t, w.alloc.live.Load())
		})
	}
}

// comparedWorld returns an engine in which page 2 changed and the last page is
// new since a snapshot, and whose Comparer's answers go through change.
func comparedWorld(t testing.TB, change func([]int, []digest.Digest) ([]int, []digest.Digest, error)) (*world, capture.Options) {
	t.Helper()
	w := newWorld(t, newMem(t), sweepPages, synthetic.Digester)
	rep, err := capture.Groups(t.Context(), w.groups, w.inner, capture.Options{})
	require.NoError(t, err)
	touch(t, w.engines[0], 2)
	newPages(t, w.engines[0], 1)
	a := pager.AbilitiesOf(w.groups[0].Pager)
	a.Digester = answering{a.Digester, change}
	w.groups[0].Pager = pager.Compose(only{w.groups[0].Pager}, a)
	return w, capture.Options{Since: rep.Root, Transfer: w.transfer(1)}
}

// TestWhatAComparerHides: a page that the engine wrongly calls unchanged keeps
// the bytes of the base, and only where these are gone it shows.
func TestWhatAComparerHides(t *testing.T) {
	t.Parallel()
	w, o := comparedWorld(t, func(c []int, s []digest.Digest) ([]int, []digest.Digest, error) {
		return c[1:], s[2:], nil // not a word about page 2
	})
	rep, err := capture.Groups(t.Context(), w.groups, w.store, o)
	require.NoError(t, err)
	w.verify(t, rep.Root)
	base, _, err := capture.Load(t.Context(), w.inner, o.Since, capture.LoadOptions{})
	require.NoError(t, err)
	snap, _, err := capture.Load(t.Context(), w.inner, rep.Root, capture.LoadOptions{})
	require.NoError(t, err)
	require.Equal(t, base.Groups[0].Table.Row(2), snap.Groups[0].Table.Row(2))

	require.NoError(t, w.inner.(cas.Quarantiner).Quarantine(t.Context(), base.Groups[0].Table.Digest(2, 1)))
	_, err = capture.Groups(t.Context(), w.groups, w.store, o)
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	w.balanced(t)
}

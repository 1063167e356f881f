package capture_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// waiting is an engine of which one call, the n-th of its kind, comes back only
// when its context is done.
type waiting struct {
	pager.Pager
	has  pager.Abilities
	op   string
	left int // calls before it
	// untyped makes the answer tell nothing of the context, as that of an engine
	// that gave its own work up does.
	untyped bool
}

// waits returns the engine with the abilities of p.
func waits(p pager.Pager, op string, n int) (*waiting, pager.Pager) {
	h := &waiting{Pager: p, has: pager.AbilitiesOf(p), op: op, left: n - 1}
	a := h.has
	if a.Digester != nil {
		a.Digester = h
	}
	return h, pager.Compose(only{h}, a)
}

func (h *waiting) at(ctx context.Context, op string) error {
	if h.op != op {
		return nil
	}
	if h.left > 0 {
		h.left--
		return nil
	}
	<-ctx.Done()
	if h.untyped {
		return fmt.Errorf("8 pages are still under way: %w", kvferry.ErrUnknownOutcome)
	}
	return fmt.Errorf("%s: %w", op, ctx.Err())
}

func (h *waiting) ReadPage(ctx context.Context, id pager.PageID, dst []byte) error {
	return errors.Join(h.at(ctx, "read"), h.Pager.ReadPage(context.WithoutCancel(ctx), id, dst))
}

func (h *waiting) WritePage(ctx context.Context, id pager.PageID, src []byte) error {
	return errors.Join(h.at(ctx, "write"), h.Pager.WritePage(context.WithoutCancel(ctx), id, src))
}

func (h *waiting) DigestPages(ctx context.Context, a digest.Algorithm, key *digest.Key, ids []pager.PageID, dst []digest.Digest) error {
	return errors.Join(h.at(ctx, "digest"), h.has.Digester.DigestPages(context.WithoutCancel(ctx), a, key, ids, dst))
}

func (h *waiting) ComparePages(ctx context.Context, a digest.Algorithm, key *digest.Key, ids []pager.PageID, want []digest.Digest, changed []int, sums []digest.Digest) ([]int, []digest.Digest, error) {
	if err := h.at(ctx, "compare"); err != nil {
		return changed, sums, err
	}
	return h.has.Digester.(pager.Comparer).ComparePages(context.WithoutCancel(ctx), a, key, ids, want, changed, sums)
}

// hungFor is the deadline of the batch that hangs. The others need some
// microseconds.
const hungFor = 200 * time.Millisecond

// TestHungEngineEndsACapture: whatever call of an engine hangs, the capture
// ends, says why, resumes the engine and publishes nothing.
func TestHungEngineEndsACapture(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		set     synthetic.Ability
		op      string
		n       int
		mover   bool // of a second group
		untyped bool
	}{
		"digest":         {set: synthetic.Digester, op: "digest", n: 1},
		"digest/untyped": {set: synthetic.Digester, op: "digest", n: 1, untyped: true},
		"compare":        {set: synthetic.Digester, op: "compare", n: 1},
		"read":           {set: synthetic.NoAbility, op: "read", n: 1},
		"read/last":      {set: synthetic.NoAbility, op: "read", n: 12},
		"read/feed":      {set: synthetic.NoAbility, op: "read", n: 3, mover: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := populated(t, 4, 2, 2, 4, pager.BF16, 12, 1<<40)
			s := newMem(t)
			o := capture.Options{Names: []string{"hung"}, Transfer: capture.Transfer{Workers: 1, CopyDeadline: hungFor}}
			if tc.op == "compare" {
				before, err := capture.Groups(t.Context(), []capture.Group{{Name: "a", Pager: e}}, s, capture.Options{})
				require.NoError(t, err)
				o.Since = before.Root
			}
			h, p := waits(e.With(tc.set), tc.op, tc.n)
			h.untyped = tc.untyped
			groups := []capture.Group{{Name: "a", Pager: p}}
			if tc.mover {
				other := populated(t, 4, 2, 2, 4, pager.BF16, 12, 2<<40)
				groups = append(groups, capture.Group{Name: "b", Pager: other.With(synthetic.Mover)})
			}
			_, err := capture.Groups(t.Context(), groups, s, o)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorContains(t, err, "not done within the copy deadline of 200ms")
			require.NotErrorIs(t, err, context.Canceled, "nobody gave up")
			require.Equal(t, tc.untyped, errors.Is(err, kvferry.ErrUnknownOutcome), "%v", err)
			require.False(t, e.Paused())
			_, err = capture.Resolve(t.Context(), s, "hung")
			require.ErrorIs(t, err, kvferry.ErrNotFound)

			h.op, o.CopyDeadline = "", 0 // it goes on, and so does its caller
			_, err = capture.Groups(t.Context(), groups, s, o)
			require.NoError(t, err)
		})
	}
}

// TestHungEngineEndsARestore: the pages are given back.
func TestHungEngineEndsARestore(t *testing.T) {
	t.Parallel()
	e := populated(t, 4, 2, 2, 4, pager.BF16, 12, 1<<40)
	s := newMem(t)
	rep, err := capture.Capture(t.Context(), e, s, capture.Options{})
	require.NoError(t, err)
	for _, n := range []int{1, 12} {
		dst := fresh(t, e)
		h, p := waits(dst.With(synthetic.Releaser), "write", n)
		o := capture.RestoreOptions{Transfer: capture.Transfer{Workers: 1, CopyDeadline: hungFor}}
		_, err = capture.Restore(t.Context(), s, rep.Root, p, o)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "not done within the copy deadline of 200ms")
		require.NotErrorIs(t, err, context.Canceled)
		require.False(t, dst.Paused())
		ids, err := dst.OccupiedPages(t.Context())
		require.NoError(t, err)
		require.Empty(t, ids)

		h.op, o.CopyDeadline = "", 0
		_, err = capture.Restore(t.Context(), s, rep.Root, p, o)
		require.NoError(t, err)
	}
}

// TestHungEngineIsLeftByItsCaller: a caller that gives up first is told so.
func TestHungEngineIsLeftByItsCaller(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"digest", "read"} {
		e := populated(t, 4, 2, 2, 4, pager.BF16, 12, 1<<40)
		_, p := waits(e.With(synthetic.Digester), op, 1)
		gone := errors.New("the caller went home")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Millisecond, func() { cancel(gone) })
		_, err := capture.Capture(ctx, p, newMem(t), capture.Options{Transfer: capture.Transfer{CopyDeadline: time.Hour}})
		require.Error(t, err)
		require.NotErrorIs(t, err, context.DeadlineExceeded, op)
		require.False(t, e.Paused())
	}
}

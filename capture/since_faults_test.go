package capture_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// incrementals are the scenarios of a capture since another one: both formats,
// one and two groups, and every way to know what changed.
func incrementals() []scenario {
	var scs []scenario
	const all = synthetic.AllAbilities
	for _, f := range bothFormats() {
		for _, sets := range [][]synthetic.Ability{{synthetic.NoAbility}, {synthetic.Digester}, {all}, {synthetic.Digester, all}} {
			if len(sets) > 1 && f != cas.FormatNative {
				continue
			}
			for _, workers := range []int{1, 3} {
				scs = append(scs, incrementalScenario(f, workers, sets))
			}
		}
	}
	return scs
}

func incrementalScenario(f cas.Format, workers int, sets []synthetic.Ability) scenario {
	return scenario{
		name: fmt.Sprintf("incremental/format=%s/abilities=%05b/workers=%d", f, sets, workers),
		world: func(t testing.TB) *world {
			w := newWorld(t, newMem(t), sweepPages, sets...)
			o := capture.Options{Format: f, Names: []string{"latest"}, Transfer: w.transfer(1)}
			before, err := capture.Groups(t.Context(), unwrapped(w), w.inner, o)
			require.NoError(t, err)
			w.root = before.Root
			for _, e := range w.engines {
				touch(t, e, 1)
				touch(t, e, 4)
			}
			return w
		},
		run: func(ctx context.Context, w *world) error {
			rep, err := capture.Groups(ctx, w.groups, w.store, capture.Options{
				Since: w.root, Format: f, Names: []string{"latest"}, Transfer: w.transfer(workers),
			})
			if err == nil && rep.Unchanged != rep.Pages-2*len(w.groups) {
				return fmt.Errorf("%d of %d pages unchanged: %w", rep.Unchanged, rep.Pages, kvferry.ErrInvalid)
			}
			return err
		},
		done: func(t testing.TB, w *world) {
			e, err := capture.Resolve(t.Context(), w.inner, "latest")
			require.NoError(t, err)
			w.verify(t, e.Root)
			full, err := capture.Groups(t.Context(), unwrapped(w), newMem(t), capture.Options{Format: f})
			require.NoError(t, err)
			require.Equal(t, full.Root, e.Root)
		},
		keeps: func(call string) bool { return call == "resume" },
	}
}

// TestFaultSweepIncremental fails, crashes and cancels every call of a capture
// since another one.
func TestFaultSweepIncremental(t *testing.T) {
	t.Parallel()
	sweepAll(t, incrementals(), failing, panicking, cancelling)
}

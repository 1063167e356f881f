package capture_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/pager/synthetic"
)

const sweepPages = 5 // of the engine in every scenario

// captures are the scenarios of Capture: both formats, one and two groups,
// every combination of abilities that capture makes use of.
func captures() []scenario {
	var scs []scenario
	const all = synthetic.AllAbilities
	for _, f := range []cas.Format{cas.FormatNative, cas.FormatProcessFork} {
		for _, sets := range [][]synthetic.Ability{
			{synthetic.NoAbility}, {synthetic.Mover}, {synthetic.Digester}, {all}, {synthetic.NoAbility, all},
		} {
			if len(sets) > 1 && f != cas.FormatNative {
				continue
			}
			for _, workers := range []int{1, 3} {
				scs = append(scs, captureScenario(f, workers, sets))
			}
		}
	}
	return scs
}

func captureScenario(f cas.Format, workers int, sets []synthetic.Ability) scenario {
	return scenario{
		name: fmt.Sprintf("capture/format=%s/abilities=%05b/workers=%d", f, sets, workers),
		world: func(t testing.TB) *world {
			w := newWorld(t, newMem(t), sweepPages, sets...)
			// An older snapshot holds the name and some of the pages.
			before, err := capture.Groups(t.Context(), unwrapped(w)[:1], w.inner, capture.Options{Names: []string{"latest"}, Transfer: w.transfer(1)})
			require.NoError(t, err)
			w.root = before.Root
			require.NoError(t, w.engines[0].WritePage(t.Context(), 1, make([]byte, 256)))
			return w
		},
		run: func(ctx context.Context, w *world) error {
			rep, err := capture.Groups(ctx, w.groups, w.store, capture.Options{
				Format: f, Names: []string{"latest"}, Transfer: w.transfer(workers),
			})
			if err == nil && !rep.Root.Valid() {
				return fmt.Errorf("a report without a root: %+v", rep)
			}
			return err
		},
		done: func(t testing.TB, w *world) {
			e, err := capture.Resolve(t.Context(), w.inner, "latest")
			require.NoError(t, err)
			require.NotEqual(t, w.root, e.Root)
			w.verify(t, e.Root)
		},
		keeps: func(call string) bool { return call == "resume" },
	}
}

// unwrapped returns the world's groups without counters.
func unwrapped(w *world) []capture.Group {
	var gs []capture.Group
	for i, g := range w.groups {
		gs = append(gs, capture.Group{Name: g.Name, Pager: w.engines[i]})
	}
	return gs
}

// restores are the scenarios of Restore.
func restores() []scenario {
	const rel, all = synthetic.Releaser, synthetic.AllAbilities
	type options struct {
		name    string
		engine  int // pages that the engine holds
		sets    []synthetic.Ability
		options capture.RestoreOptions
		format  cas.Format
	}
	rename := func(id string) string { return "guest " + id }
	busy := capture.RestoreOptions{Busy: true, Rename: rename}
	chosen := capture.RestoreOptions{Busy: true, Rename: rename, Sequences: []string{"right", "idle"}}
	var scs []scenario
	for _, o := range []options{
		{"empty", 0, []synthetic.Ability{rel}, capture.RestoreOptions{}, cas.FormatNative},
		{"empty-processfork", 0, []synthetic.Ability{rel}, capture.RestoreOptions{}, cas.FormatProcessFork},
		{"empty-mover", 0, []synthetic.Ability{rel | synthetic.Mover}, capture.RestoreOptions{}, cas.FormatNative},
		{"empty-no-releaser", 0, []synthetic.Ability{0}, capture.RestoreOptions{}, cas.FormatNative},
		{"keep-indices", 0, []synthetic.Ability{all}, capture.RestoreOptions{KeepIndices: true}, cas.FormatProcessFork},
		{"busy", sweepPages, []synthetic.Ability{rel}, busy, cas.FormatNative},
		{"busy-no-releaser", sweepPages, []synthetic.Ability{synthetic.Mover}, busy, cas.FormatNative},
		{"busy-chosen", sweepPages, []synthetic.Ability{all}, chosen, cas.FormatProcessFork},
		{"groups", 0, []synthetic.Ability{rel, all}, capture.RestoreOptions{}, cas.FormatNative},
		{"groups-busy", sweepPages, []synthetic.Ability{all, rel}, chosen, cas.FormatNative},
	} {
		for i, workers := range []int{1, 3, 1, 3} {
			batches := i > 1
			scs = append(scs, scenario{
				name: fmt.Sprintf("restore/%s/workers=%d/batches=%t", o.name, workers, batches),
				world: func(t testing.TB) *world {
					return newWorld(t, reading(t, batches), o.engine, o.sets...).stored(t, sweepPages+2, capture.Options{Format: o.format})
				},
				run: func(ctx context.Context, w *world) error {
					ro := o.options
					ro.Transfer = w.transfer(workers)
					_, err := capture.RestoreGroups(ctx, w.store, w.root, w.groups, ro)
					return err
				},
				done:   func(t testing.TB, w *world) { restored(t, w, o.options) },
				strays: o.sets[0]&rel == 0,
				once:   o.sets[0]&rel == 0,
			})
		}
	}
	return scs
}

// reading returns a store that reads batches, or one that does not.
func reading(t testing.TB, batches bool) cas.Store {
	if batches {
		return newBatch(t)
	}
	return newMem(t)
}

// restored checks that the world's engine holds what it held and the snapshot.
func restored(t testing.TB, w *world, o capture.RestoreOptions) {
	t.Helper()
	for i, e := range w.engines {
		src := populated(t, 4, 2, 2, 4, e.Meta().Dtype, 0, 0)
		branched(t, src, sweepPages+2, 77<<40+uint64(i)<<32)
		ids := o.Sequences
		if ids == nil {
			ids = []string{"left", "idle", "right"}
		}
		_, seqs := content(t, e)
		want := len(ids)
		if o.Busy {
			want += 3
		}
		require.Len(t, seqs, want)
		for _, id := range ids {
			name := id
			if o.Rename != nil {
				name = o.Rename(id)
			}
			require.Equal(t, tokensOf(t, src, id), tokensOf(t, e, name))
		}
	}
}

// readers are the scenarios of what only reads, and of Convert.
func readers() []scenario {
	var scs []scenario
	for i, f := range append(bothFormats(), bothFormats()...) {
		batches := i > 1
		fresh := func(t testing.TB) *world {
			w := newWorld(t, reading(t, batches), 0, 0)
			w.stored(t, sweepPages, capture.Options{Format: f, Names: []string{"b"}})
			return w.stored(t, sweepPages+2, capture.Options{Format: f, Names: []string{"a"}})
		}
		add := func(name string, run func(ctx context.Context, w *world) error) {
			scs = append(scs, scenario{
				name: fmt.Sprintf("%s/format=%s/batches=%t", name, f, batches), world: fresh, run: run, done: func(testing.TB, *world) {},
			})
		}
		add("verify", func(ctx context.Context, w *world) error {
			v, err := capture.Verify(ctx, w.store, w.root, capture.VerifyOptions{Workers: 2})
			if err != nil {
				return err
			}
			return problems(v.Problems)
		})
		add("check", func(ctx context.Context, w *world) error {
			c, err := capture.Check(ctx, w.store, capture.CheckOptions{Workers: 2})
			if err != nil {
				return err
			}
			return unhealthy(c)
		})
		add("diff", func(ctx context.Context, w *world) error {
			b, err := capture.Resolve(ctx, w.store, "b")
			if err != nil {
				return err
			}
			_, err = capture.Diff(ctx, w.store, w.root, b.Root, capture.LoadOptions{})
			return err
		})
		add("resolve-prefix", func(ctx context.Context, w *world) error {
			_, err := capture.Resolve(ctx, w.store, w.root.Hex()[:20])
			return err
		})
		add("collect", func(ctx context.Context, w *world) error {
			_, err := w.inner.(cas.Collector).Collect(ctx, cas.CollectOptions{References: capture.References(w.store, nil)})
			return err
		})
		for _, to := range []cas.Format{cas.FormatNative, cas.FormatProcessFork} {
			add("convert-to-"+string(to), func(ctx context.Context, w *world) error {
				_, err := capture.Convert(ctx, w.store, w.root, w.store, capture.ConvertOptions{Format: to, Workers: 2})
				return err
			})
		}
	}
	return scs
}

// TestFaultSweepCapture fails, crashes and cancels every call of a capture.
func TestFaultSweepCapture(t *testing.T) {
	t.Parallel()
	sweepAll(t, captures(), failing, panicking, cancelling)
}

// TestFaultSweepRestore fails, crashes and cancels every call of a restore.
func TestFaultSweepRestore(t *testing.T) {
	t.Parallel()
	sweepAll(t, restores(), failing, panicking, cancelling)
}

// TestFaultSweepReaders fails and cancels every call of Verify, Check, Diff,
// Resolve, Convert and a collection.
func TestFaultSweepReaders(t *testing.T) {
	t.Parallel()
	sweepAll(t, readers(), failing, cancelling)
}

package indextest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// statefulSteps is how many random operations a run has.
const statefulSteps = 300

// Stateful makes random operations on the index under test and on the Model, in
// lockstep and under all rules, and requires equal results. A run that fails is
// shortened before it is told. KVFERRY_SOAK=1 makes more.
func Stateful(t *testing.T, c Config) {
	steps, runs := statefulSteps, 2
	if c.Slow || racing {
		runs = 1
	}
	if racing {
		steps /= 3 // in one goroutine
	}
	if soaking() {
		steps, runs = 10*steps, 20
	}
	for _, rule := range rules() {
		t.Run(rule.String(), func(t *testing.T) {
			t.Parallel()
			for i := range runs {
				seed := runSeed(t, uint64(i))
				ops := randomOps(seed, steps, c.Reopen != nil)
				at, err := lockstep(t, c, rule, ops)
				if err == nil {
					continue
				}
				ops = shorten(ops[:at+1], func(ops []op) bool {
					_, err := lockstep(t, c, rule, ops)
					return err != nil
				})
				_, short := lockstep(t, c, rule, ops)
				require.Fail(t, "not like the model", "seed %d, operation %d: %v\nshortened:\n%s\n%v", seed, at, err, listed(ops), short)
			}
		})
	}
}

func randomOps(seed uint64, n int, reopens bool) []op {
	u := newUniverse(seed)
	ops := make([]op, n)
	for i := range ops {
		switch {
		case reopens && u.IntN(25) == 0:
			ops[i] = op{kind: opReopen}
		case u.IntN(100) == 0:
			ops[i] = op{kind: opFlush}
		case u.IntN(2) == 0:
			ops[i] = u.write()
		default:
			ops[i] = u.read()
		}
	}
	return ops
}

// lockstep applies operations to a new index and a new model, and returns the
// first that told them apart and how.
func lockstep(t *testing.T, c Config, rule index.Rules, ops []op) (int, error) {
	t.Helper()
	p := &pair{t: t, c: c, options: index.Options{Rules: rule}, model: NewModel(index.Options{Rules: rule})}
	p.index = c.Open(t, p.options)
	defer func() { require.NoError(t, p.index.Close()) }()
	for i, o := range ops {
		if err := p.step(o); err != nil {
			return i, fmt.Errorf("%v: %w", o, err)
		}
		if i%20 == 0 || i == len(ops)-1 {
			if err := p.compare(); err != nil {
				return i, fmt.Errorf("after %v: %w", o, err)
			}
		}
	}
	return 0, nil
}

// pair is an index and the model that it has to be like.
type pair struct {
	t       *testing.T
	c       Config
	options index.Options
	model   *Model
	index   index.Index
}

// step applies an operation to both.
func (p *pair) step(o op) error {
	ctx := p.t.Context()
	if o.kind == opReopen {
		p.model.Reopen()
		p.index = p.c.Reopen(p.t, p.index, p.options)
		return nil
	}
	before, err := seqs(ctx, p.model, p.index)
	if err != nil {
		return err
	}
	want, got := o.apply(ctx, p.model), o.apply(ctx, p.index)
	if err := same(&want, &got); err != nil {
		return err
	}
	after, err := seqs(ctx, p.model, p.index)
	if err != nil {
		return err
	}
	did, must := after[1]-before[1], after[0]-before[0]
	if did != must && !(must == 0 && did == 1 && changing(o)) {
		return fmt.Errorf("the number of the newest change grew by %d instead of %d", did, must)
	}
	return nil
}

// changing reports whether an operation may number a change though it found
// nothing to change.
func changing(o op) bool {
	switch o.kind {
	case opRemove, opClearWorker, opClear, opExpire, opAnnounce:
		return true
	}
	return false
}

// seqs returns the numbers of the newest changes.
func seqs(ctx context.Context, xs ...index.Index) ([]uint64, error) {
	out := make([]uint64, len(xs))
	for i, x := range xs {
		m, err := x.Metrics(ctx)
		if err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
		out[i] = m.Seq
	}
	return out, nil
}

// compare compares all that can be seen of both.
func (p *pair) compare() error {
	for _, kind := range []opKind{opSnapshot, opWorkers, opMetrics} {
		o := op{kind: kind}
		want, got := o.apply(p.t.Context(), p.model), o.apply(p.t.Context(), p.index)
		for i := range want.workers {
			// Whether a worker of which nothing was heard is stale cannot be seen where it
			// has no record that could be.
			if w := &want.workers[i]; !w.Stale && i < len(got.workers) && p.model.unconfirmed(w.Name) {
				w.Stale = got.workers[i].Stale
			}
		}
		if err := same(&want, &got); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

// shorten returns a shorter list of operations that still fails, if it finds one
// in a bounded number of tries.
func shorten(ops []op, fails func([]op) bool) []op {
	tries := 300
	for size := len(ops) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(ops) && tries > 0; tries-- {
			if less := slices.Delete(slices.Clone(ops), at, at+size); fails(less) {
				ops = less
			} else {
				at += size
			}
		}
	}
	return ops
}

func listed(ops []op) string {
	var b strings.Builder
	for i, o := range ops {
		fmt.Fprintf(&b, "  %d. %v\n", i, o)
	}
	return b.String()
}

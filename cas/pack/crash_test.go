package pack

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/vfs"
)

// crashScale is how many times longer than the short form a test runs.
func crashScale() int {
	n, err := strconv.Atoi(os.Getenv("KVFERRY_SOAK"))
	if err != nil {
		return 0
	}
	return n
}

// crashModes are what the end of all processes may leave, with the power gone
// and, nil, without.
func crashModes(seed uint64) []*vfs.CrashOptions {
	return []*vfs.CrashOptions{
		{Mode: vfs.LoseAll}, {Mode: vfs.Random, Seed: seed}, {Mode: vfs.KeepAll}, {Mode: vfs.Garbage, Seed: seed}, nil,
		{Mode: vfs.Random, Seed: seed + 1}, {Mode: vfs.Garbage, Seed: seed + 1},
	}
}

func crashLeave(d *vfs.Disk, c *vfs.CrashOptions) *vfs.Disk {
	if c == nil {
		return d.Snapshot()
	}
	return d.Crash(*c)
}

// crashMaking is how many operations at most make a store: each is looked at.
const crashMaking = 40

// crashRun is one life of a store.
type crashRun struct {
	w        *crashWorld
	seed     uint64
	every    int // so many operations are between two that are looked at
	modes    int // in how many ways each of those ends
	k        int
	step     string
	crashes  int
	failures []error
}

// hook is called before each operation on the disk.
func (r *crashRun) hook(ctx context.Context) func(op, path string) {
	return func(op, path string) {
		r.w.mu.Lock()
		defer r.w.mu.Unlock()
		r.k++
		making := r.k <= crashMaking && r.modes > 0
		if !making && (r.k+int(r.seed))%r.every != 0 || len(r.failures) > 3 {
			return
		}
		modes := crashModes(r.seed<<32 + uint64(r.k))
		for i := range r.modes {
			c := modes[(r.k/r.every+i)%len(modes)]
			r.crashes++
			if err := r.w.survives(ctx, crashLeave(r.w.disk, c)); err != nil {
				r.failures = append(r.failures, fmt.Errorf("seed %d, operation %d, %s %s, in %s, %+v: %w", r.seed, r.k, op, path, r.step, c, err))
			}
		}
	}
}

// live lets two processes do steps, of which some are ends of processes and
// power failures.
func (r *crashRun) live(ctx context.Context, steps int) error {
	w := r.w
	hook := r.hook(ctx)
	w.disk.Before(hook)
	r.step = "opening"
	for i := range w.hosts {
		if err := w.start(i); err != nil {
			return err
		}
	}
	for n := range steps {
		if err := r.one(ctx, hook, n); err != nil {
			return fmt.Errorf("seed %d, step %d, %s: %w", r.seed, n, r.step, err)
		}
		if len(r.failures) > 0 {
			break
		}
	}
	r.step = "closing"
	for _, h := range w.hosts {
		if err := h.s.Close(); err != nil {
			return err
		}
	}
	w.disk.Before(nil)
	return nil
}

func (r *crashRun) one(ctx context.Context, hook func(op, path string), n int) error {
	w := r.w
	w.clock.Add(1e9)
	i := w.dice.IntN(len(w.hosts))
	switch x := w.dice.IntN(40); {
	case x == 0:
		r.step = "opening again"
		w.notes[r.step]++
		if err := w.hosts[i].s.Close(); err != nil {
			return err
		}
		return w.start(i)
	case x == 1:
		r.step = "opening after a kill"
		w.notes[r.step]++
		w.kill(i)
		return w.start(i)
	case x == 2:
		r.step = "opening after a power failure"
		w.notes[r.step]++
		return w.power(vfs.CrashOptions{Mode: vfs.CrashMode(w.dice.IntN(4)), Seed: r.seed + uint64(n)}, hook)
	}
	all := 0
	for _, s := range crashSteps {
		all += s.often
	}
	x := w.dice.IntN(all)
	for _, s := range crashSteps {
		if x -= s.often; x < 0 {
			r.step = s.name
			w.notes[r.step]++
			return s.do(ctx, w, w.hosts[i])
		}
	}
	return nil
}

func crashPatient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	return ctx
}

func TestCrashScenario(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		r := &crashRun{w: newCrashWorld(seed), seed: seed, every: 1 << 40}
		require.NoError(t, r.live(crashPatient(t), 100))
		t.Log(r.k, r.w.notes)
	}
}

func TestCrashAtOperations(t *testing.T) {
	t.Parallel()
	every, seeds, modes := 61, uint64(2), 1
	if n := crashScale(); n > 0 {
		every, seeds, modes = 7, uint64(n*8), 3
	}
	crashes, operations := 0, 0
	for seed := range seeds {
		r := &crashRun{w: newCrashWorld(seed), seed: seed, every: every, modes: modes}
		err := r.live(crashPatient(t), 60)
		require.Empty(t, r.failures)
		require.NoError(t, err)
		crashes, operations = crashes+r.crashes, operations+r.k
	}
	t.Logf("%d crashes at %d operations", crashes, operations)
}

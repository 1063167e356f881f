package pack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/internal/vfs"
)

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

// crashWeight tells how likely a crash before an operation is to find a fault:
// not at all if nothing has to be on the disk for it.
func crashWeight(op, path string) int {
	switch op {
	case "fsync", "fsyncdir", "rename", "unlink", "truncate":
		return 3
	case "create", "mkdir", "write", "allocate":
		if strings.HasPrefix(path, streamsDir) {
			return 0
		}
		return 1
	}
	return 0
}

// crashRun is one life of a store.
type crashRun struct {
	w        *crashWorld
	seed     uint64
	every    int // so many operations are between two that are looked at, by their weight
	passed   int
	looked   int
	modes    int // in how many ways each of those ends
	again    int // so many operations of a recovery are between two at which the power fails again; 0 for never
	k        int
	step     string
	crashes  int
	failures []error

	recoveries int
}

// hook is called before each operation on the disk.
func (r *crashRun) hook(ctx context.Context) func(op, path string) {
	return func(op, path string) {
		r.w.mu.Lock()
		defer r.w.mu.Unlock()
		r.k++
		weight := crashWeight(op, path)
		making := r.again == 0 && r.k <= crashMaking
		if !making {
			r.passed += weight
		}
		if weight == 0 || r.modes == 0 || !making && r.passed < r.every || len(r.failures) > 3 {
			return
		}
		r.passed %= r.every
		modes := crashModes(r.seed<<32 + uint64(r.k))
		r.looked++
		for i := range r.modes {
			c := modes[(r.looked+i)%len(modes)]
			d := crashLeave(r.w.disk, c)
			look := r.survives
			if r.again > 0 {
				look = r.recovers
			}
			if err := look(ctx, d); err != nil {
				r.failures = append(r.failures, fmt.Errorf("seed %d, operation %d, %s %s, in %s, %+v: %w", r.seed, r.k, op, path, r.step, c, err))
			}
		}
	}
}

func (r *crashRun) survives(ctx context.Context, d *vfs.Disk) error {
	r.crashes++
	return r.w.survives(ctx, d)
}

// recovers opens what a power failure left, and collects, while the power fails
// again and again.
func (r *crashRun) recovers(ctx context.Context, d *vfs.Disk) error {
	r.recoveries++
	var mu sync.Mutex
	var failures []error
	k, looked := r.recoveries%r.again, 0 // not always the same ones
	d.Before(func(op, path string) {
		mu.Lock()
		defer mu.Unlock()
		if k += crashWeight(op, path); k < r.again || crashWeight(op, path) == 0 || len(failures) > 0 {
			return
		}
		k %= r.again
		looked++
		modes := crashModes(uint64(r.k)<<20 + uint64(looked))
		c := modes[(looked+r.recoveries)%len(modes)]
		if err := r.survives(ctx, crashLeave(d, c)); err != nil {
			failures = append(failures, fmt.Errorf("then at place %d of the recovery, %s %s, %+v: %w", looked, op, path, c, err))
		}
	})
	s, err := Open("recovering", r.w.options(d.Process()))
	if err != nil {
		return err
	}
	_, err = s.Collect(ctx, cas.CollectOptions{References: crashReferences(s)})
	err = errors.Join(err, s.Close())
	mu.Lock()
	defer mu.Unlock()
	return errors.Join(append(failures, err)...)
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

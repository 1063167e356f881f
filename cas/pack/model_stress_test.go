package pack

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// TestStressSoak lets goroutines do everything at once with two stores of one
// directory: write, drop, read, cache, collect, replace the log and look at it.
func TestStressSoak(t *testing.T) {
	t.Parallel()
	rounds := 60
	if underRace {
		rounds = 20
	}
	if n := modelSoak(t); n > 0 {
		rounds = 2000 * n
	}
	w := &stress{t: t, root: t.TempDir(), rounds: rounds}
	if shm, err := os.MkdirTemp("/dev/shm", "kvferry-stress-"); err == nil { //nolint:usetesting // in memory, where nothing waits for a disk and more happens at once
		t.Cleanup(func() { _ = os.RemoveAll(shm) }) // it is in memory
		w.root = shm
	}
	w.run()
	s, err := Open(w.root, childOptions())
	require.NoError(t, err)
	kept := w.wantWhole(s)
	for range 2 {
		_, err = s.Collect(t.Context(), cas.CollectOptions{References: modelReferences(s)})
		require.NoError(t, err)
	}
	w.wantWhole(s)
	st, err := s.Stats(t.Context())
	require.NoError(t, err)
	require.Zero(t, st.Quarantined)
	require.Zero(t, st.Sessions)
	logs := s.journal.Generation()
	require.NoError(t, s.Close())

	o := childOptions()
	o.ReadOnly = true
	s, err = Open(w.root, o)
	require.NoError(t, err)
	modelTidy(t, s, kept)
	require.NoError(t, s.Close())
	t.Logf("stress: %d snapshots committed, %d read, %d collections, %d logs, %d batches cached", w.committed.Load(), w.read.Load(), w.collected.Load(), logs, w.cached.Load())
}

// stress is what the goroutines share.
type stress struct {
	t      *testing.T
	root   string
	rounds int
	ended  atomic.Int64 // writers

	committed, read, collected, cached atomic.Int64
	snapshots                          [stressWriters][]digest.Digest // that should be there
}

const stressWriters = 6

func (w *stress) run() {
	g, ctx := errgroup.WithContext(w.t.Context())
	var stores []*Store
	for i := range 2 {
		s, err := Open(w.root, childOptions())
		require.NoError(w.t, err)
		stores = append(stores, s)
		for k := range stressWriters / 2 {
			number := i + 2*k
			g.Go(func() error {
				defer w.ended.Add(1)
				return w.write(ctx, w.child(s, number), number)
			})
		}
		for k, job := range []func(context.Context, *child) error{w.reader, w.reader, w.collect, w.cache, w.look} {
			c := w.child(s, 100*i+10+k)
			g.Go(func() error {
				for w.ended.Load() < stressWriters {
					if err := job(ctx, c); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	require.NoError(w.t, g.Wait())
	for _, s := range stores {
		require.NoError(w.t, s.Close())
	}
}

func (w *stress) child(s *Store, seed int) *child {
	return &child{root: w.root, s: s, r: rand.New(rand.NewPCG(uint64(seed), 5)), say: func(string, ...any) {}}
}

// write commits and drops snapshots.
func (w *stress) write(ctx context.Context, c *child, number int) error {
	var own []digest.Digest
	for range w.rounds {
		if len(own) > 6 {
			i := c.r.IntN(len(own))
			if err := c.drop(ctx, own[i]); err != nil {
				return err
			}
			own = append(own[:i], own[i+1:]...)
			continue
		}
		root, err := c.commit(ctx, number)
		if err != nil {
			return err
		}
		if root.Valid() {
			own = append(own, root)
			w.committed.Add(1)
		}
	}
	w.snapshots[number] = own
	return nil
}

// reader reads a snapshot, which may be dropped meanwhile.
func (w *stress) reader(ctx context.Context, c *child) error {
	r, err := cas.NewReader(c.s, nil)
	if err != nil {
		return err
	}
	entries, err := c.s.Catalog().Entries(ctx)
	if err != nil || len(entries) == 0 {
		return err
	}
	root := entries[c.r.IntN(len(entries))].Root
	if err := readWhole(ctx, r, root); err != nil && c.listed(ctx, root) {
		return err
	}
	w.read.Add(1)
	return nil
}

func (w *stress) collect(ctx context.Context, c *child) error {
	_, err := c.s.Collect(ctx, cas.CollectOptions{References: modelReferences(c.s), DryRun: c.r.IntN(8) == 0})
	w.collected.Add(1)
	return err
}

func (w *stress) cache(ctx context.Context, c *child) error {
	w.cached.Add(1)
	return c.cache(ctx)
}

// look does what takes long or stops others.
func (w *stress) look(ctx context.Context, c *child) error {
	var problems []error
	var err error
	if c.r.IntN(6) == 0 {
		err = c.s.checkpoint(ctx)
	}
	report := func(p cas.Problem) {
		if !p.Leftover {
			problems = append(problems, p.Err)
		}
	}
	err = errors.Join(err, c.s.Check(ctx, report))
	_, serr := c.s.Stats(ctx)
	for _, berr := range c.s.Blobs(ctx) {
		err = errors.Join(err, berr)
	}
	return errors.Join(append(problems, err, serr)...)
}

// wantWhole requires that the snapshots of all writers are there, and returns
// what they need.
func (w *stress) wantWhole(s *Store) map[digest.Digest]bool {
	entries, err := s.Catalog().Entries(w.t.Context())
	require.NoError(w.t, err)
	listed, want, needed := map[digest.Digest]bool{}, map[digest.Digest]bool{}, map[digest.Digest]bool{}
	r, err := cas.NewReader(s, nil)
	require.NoError(w.t, err)
	for _, e := range entries {
		listed[e.Root] = true
		require.NoError(w.t, readWhole(w.t.Context(), r, e.Root))
		require.NoError(w.t, modelReferences(s)(w.t.Context(), e, func(d digest.Digest) error { needed[d] = true; return nil }))
	}
	for _, own := range w.snapshots {
		for _, root := range own {
			want[root] = true
		}
	}
	require.Equal(w.t, want, listed)
	return needed
}

package journal_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas/pack/internal/journal"
	"github.com/kvferry/kvferry/internal/vfs"
)

// TestManyAtOnce has goroutines of several journals append, follow and write
// checkpoints on real files at once.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	const rounds = 40
	ctx := patient(t)
	dir := t.TempDir()
	data := osFS(t, dir)
	require.NoError(t, writeAll(data, dataFile, ""))
	var stores [3]*store
	for i := range stores {
		s, err := openStore(ctx, osFS(t, dir), journal.Options{})
		require.NoError(t, err)
		stores[i] = s
	}
	var wait sync.WaitGroup
	errs := make(chan error, 100)
	for i, s := range stores {
		var mu sync.Mutex // of the state s
		for g := range 2 {
			wait.Go(func() {
				for k := range rounds {
					if err := one(ctx, s, &mu, i, g, k); err != nil {
						errs <- err
						return
					}
				}
			})
		}
	}
	reads := watch(t, dir, &wait)
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	for _, s := range stores {
		require.NoError(t, s.renew(ctx, s.j.Follow(ctx, s.apply)))
		require.Len(t, s.have, len(stores)*2*rounds)
		for g := range len(stores) * 2 {
			last := -1
			for _, p := range s.list {
				var i, j, k int
				if _, err := fmt.Sscanf(p, "g%d-%d-%d", &i, &j, &k); err == nil && i*2+j == g {
					require.Equal(t, last+1, k, "in order")
					last = k
				}
			}
		}
		require.NoError(t, s.j.Close())
	}
	require.Positive(t, reads)
}

func one(ctx context.Context, s *store, mu *sync.Mutex, i, g, k int) error {
	mu.Lock()
	defer mu.Unlock()
	s.j.Fresh()
	if k%8 == 7 && g == 0 {
		err := s.checkpoint(ctx, func() error { return nil })
		if err != nil && !errors.Is(err, journal.ErrMoved) {
			return err
		}
	}
	return s.commit(ctx, k%4 == 0, fmt.Sprintf("g%d-%d-%d", i, g, k))
}

// watch follows, read-only, until wait is over, and returns how much it read.
func watch(t *testing.T, dir string, wait *sync.WaitGroup) int64 {
	t.Helper()
	var n atomic.Int64
	var done atomic.Bool
	var finished sync.WaitGroup
	fs := osFS(t, dir)
	finished.Go(func() {
		for !done.Load() {
			if err := watchOnce(t.Context(), fs, &done, &n); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wait.Wait()
	done.Store(true)
	finished.Wait()
	return n.Load()
}

func watchOnce(ctx context.Context, fs vfs.FS, done *atomic.Bool, n *atomic.Int64) error {
	j, err := journal.Open(ctx, journal.Options{FS: fs, StoreID: storeID, ReadOnly: true})
	if err != nil {
		return err
	}
	last := uint64(0)
	apply := func(x journal.Tx) error {
		if last != 0 && x.Seq != last+1 {
			return fmt.Errorf("%d follows %d", x.Seq, last)
		}
		last = x.Seq
		n.Add(1)
		return nil
	}
	for i := 0; err == nil && (i == 0 || i < 50 && !done.Load()); i++ {
		err = j.Follow(ctx, apply)
	}
	if errors.Is(err, journal.ErrRebased) {
		err = nil
	}
	if d := j.Damage(); err == nil && d != nil {
		err = fmt.Errorf("damage: %v", d)
	}
	return errors.Join(err, j.Close())
}

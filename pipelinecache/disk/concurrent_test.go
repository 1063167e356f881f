package disk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache/disk"
)

// uniform tells whether b is n copies of one byte.
func uniform(b []byte, n int) bool {
	return len(b) == n && bytes.Count(b, b[:1]) == n
}

// problems collects what goroutines find.
type problems struct {
	mu   sync.Mutex
	errs []error
}

func (p *problems) note(err error) {
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.errs = append(p.errs, err)
	}
}

// look gets an artifact that is a number of copies of one byte, or a miss.
func look(ctx context.Context, s *disk.Store, k, n int) (hit bool, err error) {
	got, err := s.Get(ctx, key(k))
	switch {
	case errors.Is(err, kvferry.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case !uniform(got, n):
		return false, fmt.Errorf("a torn artifact of %d bytes", len(got))
	}
	return true, nil
}

// TestHundredWritersAndReader: 100 writers of one fingerprint, 64 KiB each, and
// a reader that looks 10,000 times: whatever it sees is whole.
func TestHundredWritersAndReader(t *testing.T) {
	t.Parallel()
	const bytesEach = 64 << 10
	s := open(t, t.TempDir(), disk.Options{})
	var (
		wg    sync.WaitGroup
		found problems
		hits  atomic.Int64
	)
	for w := range 100 {
		wg.Go(func() {
			for range 5 {
				found.note(s.Put(t.Context(), key(0), bytes.Repeat([]byte{byte(w)}, bytesEach)))
			}
		})
	}
	wg.Go(func() {
		for range looks {
			hit, err := look(t.Context(), s, 0, bytesEach)
			found.note(err)
			if hit {
				hits.Add(1)
			}
		}
	})
	wg.Wait()
	require.Empty(t, found.errs)
	require.Positive(t, hits.Load())
	hit, err := look(t.Context(), s, 0, bytesEach)
	require.NoError(t, err)
	require.True(t, hit)
	require.NoError(t, s.Flush(t.Context()))
}

// TestFiftyTimesFifty: 50 putters and 50 getters over 5 fingerprints of 128 KiB,
// with and without a budget for 3 of them.
func TestFiftyTimesFifty(t *testing.T) {
	t.Parallel()
	const bytesEach = 128 << 10
	for _, budget := range []int64{0, 3 * (bytesEach + 38)} {
		t.Run(fmt.Sprintf("budget=%d", budget), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			s := open(t, root, disk.Options{BudgetBytes: budget})
			var wg sync.WaitGroup
			var found problems
			for w := range 50 {
				wg.Go(func() {
					for i := range 10 {
						found.note(s.Put(t.Context(), key((w+i)%5), bytes.Repeat([]byte{byte(w)}, bytesEach)))
					}
				})
				wg.Go(func() {
					for i := range 10 {
						_, err := look(t.Context(), s, (w+i)%5, bytesEach)
						found.note(err)
					}
				})
			}
			wg.Go(func() { found.note(s.Flush(t.Context())) })
			wg.Wait()
			require.Empty(t, found.errs)
			m := s.Metrics()
			require.Equal(t, uint64(500), m.Puts)
			require.Equal(t, uint64(500), m.Lookups)
			if budget > 0 {
				require.Equal(t, uint64(3), m.Entries)
				require.Len(t, names(t, root), 3)
			} else {
				require.Len(t, names(t, root), 5)
			}
		})
	}
}

// TestOwnArtifacts: 8 goroutines read back what each of them put, of 32
// fingerprints each.
func TestOwnArtifacts(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), disk.Options{})
	var wg sync.WaitGroup
	var found problems
	for w := range 8 {
		wg.Go(func() {
			for i := range 32 {
				k := w*32 + i
				found.note(s.Put(t.Context(), key(k), noise(uint64(k), 500)))
				got, err := s.Get(t.Context(), key(k))
				found.note(err)
				if !bytes.Equal(got, noise(uint64(k), 500)) {
					found.note(fmt.Errorf("key %d: not what was put", k))
				}
			}
		})
	}
	wg.Wait()
	require.Empty(t, found.errs)
	require.Equal(t, uint64(256), s.Metrics().Hits)
}

// TestOutlivesItsCreator: who made a store may forget it while a worker uses it.
func TestOutlivesItsCreator(t *testing.T) {
	t.Parallel()
	work, done := make(chan *disk.Store), make(chan error)
	go func() {
		s := <-work
		err := s.Put(t.Context(), key(1), []byte("artifact"))
		_, miss := s.Get(t.Context(), key(1))
		done <- errors.Join(err, miss, s.Flush(t.Context()), s.Close())
	}()
	func() {
		s, err := disk.Open(t.TempDir(), disk.Options{})
		require.NoError(t, err)
		work <- s
	}()
	runtime.GC() // nothing but the worker refers to it
	require.NoError(t, <-done)
}

// TestDamageBesideWriters keeps damaging a file that others write and read: a
// reader that sets it aside must not lose more than the damaged one.
func TestDamageBesideWriters(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	a, b := open(t, root, disk.Options{}), open(t, root, disk.Options{})
	var wg sync.WaitGroup
	var found problems
	for i, s := range []*disk.Store{a, b} {
		wg.Go(func() {
			for range 300 {
				found.note(s.Put(t.Context(), key(0), bytes.Repeat([]byte{byte(i)}, 5000)))
			}
		})
		wg.Go(func() {
			for range 300 {
				if _, err := look(t.Context(), s, 0, 5000); !errors.Is(err, kvferry.ErrCorrupt) {
					found.note(err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 100 {
			found.note(damageInPlace(file(root, key(0))))
		}
	})
	wg.Wait()
	require.Empty(t, found.errs)
	put(t, a, key(0), []byte("last"))
	requireHas(t, b, key(0), []byte("last"))
}

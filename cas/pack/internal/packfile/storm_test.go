package packfile_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/internal/vfs"
)

// storm fails operations at random.
type storm struct {
	mu   sync.Mutex
	dice *rand.Rand
}

func (s *storm) hook(op, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch op {
	case "write", "fsync", "fsyncdir", "allocate", "create", "truncate", "close", "stat", "flock":
		if s.dice.IntN(25) == 0 {
			return []error{syscall.EIO, syscall.ENOSPC}[s.dice.IntN(2)]
		}
	}
	return nil
}

// TestStorm lets several goroutines write while anything may fail at any time.
// What Sync and Check vouch for survives a power failure; every pack is lost at
// most once.
func TestStorm(t *testing.T) {
	t.Parallel()
	lost := 0
	for seed := range uint64(12) {
		d := makeDisk(t)
		told := losses{from: map[uint64]int64{}}
		o := options(vfs.WithFaults(d.Process(), (&storm{dice: rand.New(rand.NewPCG(seed, 1))}).hook), seed%2 == 0)
		o.PackBytes, o.BufferBytes, o.Lost = 200<<10, 8<<10, told.lost
		l := packfile.NewLane(o)
		const writers = 4
		var kept [writers][]blob
		var wg sync.WaitGroup
		for w := range uint64(writers) {
			wg.Go(func() { kept[w] = weather(t, l, seed<<16|w<<8) })
		}
		wg.Wait()
		_ = l.Close(t.Context()) // whatever failed last
		r := openReader(t, d.Crash(vfs.CrashOptions{Seed: seed, Mode: vfs.CrashMode(seed % 2 * 2)}).Process(), false)
		n := 0
		for _, blobs := range kept {
			requireStored(t, r, blobs...)
			n += len(blobs)
			for _, b := range blobs {
				require.False(t, told.has(b.at))
			}
		}
		require.Greater(t, n, 10)
		lost += len(told.from)
	}
	require.NotZero(t, lost, "no pack was ever poisoned")
}

// weather stores blobs and returns those that are durable.
func weather(t *testing.T, l *packfile.Lane, seed uint64) (kept []blob) {
	var waiting []blob
	for i := range uint64(40) {
		b := blobOf(seed+i, int(i*i*7%20_000))
		if err := b.put(t, l); err == nil {
			waiting = append(waiting, b)
		} else if !errors.Is(err, syscall.EIO) && !errors.Is(err, kvferry.ErrNoSpace) {
			t.Errorf("append: %v", err)
		}
		if i%3 != 0 {
			continue
		}
		if err := l.Sync(t.Context()); err != nil && !errors.Is(err, kvferry.ErrPoisoned) {
			t.Errorf("sync: %v", err)
		}
		for _, b := range waiting {
			if l.Check(b.at) == nil {
				kept = append(kept, b)
			}
		}
		waiting = nil
	}
	return kept
}

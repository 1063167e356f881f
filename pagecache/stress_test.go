package pagecache

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

const (
	stressKeys  = 128
	stressLimit = 48 * 1024
)

// stress uses a pool in all ways at once. A key's bytes follow from the key
// modulo stressKeys, so that a page may be moved to a second key and back.
type stress struct {
	t      *testing.T
	p      *Pool[uint64]
	gets   atomic.Uint64
	filled atomic.Uint64
}

func stressBytes(k uint64) int { return 200 + int(k%stressKeys)%8*128 }

func (s *stress) good(k uint64, mem []byte) {
	if len(mem) != stressBytes(k) || !patterned(mem, k%stressKeys) {
		s.t.Errorf("page %d holds something else", k)
	}
}

func (s *stress) fill(_ context.Context, k uint64, mem []byte, r *rand.Rand) error {
	for i := range mem { // whoever sees it too early sees this
		mem[i] = 0xee
	}
	runtime.Gosched()
	if r.IntN(20) == 0 {
		return errInjected
	}
	pattern(mem, k%stressKeys)
	s.filled.Add(1)
	return nil
}

func (s *stress) read(r *rand.Rand) {
	k := uint64(r.IntN(stressKeys) * r.IntN(stressKeys) / stressKeys)
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	if r.IntN(50) == 0 {
		cancel()
	}
	s.gets.Add(1)
	f, err := s.p.GetOrFill(ctx, k, stressBytes(k), Room(r.IntN(2)), func(ctx context.Context, mem []byte) error {
		return s.fill(ctx, k, mem, r)
	})
	if err != nil {
		if !errors.Is(err, errInjected) && !errors.Is(err, context.Canceled) && !errors.Is(err, kvferry.ErrOutOfMemory) {
			s.t.Error(err)
		}
		return
	}
	s.good(k, f.Bytes())
	if r.IntN(8) == 0 {
		done := make(chan struct{})
		f.Retain()
		f.ReleaseAfter(Closed(done))
		s.good(k, f.Bytes())
		close(done)
	}
	s.good(k, f.Bytes())
	f.Release()
}

func (s *stress) change(r *rand.Rand) {
	k := uint64(r.IntN(stressKeys))
	switch r.IntN(6) {
	case 0:
		s.p.Delete(k + stressKeys*uint64(r.IntN(2)))
	case 1:
		s.rekey(k, k+stressKeys)
	case 2:
		s.rekey(k+stressKeys, k)
	case 3:
		s.reserve(k, r)
	case 4:
		s.gets.Add(1)
		if f, ok := s.p.Get(k + stressKeys); ok {
			s.good(k, f.Bytes())
			f.Release()
		}
	default:
		s.p.Range(func(k uint64, f *Frame) bool {
			s.good(k, f.Bytes())
			return r.IntN(10) > 0
		})
	}
}

func (s *stress) rekey(from, to uint64) {
	if err := s.p.Rekey(from, to); err != nil && !errors.Is(err, kvferry.ErrNotFound) && !errors.Is(err, kvferry.ErrExists) {
		s.t.Error(err)
	}
}

func (s *stress) reserve(k uint64, r *rand.Rand) {
	res, err := s.p.Reserve(s.t.Context(), k, stressBytes(k), Refuse)
	if err != nil {
		return
	}
	defer res.Abandon()
	if s.fill(s.t.Context(), k, res.Bytes(), r) != nil {
		return
	}
	if f, err := res.Publish(); err == nil {
		s.good(k, f.Bytes())
		f.Release()
	}
}

// TestStress: whatever goes on, a frame that is held has the bytes of its key,
// the limit holds at every moment, and at the end nothing is left.
func TestStress(t *testing.T) {
	t.Parallel()
	alloc := &counted{}
	arena := newArena(t, ArenaOptions{LimitBytes: 4 * stressLimit, SlabBytes: 4096, Allocator: alloc})
	s := &stress{t: t}
	s.p = newPool(t, Options[uint64]{LimitBytes: stressLimit, Shards: 4, Arena: arena, OnEvict: func(k uint64, mem []byte) { s.good(k, mem) }})
	var wg, watch sync.WaitGroup
	stop := make(chan struct{})
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if used := s.p.used.Load(); used > stressLimit || used < 0 {
				t.Errorf("%d bytes", used)
				return
			}
			s.p.Metrics()
			runtime.Gosched()
		}
	})
	for g := range uint64(6) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(g, 3))
			for range 4000 {
				if r.IntN(4) == 0 {
					s.change(r)
				} else {
					s.read(r)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	watch.Wait()
	s.p.Poll()
	audit(t, s.p)
	m := s.p.Metrics()
	require.Zero(t, m.Pinned)
	require.Zero(t, m.Pending)
	require.Equal(t, s.gets.Load(), m.Hits+m.Misses)
	require.Positive(t, m.Evictions)
	require.Positive(t, m.Joined)
	require.NoError(t, s.p.Close())
	require.NoError(t, arena.Close())
	require.Empty(t, alloc.live)
}

package layered_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/layered"
	"github.com/kvferry/kvferry/pipelinecache/memory"
)

// slow is a bottom layer that answers when it is let, or not at all.
type slow struct {
	pipelinecache.Store
	asked   atomic.Int64
	release chan struct{}
	answer  string // none is a miss
}

func newSlow(t testing.TB, answer string) *slow {
	return &slow{Store: mem(t, memory.Options{}), release: make(chan struct{}), answer: answer}
}

func (s *slow) GetShared(ctx context.Context, _ pipelinecache.Fingerprint) ([]byte, error) {
	s.asked.Add(1)
	select {
	case <-s.release:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.answer == "" {
		return nil, kvferry.ErrNotFound
	}
	return []byte(s.answer), nil
}

// answer is what a get returned.
type answer struct {
	artifact string
	err      error
}

// ask gets in another goroutine.
func ask(ctx context.Context, s pipelinecache.Store, f pipelinecache.Fingerprint) <-chan answer {
	c := make(chan answer, 1)
	go func() {
		got, err := s.Get(ctx, f)
		c <- answer{string(got), err}
	}()
	return c
}

// TestOneFlight: of many gets of one fingerprint one asks the lower layer, which
// the others wait for, whether it has the artifact or not.
func TestOneFlight(t *testing.T) {
	t.Parallel()
	for _, artifact := range []string{"artifact", ""} {
		t.Run("answer="+artifact, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				top, below := mem(t, memory.Options{}), newSlow(t, artifact)
				s := layered.New(top, below)
				const n = 20
				var answers []<-chan answer
				for range n {
					answers = append(answers, ask(t.Context(), s, key(1)))
				}
				other := ask(t.Context(), s, key(2))
				synctest.Wait()
				require.Equal(t, int64(2), below.asked.Load(), "once for each fingerprint")
				close(below.release)
				for _, c := range append(answers, other) {
					a := <-c
					require.Equal(t, artifact, a.artifact)
					require.Equal(t, artifact == "", a.err != nil)
				}
				synctest.Wait()
				require.Equal(t, int64(2), below.asked.Load())
				r := s.Report()
				require.Equal(t, uint64(n-1), r.Joined)
				require.Equal(t, uint64(n+1), r.Requests)
				if artifact != "" {
					require.Equal(t, []uint64{0, n + 1}, r.Hits)
					require.Equal(t, uint64(2), r.Promotions.Events)
					require.Equal(t, artifact, get(t, top, key(1)))
				}
			})
		})
	}
}

// TestCancelledLeader: who asks the lower layer is cancelled, and one of the
// others asks instead; none of them fails.
func TestCancelledLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		below := newSlow(t, "artifact")
		s := layered.New(mem(t, memory.Options{}), below)
		ctx, cancel := context.WithCancel(t.Context())
		leader := ask(ctx, s, key(1))
		synctest.Wait()
		first, second := ask(t.Context(), s, key(1)), ask(t.Context(), s, key(1))
		synctest.Wait()
		require.Equal(t, int64(1), below.asked.Load())
		cancel()
		require.ErrorIs(t, (<-leader).err, context.Canceled)
		synctest.Wait()
		require.Equal(t, int64(2), below.asked.Load(), "one of two took over")
		close(below.release)
		require.Equal(t, answer{artifact: "artifact"}, <-first)
		require.Equal(t, answer{artifact: "artifact"}, <-second)
		require.Equal(t, int64(2), below.asked.Load())
		r := s.Report()
		require.Equal(t, layered.Report{Requests: 3, Hits: []uint64{0, 2}, Misses: 1, Joined: 1, Promotions: r.Promotions}, r)
	})
}

// TestCancelledFollower: who waits is cancelled, and leaves at once and alone.
func TestCancelledFollower(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		below := newSlow(t, "artifact")
		s := layered.New(mem(t, memory.Options{}), below)
		leader := ask(t.Context(), s, key(1))
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		follower := ask(ctx, s, key(1))
		synctest.Wait()
		cancel()
		require.ErrorIs(t, (<-follower).err, context.Canceled)
		close(below.release)
		require.Equal(t, answer{artifact: "artifact"}, <-leader)
	})
}

// TestCancelledBetweenLayers: a get that is cancelled asks no further layer.
func TestCancelledBetweenLayers(t *testing.T) {
	t.Parallel()
	for at := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var layers []pipelinecache.Store
		asked := 0
		for i := range 3 {
			layers = append(layers, &double{Store: mem(t, memory.Options{}), get: func(context.Context, pipelinecache.Fingerprint) ([]byte, error) {
				asked++
				if i == at {
					cancel()
				}
				return nil, kvferry.ErrNotFound
			}})
		}
		s := layered.New(layers...)
		_, err := s.Get(ctx, key(1))
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, kvferry.ErrNotFound)
		require.Equal(t, at+1, asked)
		require.Zero(t, s.Busy())
	}
}

// TestNothingStays: fingerprints that nobody asks for or puts any more cost no
// memory.
func TestNothingStays(t *testing.T) {
	t.Parallel()
	s := layered.New(mem(t, memory.Options{ShardBytes: 4}), mem(t, memory.Options{}))
	for k := range byte(100) {
		_, err := s.Get(t.Context(), key(k))
		require.ErrorIs(t, err, kvferry.ErrNotFound)
		put(t, s, key(k), "kept")
		require.ErrorIs(t, s.Put(t.Context(), key(k), []byte("too long")), kvferry.ErrQuota)
	}
	require.Zero(t, s.Busy())
}

// TestPanickingLeader: a panic in a layer is the leader's own; the others ask
// again.
func TestPanickingLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, release := 0, make(chan struct{})
		below := &double{Store: mem(t, memory.Options{}), get: func(context.Context, pipelinecache.Fingerprint) ([]byte, error) {
			asked++
			if asked == 1 {
				<-release
				panic("layer")
			}
			return []byte("artifact"), nil
		}}
		s := layered.New(mem(t, memory.Options{}), below)
		leader := make(chan any)
		go func() {
			defer func() { leader <- recover() }()
			_, err := s.Get(t.Context(), key(1))
			assert.Fail(t, "no panic", "%v", err)
		}()
		synctest.Wait()
		follower := ask(t.Context(), s, key(1))
		synctest.Wait()
		close(release)
		require.Equal(t, "layer", <-leader)
		require.Equal(t, answer{artifact: "artifact"}, <-follower)
		put(t, s, key(1), "free") // nothing is left locked
		require.Zero(t, s.Busy())
	})
}

// TestLateFollower: a get that the first layer told of a miss before a flight
// landed, and that comes after, finds what the flight promoted.
func TestLateFollower(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		late, first := make(chan struct{}), make(chan struct{}, 1)
		kept, below := mem(t, memory.Options{}), newSlow(t, "artifact")
		first <- struct{}{}
		top := &double{Store: kept, get: func(ctx context.Context, f pipelinecache.Fingerprint) ([]byte, error) {
			got, err := kept.GetShared(ctx, f)
			select {
			case <-first: // the first miss is told late
				<-late
			default:
			}
			return got, err
		}}
		s := layered.New(top, below)
		delayed := ask(t.Context(), s, key(1))
		synctest.Wait()
		close(below.release)
		require.Equal(t, "artifact", get(t, s, key(1)))
		close(late)
		require.Equal(t, answer{artifact: "artifact"}, <-delayed)
		require.Equal(t, int64(1), below.asked.Load())
		require.Equal(t, []uint64{1, 1}, s.Report().Hits)
	})
}

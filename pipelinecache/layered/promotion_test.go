package layered_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/layered"
	"github.com/kvferry/kvferry/pipelinecache/memory"
)

// gate is a first layer whose next puts wait until they are let.
type gate struct {
	*double
	kept    *memory.Store
	release chan struct{}
	waiting int
}

func newGate(t testing.TB) *gate {
	g := &gate{kept: mem(t, memory.Options{}), release: make(chan struct{})}
	g.double = &double{Store: g.kept, put: func(ctx context.Context, f pipelinecache.Fingerprint, artifact []byte) error {
		g.waiting++
		<-g.release
		return g.kept.Put(ctx, f, artifact)
	}}
	return g
}

// putLater puts in another goroutine.
func putLater(ctx context.Context, s pipelinecache.Store, f pipelinecache.Fingerprint, artifact string) <-chan error {
	c := make(chan error, 1)
	go func() { c <- s.Put(ctx, f, []byte(artifact)) }()
	return c
}

// TestPutDuringFlight: what is put while the old artifact is being fetched is not
// replaced by that.
func TestPutDuringFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		top, second, below := mem(t, memory.Options{}), mem(t, memory.Options{}), newSlow(t, "old")
		s := layered.New(top, second, below)
		asked := ask(t.Context(), s, key(1))
		synctest.Wait()
		put(t, s, key(1), "new")
		close(below.release)
		require.Equal(t, answer{artifact: "old"}, <-asked)
		require.Equal(t, "new", get(t, top, key(1)))
		require.Equal(t, "new", get(t, s, key(1)))
		require.Equal(t, "old", get(t, second, key(1)), "the layers between are promoted into")
		p := s.Report().Promotions
		require.Equal(t, uint64(1), p.Superseded)
		require.Equal(t, layered.Promotion{Source: 2, Layers: 1, Bytes: 3, Superseded: true}, p.Last)
	})
}

// TestFlightDuringPut: as before, but the put began first.
func TestFlightDuringPut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		top, below := newGate(t), mem(t, memory.Options{})
		put(t, below, key(1), "old")
		s := layered.New(top, below)
		putting := putLater(t.Context(), s, key(1), "new")
		synctest.Wait()
		require.Equal(t, "old", get(t, s, key(1)))
		require.Equal(t, 1, top.waiting, "nothing was promoted")
		close(top.release)
		require.NoError(t, <-putting)
		require.Equal(t, "new", get(t, s, key(1)))
	})
}

// TestPutDuringPromotion: the put waits until the promotion is through, or until
// it is cancelled; those who asked do not wait for it.
func TestPutDuringPromotion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		top, below := newGate(t), newSlow(t, "old")
		s := layered.New(top, below)
		leader, follower := ask(t.Context(), s, key(1)), ask(t.Context(), s, key(1))
		synctest.Wait()
		close(below.release)
		synctest.Wait()
		require.Equal(t, 1, top.waiting, "the promotion has begun")
		require.Equal(t, "old", get(t, s, key(1)), "the answer is there")

		ctx, cancel := context.WithCancel(t.Context())
		cancelled := putLater(ctx, s, key(1), "never")
		putting := putLater(t.Context(), s, key(1), "new")
		elsewhere := putLater(t.Context(), s, key(2), "other")
		synctest.Wait()
		require.Equal(t, 2, top.waiting, "only the put of another fingerprint has come through")
		cancel()
		require.ErrorIs(t, <-cancelled, context.Canceled)

		close(top.release)
		require.NoError(t, <-putting)
		require.NoError(t, <-elsewhere)
		require.Equal(t, answer{artifact: "old"}, <-leader)
		require.Equal(t, answer{artifact: "old"}, <-follower)
		require.Equal(t, "new", get(t, top.kept, key(1)))
		require.Equal(t, int64(1), below.asked.Load())
	})
}

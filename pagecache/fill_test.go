package pagecache

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSingleFlight: of many who ask for a page one fills it, and all get it.
func TestSingleFlight(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[uint64]{LimitBytes: 1 << 20})
	var fills atomic.Int32
	proceed := make(chan struct{})
	var wg sync.WaitGroup
	frames := make([]*Frame, 20)
	for i := range frames {
		wg.Go(func() {
			f, err := p.GetOrFill(t.Context(), 1, 512, Wait, func(_ context.Context, mem []byte) error {
				fills.Add(1)
				<-proceed
				pattern(mem, 1)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			frames[i] = f
		})
	}
	until(t, func() bool { return p.joined.Load() == 19 })
	require.False(t, p.Contains(1))
	close(proceed)
	wg.Wait()
	require.EqualValues(t, 1, fills.Load())
	require.EqualValues(t, 20, frames[0].state.Load()&refMask)
	for _, f := range frames {
		require.Same(t, frames[0], f)
		require.True(t, patterned(f.Bytes(), 1))
		f.Release()
	}
	m := p.Metrics()
	require.EqualValues(t, 1, m.Fills)
	require.EqualValues(t, 19, m.Joined)
	require.NoError(t, p.Close())
}

// TestFailedFill: a fill that fails, panics or is cancelled publishes nothing,
// and the next one who waits tries.
func TestFailedFill(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[uint64]{LimitBytes: 512})
	cause := errors.New("no luck")
	_, err := p.GetOrFill(t.Context(), 1, 512, Wait, func(context.Context, []byte) error { return cause })
	require.ErrorIs(t, err, cause)
	require.PanicsWithValue(t, cause, func() {
		_, _ = p.GetOrFill(t.Context(), 1, 512, Wait, func(context.Context, []byte) error { panic(cause) })
	})
	require.Zero(t, p.Metrics().Bytes)

	ctx, cancel := context.WithCancel(t.Context())
	filling := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := p.GetOrFill(ctx, 1, 512, Wait, func(ctx context.Context, _ []byte) error {
			close(filling)
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
	<-filling
	for range 3 {
		wg.Go(func() {
			f, err := p.GetOrFill(t.Context(), 1, 512, Wait, func(_ context.Context, mem []byte) error {
				pattern(mem, 1)
				return nil
			})
			if err != nil {
				t.Error(err)
				return
			}
			if !patterned(f.Bytes(), 1) {
				t.Error("wrong bytes")
			}
			f.Release()
		})
	}
	until(t, func() bool { return p.joined.Load() == 3 })
	cancel()
	wg.Wait()
	m := p.Metrics()
	require.EqualValues(t, 2, m.FailedFills)
	require.EqualValues(t, 1, m.Fills)
	require.NoError(t, p.Close())
}

// TestCancelledWait: who waits for a page gives up with its own context, and
// takes no reference along.
func TestCancelledWait(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[uint64]{LimitBytes: 512})
	for round := range uint64(200) {
		r, err := p.Reserve(t.Context(), 1, 512, Wait)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				f, err := p.GetOrFill(ctx, 1, 512, Wait, nil)
				if err == nil {
					f.Release()
				} else if !errors.Is(err, context.Canceled) {
					t.Errorf("%v", err)
				}
			})
		}
		until(t, func() bool { return p.joined.Load() == 4*(round+1) })
		wg.Go(cancel) // races with the publication
		f, err := r.Publish()
		require.NoError(t, err)
		f.Release()
		wg.Wait()
		require.Zero(t, p.Metrics().Pinned)
		require.True(t, p.Delete(1))
		cancel()
	}
	require.NoError(t, p.Close())
}

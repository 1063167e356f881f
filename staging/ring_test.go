package staging_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/staging"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newRing(t *testing.T, o staging.Options) *staging.Ring {
	t.Helper()
	r, err := staging.NewRing(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func TestRingHoldsWholeFrames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ frame, extent, frames int }{
		{0, 0, staging.DefaultMaxFrames},
		{1, 0, staging.DefaultMaxFrames},
		{64, 1 << 20, staging.DefaultMaxFrames},
		{1000, 4096, 4},
		{4096, 4096, 1},
		{4097, 4096, 1}, // an extent is never less than a page
		{360448, 8 << 20, 23},
	} {
		r := newRing(t, staging.Options{FrameBytes: c.frame, ExtentBytes: c.extent, Extents: 2})
		require.Equal(t, c.frames, r.Frames(), "%+v", c)
		e := r.TryAcquire()
		require.Len(t, e.Bytes(), c.frames*c.frame)
		f := e.Frame(e.Len() - 1)
		require.Len(t, f.Bytes(), c.frame)
		require.Equal(t, c.frame, cap(f.Bytes()), "a frame must not reach into its neighbour")
		f.Release()
		e.Release()
	}
}

func TestExtentReturnsAfterLastRelease(t *testing.T) {
	t.Parallel()
	r := newRing(t, staging.Options{FrameBytes: 8, ExtentBytes: 32, Extents: 2})
	a, b := r.TryAcquire(), r.TryAcquire()
	require.NotNil(t, a)
	require.NotNil(t, b)
	require.Nil(t, r.TryAcquire())
	f := a.Frame(0)
	f.Retain()
	a.Release()
	f.Release()
	require.Nil(t, r.TryAcquire(), "a reader still holds the frame")
	f.Release()
	got := r.TryAcquire()
	require.Same(t, a, got)
	got.Release()
	b.Release()
}

func TestAcquireEndsWithContextAndClose(t *testing.T) {
	t.Parallel()
	r, err := staging.NewRing(staging.Options{FrameBytes: 8, ExtentBytes: 8, Extents: 2})
	require.NoError(t, err)
	a, b := r.TryAcquire(), r.TryAcquire()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.Acquire(ctx)
	require.ErrorIs(t, err, context.Canceled)
	done := make(chan error)
	go func() {
		_, err := r.Acquire(context.Background())
		done <- err
	}()
	err = r.Close()
	require.ErrorIs(t, err, kvferry.ErrUnknownOutcome, "two extents are held")
	require.ErrorIs(t, <-done, kvferry.ErrClosed)
	a.Release()
	b.Release()
	require.NoError(t, r.Close(), "closing again does nothing")
}

func TestFencedExtentIsNeverReused(t *testing.T) {
	t.Parallel()
	r, err := staging.NewRing(staging.Options{FrameBytes: 8, ExtentBytes: 8, Extents: 2})
	require.NoError(t, err)
	for range 2 {
		e, err := r.Acquire(t.Context())
		require.NoError(t, err)
		e.Fence()
		e.Fence()
		e.Release()
	}
	require.Equal(t, 2, r.Fenced())
	_, err = r.Acquire(t.Context())
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	require.ErrorIs(t, r.Close(), kvferry.ErrUnknownOutcome)
}

func TestMisuseIsABrokenInvariant(t *testing.T) {
	t.Parallel()
	r := newRing(t, staging.Options{FrameBytes: 8, ExtentBytes: 8, Extents: 2})
	e := r.TryAcquire()
	f := e.Frame(0)
	require.Panics(t, func() { e.Frame(0) }, "the frame is in use")
	f.Release()
	require.Panics(t, f.Release)
	require.Panics(t, f.Retain)
	e.Release()
}

func TestNewRingReportsBadOptionsAndLackOfMemory(t *testing.T) {
	t.Parallel()
	for _, o := range []staging.Options{{FrameBytes: -1}, {FrameBytes: 1, Extents: 1}, {FrameBytes: 1, ExtentBytes: -1}} {
		_, err := staging.NewRing(o)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
	a := &scarce{left: 1}
	_, err := staging.NewRing(staging.Options{FrameBytes: 8, Allocator: a})
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	require.Zero(t, a.live, "what was allocated before the failure is freed")
}

type scarce struct{ left, live int }

func (s *scarce) Allocate(n int) ([]byte, error) {
	if s.left--; s.left < 0 {
		return nil, kvferry.ErrOutOfMemory
	}
	s.live++
	return make([]byte, n), nil
}

func (s *scarce) Free([]byte) error { s.live--; return nil }

func TestSteadyStateAllocatesNothing(t *testing.T) {
	r := newRing(t, staging.Options{FrameBytes: 1024, ExtentBytes: 8192, Extents: 2})
	ctx := context.Background()
	require.Zero(t, testing.AllocsPerRun(100, func() {
		e, err := r.Acquire(ctx)
		if err != nil {
			panic(err)
		}
		for i := range e.Len() {
			f := e.Frame(i)
			f.Retain()
			f.Release()
			f.Release()
		}
		e.Release()
	}))
}

// TestRingUnderLoad lets fillers and readers race: every frame carries the
// number of its filler, and a reader must never see another one.
func TestRingUnderLoad(t *testing.T) {
	t.Parallel()
	r := newRing(t, staging.Options{FrameBytes: 64, ExtentBytes: 1024, Extents: 3})
	type item struct {
		f    *staging.Frame
		mark byte
	}
	items := make(chan item, 64)
	var fillers, readers sync.WaitGroup
	var mixed error
	var mu sync.Mutex
	for w := range 4 {
		fillers.Go(func() {
			for n := range 300 {
				e, err := r.Acquire(context.Background())
				if err != nil {
					mu.Lock()
					mixed = errors.Join(mixed, err)
					mu.Unlock()
					return
				}
				mark := byte(w*61 + n)
				for i := range e.Len() {
					f := e.Frame(i)
					for k := range f.Bytes() {
						f.Bytes()[k] = mark
					}
					items <- item{f, mark}
				}
				e.Release()
			}
		})
		readers.Go(func() {
			for it := range items {
				for _, b := range it.f.Bytes() {
					if b != it.mark {
						mu.Lock()
						mixed = errors.New("a frame was reused while it was held")
						mu.Unlock()
					}
				}
				it.f.Release()
			}
		})
	}
	fillers.Wait()
	close(items)
	readers.Wait()
	require.NoError(t, mixed)
}

// TestClosedRingHandsOutNothing: memory that was given back is never handed
// out again, neither what Close freed nor what is let go after it.
func TestClosedRingHandsOutNothing(t *testing.T) {
	t.Parallel()
	for range 64 { // a choice between two ready channels would be made at random
		a := &scarce{left: 3}
		r, err := staging.NewRing(staging.Options{FrameBytes: 8, ExtentBytes: 32, Extents: 3, Allocator: a})
		require.NoError(t, err)
		held := r.TryAcquire()
		require.ErrorIs(t, r.Close(), kvferry.ErrUnknownOutcome)
		require.Equal(t, 1, a.live)
		for range 2 {
			e, err := r.Acquire(t.Context())
			require.ErrorIs(t, err, kvferry.ErrClosed)
			require.Nil(t, e)
			require.Nil(t, r.TryAcquire())
			if held != nil {
				held.Release()
				held = nil
			}
		}
	}
}

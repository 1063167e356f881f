//go:build cuda

package gpu

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/softcuda"
	"github.com/kvferry/kvferry/pager"
)

// heldWorld is a world whose streams stand still, full of a known content.
func heldWorld(t *testing.T, change func(*Config)) (*world, *Pager, [][]byte) {
	w := newWorld(t, ordinary(t))
	softcuda.Only(t)
	p := w.open(change)
	memory := w.memory()
	w.queueUpload(memory)
	w.settle()
	softcuda.Hold()
	t.Cleanup(softcuda.Release) // before anything is freed
	return w, p, memory
}

// issued waits until so many batches are in the streams, besides one mark in
// the engine's for each job.
func issued(p *Pager, batches, jobs uint64) {
	for p.Stats().Submissions < batches+jobs {
		runtime.Gosched()
	}
}

func (w *world) outcome(p *Pager, ticket pager.Ticket) pager.Completion {
	w.tb.Helper()
	c, err := p.cache.Wait(w.tb.Context(), ticket)
	require.NoError(w.tb, err)
	return c
}

func noisy(w *world, n int) [][]byte {
	frames := w.frames(n, 0)
	for _, f := range frames {
		w.noise(f)
	}
	return frames
}

// TestJobThatDidNotBeginInTimeTouchesNothing lets a deadline pass while all
// batches are taken by an earlier job.
func TestJobThatDidNotBeginInTimeTouchesNothing(t *testing.T) {
	w, p, memory := heldWorld(t, inBatches(2, func(*Config) {}))
	ids := w.all()
	first, second := noisy(w, 20), noisy(w, 4)
	a := w.submitJob(p, pager.In, ids[:20], first)
	issued(p, slotsPerWay, 1)
	deadline := time.Now().Add(time.Millisecond)
	b, err := p.cache.Submit(t.Context(), pager.Job{Direction: pager.In, Pages: ids[20:], Frames: second, Deadline: deadline})
	require.NoError(t, err)
	for time.Now().Before(deadline) {
		runtime.Gosched()
	}
	softcuda.Release()
	w.done(p, a)
	c := w.outcome(p, b)
	require.Equal(t, pager.NotStarted, c.Outcome)
	require.ErrorIs(t, c.Err, context.DeadlineExceeded)
	expect(t, w.layout, memory, ids[:20], first)
	got := w.queueDownload()
	w.settle()
	equal(t, memory, got)
}

// TestJobUnderWayMayEndLate releases the streams after the deadline, and before
// the time to drain is over.
func TestJobUnderWayMayEndLate(t *testing.T) {
	w, p, memory := heldWorld(t, func(c *Config) { c.DrainTimeout = time.Hour })
	ids, frames := w.all(), w.frames(24, 0)
	ticket := w.submitJob(p, pager.Out, ids, frames)
	issued(p, 1, 1)
	k := w.openWork(p, ticket)
	locked := func(f func()) {
		p.cache.mu.Lock()
		defer p.cache.mu.Unlock()
		f()
	}
	locked(func() { k.job.Deadline = time.Now() })
	for late := false; !late; runtime.Gosched() {
		locked(func() { late = !k.until.IsZero() })
	}
	softcuda.Release()
	w.done(p, ticket)
	holds(t, w.layout, memory, ids, frames)
}

// TestCopyWithoutAnEndIsFenced gives a copy into pages up.
func TestCopyWithoutAnEndIsFenced(t *testing.T) {
	w, p, memory := heldWorld(t, func(c *Config) { c.DrainTimeout = 10 * time.Millisecond })
	view := p.View()
	require.NoError(t, w.engine.ReservePages(t.Context(), w.all()))
	frames := noisy(w, 3)
	ids := []pager.PageID{5, 6, 7}
	ticket := w.submitJob(p, pager.In, ids, frames)
	issued(p, 2, 1) // the batch, and the engine's wait
	p.cache.cancel(w.openWork(p, ticket), context.DeadlineExceeded)
	c := w.outcome(p, ticket)
	require.Equal(t, pager.Unknown, c.Outcome)
	require.ErrorIs(t, c.Err, kvferry.ErrUnknownOutcome)
	require.EqualValues(t, 3, p.Stats().Fenced)

	page := make([]byte, w.layout.Meta.PageBytes())
	require.ErrorIs(t, view.WritePage(t.Context(), 6, page), kvferry.ErrUnknownOutcome)
	require.ErrorIs(t, view.ReadPage(t.Context(), 6, page), kvferry.ErrUnknownOutcome)
	a := pager.AbilitiesOf(view)
	require.ErrorIs(t, a.Releaser.ReleasePages(t.Context(), []pager.PageID{1, 7}), kvferry.ErrUnknownOutcome)
	require.ErrorIs(t, a.Reserver.ReservePages(t.Context(), []pager.PageID{7}), kvferry.ErrUnknownOutcome)
	require.ErrorIs(t, a.Generations.Generations(t.Context(), ids, make([]uint64, 3)), kvferry.ErrUnknownOutcome)
	require.ErrorIs(t, a.Digester.DigestPages(t.Context(), digest.BLAKE3, nil, ids, make([]digest.Digest, 6)), kvferry.ErrUnknownOutcome)
	require.ErrorIs(t, p.Close(), kvferry.ErrUnknownOutcome)
	require.ErrorIs(t, view.ReadPage(t.Context(), 1, page), kvferry.ErrClosed)

	softcuda.Release()
	w.settle() // the engine's stream waits for the copy
	require.NoError(t, p.Close(), "what has ended by now is given back")
	expect(t, w.layout, memory, ids, frames)
	got := w.queueDownload()
	w.settle()
	equal(t, memory, got)
}

// openWork returns the work of a ticket.
func (w *world) openWork(p *Pager, ticket pager.Ticket) *work {
	p.cache.mu.Lock()
	defer p.cache.mu.Unlock()
	require.Contains(w.tb, p.cache.works, ticket)
	return p.cache.works[ticket]
}

// TestOtherPagesGoOnBesideAFence uses the extent that is left.
func TestOtherPagesGoOnBesideAFence(t *testing.T) {
	w, p, memory := heldWorld(t, func(c *Config) { c.DrainTimeout = 10 * time.Millisecond })
	ticket := w.submitJob(p, pager.Out, []pager.PageID{5}, w.frames(1, 0))
	issued(p, 1, 1)
	p.cache.cancel(w.openWork(p, ticket), context.DeadlineExceeded)
	require.Equal(t, pager.Unknown, w.outcome(p, ticket).Outcome)
	softcuda.Release()
	for range 3 * slotsPerWay {
		frames, ids := w.frames(24, 0), w.all()
		w.move(p, pager.Out, ids, frames)
		holds(t, w.layout, memory, ids, frames)
	}
	require.EqualValues(t, 1, p.Stats().Fenced)
	require.NoError(t, w.device.Synchronize()) // the fenced frame is about to go
}

// TestEveryExtentFenced leaves nothing to copy with.
func TestEveryExtentFenced(t *testing.T) {
	w, p, _ := heldWorld(t, inBatches(1, func(c *Config) { c.DrainTimeout = time.Millisecond }))
	ticket := w.submitJob(p, pager.Out, w.all()[:2], w.frames(2, 0))
	issued(p, 2, 1)
	p.cache.cancel(w.openWork(p, ticket), context.DeadlineExceeded)
	require.Equal(t, pager.Unknown, w.outcome(p, ticket).Outcome)
	softcuda.Release()
	c := w.outcome(p, w.submitJob(p, pager.Out, w.all()[:2], w.frames(2, 0)))
	require.Equal(t, pager.NotStarted, c.Outcome)
	require.ErrorIs(t, c.Err, kvferry.ErrOutOfMemory)
	require.NoError(t, w.device.Synchronize())
}

// TestCancelledPages ends the waiting of single pages, of which one has begun.
func TestCancelledPages(t *testing.T) {
	w, p, memory := heldWorld(t, inBatches(2, func(c *Config) { c.DrainTimeout = time.Hour }))
	ids, frames := w.all(), w.frames(20, 0)
	job := w.submitJob(p, pager.Out, ids[:20], frames)
	issued(p, slotsPerWay, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 3)
	for i := range 3 {
		go func() { ended <- p.cache.ReadPage(ctx, ids[i], make([]byte, w.layout.Meta.PageBytes())) }()
	}
	issued(p, slotsPerWay, 4) // their marks
	cancel()
	for range 3 {
		require.ErrorIs(t, <-ended, context.Canceled)
	}
	softcuda.Release()
	w.done(p, job)
	holds(t, w.layout, memory, ids[:20], frames)
}

// TestCloseEndsWhatHasNotBegun closes with jobs in the queue and under way.
func TestCloseEndsWhatHasNotBegun(t *testing.T) {
	w, p, _ := heldWorld(t, inBatches(2, func(c *Config) { c.DrainTimeout = 5 * time.Millisecond }))
	ids := w.all()
	under := w.submitJob(p, pager.Out, ids, w.frames(24, 0))
	queued := w.submitJob(p, pager.Out, ids, w.frames(24, 0))
	issued(p, slotsPerWay, 2)
	require.ErrorIs(t, p.Close(), kvferry.ErrUnknownOutcome)
	c := w.outcome(p, under)
	require.Equal(t, pager.Unknown, c.Outcome)
	require.ErrorIs(t, c.Err, kvferry.ErrUnknownOutcome)
	c = w.outcome(p, queued)
	require.Equal(t, pager.NotStarted, c.Outcome)
	require.ErrorIs(t, c.Err, kvferry.ErrClosed)
	_, err := p.cache.Submit(t.Context(), pager.Job{Direction: pager.Out})
	require.ErrorIs(t, err, kvferry.ErrClosed)
	softcuda.Release()
	require.NoError(t, p.cache.device.Synchronize())
	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
}

// TestLostDeviceEndsEveryJob loses the device while jobs are under way both ways
// and in the queue.
func TestLostDeviceEndsEveryJob(t *testing.T) {
	softcuda.Only(t)
	softcuda.Reset(t)
	w, p, _ := heldWorld(t, inBatches(2, func(*Config) {}))
	ids := w.all()
	out := w.submitJob(p, pager.Out, ids[:12], w.frames(12, 0))
	in := w.submitJob(p, pager.In, ids[12:], noisy(w, 12))
	queued := w.submitJob(p, pager.Out, ids, w.frames(24, 0))
	issued(p, 6+6, 3)
	softcuda.Fail("op.kernel", 1, illegalAddress)
	softcuda.Release()
	for _, ticket := range []pager.Ticket{out, in, queued} {
		c := w.outcome(p, ticket)
		require.NotEqual(t, pager.Done, c.Outcome)
		require.ErrorIs(t, c.Err, kvferry.ErrDeviceLost)
		if c.Outcome == pager.Unknown {
			require.ErrorIs(t, c.Err, kvferry.ErrUnknownOutcome)
		}
	}
	page := make([]byte, w.layout.Meta.PageBytes())
	require.ErrorIs(t, p.cache.ReadPage(t.Context(), 0, page), kvferry.ErrDeviceLost)
	require.NoError(t, p.View().Pause(t.Context()), "the engine can still be stopped and go on")
	require.NoError(t, p.View().Resume(t.Context()))
}

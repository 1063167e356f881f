package gpu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/pager"
)

// work is a job, a single page or digests on their way. What is not said to be
// somebody else's belongs to the goroutine of its way once it is submitted.
type work struct {
	ticket pager.Ticket // 0 if nobody waits by one
	job    pager.Job
	sums   *sums // what is wanted in place of the pages' bytes; nil for copies

	seq     uint64 // among those of the way, from 1
	after   uint64 // seq of the other way's work that has to be queued before
	repeats bool   // a page may be in it twice
	bounces bool   // some frame is not pinned
	gate    *gate  // the engine's streams; nil if there are none

	cancelled error // why it is to end; guarded by cache.mu

	queued  int // pages handed to the device
	flying  int // batches under way
	stopped bool
	unknown bool
	failure error     // the first
	until   time.Time // when what is under way is given up; zero: not yet known

	// done is closed when outcome and err are set.
	done    chan struct{}
	outcome pager.Outcome
	err     error
}

// gate is a mark in each of the engine's streams.
type gate struct{ events []*cuda.Event }

// fail stops the work and keeps the first reason.
func (w *work) fail(err error) {
	w.stopped = true
	if w.failure == nil {
		w.failure = err
	}
}

// conclude sets the outcome.
func (w *work) conclude() {
	n := len(w.job.Pages)
	switch {
	case w.unknown:
		w.outcome = pager.Unknown
		w.err = fmt.Errorf("gpu: copy of %d pages, which stays fenced: %w: %w", n, kvferry.ErrUnknownOutcome, w.failure)
	case w.failure != nil && w.queued > 0:
		w.outcome = pager.NotStarted
		w.err = fmt.Errorf("gpu: copy of %d pages was given up and moves nothing any more: %w", n, w.failure)
	case w.failure != nil:
		w.outcome, w.err = pager.NotStarted, fmt.Errorf("gpu: copy of %d pages: %w", n, w.failure)
	default:
		w.outcome = pager.Done
	}
	close(w.done)
}

// Submit implements pager.Mover. A page beyond the layout, fenced or refused by
// the engine's Guard, and a frame of the wrong length are refused.
func (c *cache) Submit(ctx context.Context, job pager.Job) (pager.Ticket, error) {
	if job.Direction != pager.Out && job.Direction != pager.In {
		return 0, fmt.Errorf("gpu: submit: direction %d: %w", job.Direction, kvferry.ErrInvalid)
	}
	if len(job.Pages) != len(job.Frames) {
		return 0, fmt.Errorf("gpu: submit %d pages with %d frames: %w", len(job.Pages), len(job.Frames), kvferry.ErrInvalid)
	}
	w := &work{job: job, ticket: 1} // the number comes with the order
	if err := c.submit(ctx, w); err != nil {
		return 0, err
	}
	return w.ticket, nil
}

// submit checks a work, puts marks into the engine's streams and queues it.
func (c *cache) submit(ctx context.Context, w *work) error {
	op := "copy"
	if err := c.open(ctx, op); err != nil {
		return err
	}
	if err := c.checkPages(w); err != nil {
		return err
	}
	if err := c.checkFrames(w); err != nil {
		return err
	}
	w.done = make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.openLocked(op); err != nil {
		return err
	}
	if err := c.fencedLocked(w.job.Pages); err != nil {
		return err
	}
	if c.runs != nil && len(w.job.Pages) > 0 {
		if err := c.gateLocked(w); err != nil {
			return err
		}
	}
	c.enqueueLocked(w)
	return nil
}

// checkPages returns the error for which pages are refused.
func (c *cache) checkPages(w *work) error {
	for _, id := range w.job.Pages {
		if int64(id) >= int64(c.pages) {
			return fmt.Errorf("gpu: page %d of %d: %w", id, c.pages, kvferry.ErrNotFound)
		}
	}
	return c.guarded(w.job.Direction, w.job.Pages)
}

// guarded asks the engine about pages.
func (c *cache) guarded(d pager.Direction, ids []pager.PageID) error {
	if c.guard == nil {
		return nil
	}
	ask := c.guard.CheckRead
	if d == pager.In {
		ask = c.guard.CheckWrite
	}
	for _, id := range ids {
		if err := ask(id); err != nil {
			return fmt.Errorf("gpu: page %d: %w", id, err)
		}
	}
	return nil
}

// checkFrames looks at the frames of a copy.
func (c *cache) checkFrames(w *work) error {
	for i, f := range w.job.Frames {
		if int64(len(f)) != c.geometry.pageBytes {
			return fmt.Errorf("gpu: page %d: frame of %d bytes, want %d: %w", w.job.Pages[i], len(f), c.geometry.pageBytes, kvferry.ErrInvalid)
		}
		w.bounces = w.bounces || !c.device.IsPinned(f)
	}
	return nil
}

// fencedLocked refuses pages into which bytes may still move.
func (c *cache) fencedLocked(ids []pager.PageID) error {
	if len(c.fenced) == 0 {
		return nil
	}
	for _, id := range ids {
		if _, is := c.fenced[id]; is {
			return fmt.Errorf("gpu: page %d is fenced, an earlier copy into it has no known end: %w", id, kvferry.ErrUnknownOutcome)
		}
	}
	return nil
}

// gateLocked records an event of ours in each of the engine's streams.
func (c *cache) gateLocked(w *work) error {
	if len(c.engines) == 0 {
		return nil
	}
	g, err := c.takeGateLocked()
	if err != nil {
		return err
	}
	for i, s := range c.engines {
		c.queue.Reset()
		c.queue.RecordEvent(g.events[i])
		c.counts.submissions.Add(1)
		if _, err := s.Submit(&c.queue); err != nil {
			c.spare = append(c.spare, g)
			return c.noteLocked(fmt.Errorf("gpu: mark in the engine's stream %#x: %w", s.Handle(), err))
		}
	}
	w.gate = g
	return nil
}

// noteLocked remembers a lost device and returns err.
func (c *cache) noteLocked(err error) error {
	if c.lost == nil && isLost(err) {
		c.lost = err
	}
	return err
}

// takeGateLocked returns marks that are not in use.
func (c *cache) takeGateLocked() (*gate, error) {
	if n := len(c.spare); n > 0 {
		g := c.spare[n-1]
		c.spare = c.spare[:n-1]
		return g, nil
	}
	g := new(gate)
	for range c.engines {
		e, err := c.device.NewEvent(cuda.EventOptions{})
		if err != nil {
			for _, made := range g.events {
				err = errors.Join(err, made.Close())
			}
			return nil, c.noteLocked(fmt.Errorf("gpu: event for the engine's streams: %w", err))
		}
		g.events = append(g.events, e)
	}
	return g, nil
}

// isLost reports whether err says that the device is lost.
func isLost(err error) bool { return errors.Is(err, kvferry.ErrDeviceLost) }

// Wait implements pager.Mover.
func (c *cache) Wait(ctx context.Context, t pager.Ticket) (pager.Completion, error) {
	c.mu.Lock()
	w := c.works[t]
	c.mu.Unlock()
	if w == nil {
		return pager.Completion{}, fmt.Errorf("gpu: wait for job %d: %w", t, kvferry.ErrNotFound)
	}
	select {
	case <-w.done:
	default:
		select {
		case <-w.done:
		case <-ctx.Done():
			return pager.Completion{}, fmt.Errorf("gpu: wait for job %d: %w", t, ctx.Err())
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.works[t] != w {
		return pager.Completion{}, fmt.Errorf("gpu: wait for job %d: %w", t, kvferry.ErrNotFound)
	}
	delete(c.works, t)
	return pager.Completion{Ticket: t, Outcome: w.outcome, Err: w.err}, nil
}

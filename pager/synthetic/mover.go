package synthetic

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

// mover copies batches in the background, one goroutine for each direction and
// only while there is work, so that an idle engine owns none.
type mover struct {
	e *Engine

	mu      sync.Mutex
	workers sync.WaitGroup
	closed  bool
	last    pager.Ticket
	queues  [2][]queued
	running [2]bool
	jobs    map[pager.Ticket]*pending
}

type queued struct {
	job pager.Job
	p   *pending
}

// pending is a job whose completion was not handed out yet.
type pending struct {
	done    chan struct{} // closed when outcome and err are set
	outcome pager.Outcome
	err     error
}

var _ pager.Mover = (*mover)(nil)

func (m *mover) init(e *Engine) { m.e, m.jobs = e, make(map[pager.Ticket]*pending) }

// close lets the submitted jobs end and refuses new ones.
func (m *mover) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.workers.Wait()
}

// Submit implements pager.Mover. A job with a missing page, a frame of the
// wrong length or lists of different lengths is refused.
func (m *mover) Submit(ctx context.Context, job pager.Job) (pager.Ticket, error) {
	if err := m.e.checkJob(ctx, job); err != nil {
		return 0, err
	}
	way := job.Direction - pager.Out
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return 0, fmt.Errorf("synthetic: submit: %w", kvferry.ErrClosed)
	}
	m.last++
	p := &pending{done: make(chan struct{})}
	m.jobs[m.last] = p
	m.queues[way] = append(m.queues[way], queued{job, p})
	if !m.running[way] {
		m.running[way] = true
		m.workers.Go(func() { m.work(int(way)) })
	}
	return m.last, nil
}

// checkJob returns the error for which a job is refused.
func (e *Engine) checkJob(ctx context.Context, job pager.Job) error {
	e.mu.Lock() // for writing: a copy under way may be changing states
	defer e.mu.Unlock()
	if err := e.ready(ctx, "submit"); err != nil {
		return err
	}
	if job.Direction != pager.Out && job.Direction != pager.In {
		return fmt.Errorf("synthetic: submit: direction %d: %w", job.Direction, kvferry.ErrInvalid)
	}
	if len(job.Pages) != len(job.Frames) {
		return fmt.Errorf("synthetic: submit %d pages with %d frames: %w", len(job.Pages), len(job.Frames), kvferry.ErrInvalid)
	}
	for i, id := range job.Pages {
		if st := e.slab.state(id); st == free || (job.Direction == pager.Out && st != full) {
			return fmt.Errorf("synthetic: submit page %d: %w", id, kvferry.ErrNotFound)
		}
		if len(job.Frames[i]) != e.pageBytes {
			return fmt.Errorf("synthetic: submit page %d: frame of %d bytes, want %d: %w", id, len(job.Frames[i]), e.pageBytes, kvferry.ErrInvalid)
		}
	}
	return nil
}

func (m *mover) work(way int) {
	for {
		m.mu.Lock()
		if len(m.queues[way]) == 0 {
			m.running[way] = false
			m.mu.Unlock()
			return
		}
		q := m.queues[way][0]
		m.queues[way] = m.queues[way][1:]
		m.mu.Unlock()
		q.p.outcome, q.p.err = m.e.move(q.job)
		close(q.p.done)
	}
}

// move runs one job. What makes a copy fail is found before the first one, so
// a job runs whole or not at all.
func (e *Engine) move(job pager.Job) (pager.Outcome, error) {
	ctx := context.Background()
	if !job.Deadline.IsZero() && !time.Now().Before(job.Deadline) {
		return pager.NotStarted, fmt.Errorf("synthetic: job of %d pages: %w", len(job.Pages), context.DeadlineExceeded)
	}
	if err := e.checkJob(ctx, job); err != nil {
		return pager.NotStarted, err // a page was released since Submit
	}
	for i, id := range job.Pages {
		var err error
		if job.Direction == pager.Out {
			err = e.ReadPage(ctx, id, job.Frames[i])
		} else {
			err = e.WritePage(ctx, id, job.Frames[i])
		}
		if err != nil {
			return pager.Unknown, fmt.Errorf("synthetic: job stopped at page %d: %w (%w)", id, kvferry.ErrUnknownOutcome, err)
		}
	}
	return pager.Done, nil
}

// Wait implements pager.Mover.
func (m *mover) Wait(ctx context.Context, t pager.Ticket) (pager.Completion, error) {
	m.mu.Lock()
	p := m.jobs[t]
	m.mu.Unlock()
	if p == nil {
		return pager.Completion{}, fmt.Errorf("synthetic: wait for job %d: %w", t, kvferry.ErrNotFound)
	}
	select {
	case <-p.done:
	default:
		select {
		case <-p.done:
		case <-ctx.Done():
			return pager.Completion{}, fmt.Errorf("synthetic: wait for job %d: %w", t, ctx.Err())
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.jobs[t] != p {
		return pager.Completion{}, fmt.Errorf("synthetic: wait for job %d: %w", t, kvferry.ErrNotFound)
	}
	delete(m.jobs, t)
	return pager.Completion{Ticket: t, Outcome: p.outcome, Err: p.err}, nil
}

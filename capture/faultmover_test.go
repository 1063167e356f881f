package capture_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

// errNotStarted and errUnknown, returned by what happens at a Wait, make the
// copy end that way; any other error is Wait's own.
var (
	errNotStarted = errors.New("not started")
	errUnknown    = errors.New("unknown")
)

// Submit notes the job. Its bytes move when it is waited for.
func (p *faultPager) Submit(ctx context.Context, job pager.Job) (pager.Ticket, error) {
	answered := false
	defer func() {
		if !answered { // a panic: for all that the caller knows, bytes move
			p.fence(job)
		}
	}()
	err := p.calls.hit("submit")
	answered = true
	if err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tickets++
	p.jobs[p.tickets] = &lazyJob{job: job}
	return p.tickets, nil
}

// Wait carries the job out, unless a fault was put in: then the bytes move
// when nobody expects them any more.
func (p *faultPager) Wait(ctx context.Context, t pager.Ticket) (pager.Completion, error) {
	p.mu.Lock()
	j := p.jobs[t]
	p.mu.Unlock()
	if j == nil {
		return pager.Completion{}, fmt.Errorf("ticket %d: %w", t, kvferry.ErrNotFound)
	}
	forget := func(fence bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		j.waited = true
		if !fence {
			delete(p.jobs, t)
			return
		}
		p.fenceLocked(j.job)
	}
	known := false
	defer func() {
		if !known {
			forget(true) // a panic
		}
	}()
	err := p.calls.hit("wait")
	known = true
	switch {
	case errors.Is(err, errNotStarted):
		forget(false)
		return pager.Completion{Ticket: t, Outcome: pager.NotStarted, Err: err}, nil
	case errors.Is(err, errUnknown):
		forget(true)
		return pager.Completion{Ticket: t, Outcome: pager.Unknown, Err: fmt.Errorf("%w: %w", kvferry.ErrUnknownOutcome, err)}, nil
	case err != nil:
		forget(true)
		return pager.Completion{}, err
	}
	if !j.started {
		if j.inner, err = p.has.Mover.Submit(context.WithoutCancel(ctx), j.job); err != nil {
			forget(false)
			return pager.Completion{Ticket: t, Outcome: pager.NotStarted, Err: err}, nil
		}
		j.started = true
	}
	c, err := p.has.Mover.Wait(ctx, j.inner)
	if err == nil {
		forget(false)
	}
	c.Ticket = t
	return c, err
}

// fence notes that nobody may use the job's pages again.
func (p *faultPager) fence(job pager.Job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fenceLocked(job)
}

func (p *faultPager) fenceLocked(job pager.Job) {
	if job.Direction == pager.In {
		for _, id := range job.Pages {
			p.fenced[id] = true
		}
	}
}

// late moves the bytes of copies whose end was unknown, long after everybody
// gave them up. The memory on both sides must still be theirs.
func (p *faultPager) late() (moved int, err error) {
	ctx := context.Background()
	p.mu.Lock()
	defer p.mu.Unlock()
	for t, j := range p.jobs {
		delete(p.jobs, t)
		if !j.waited {
			err = errors.Join(err, fmt.Errorf("nobody waited for job %d", t))
			continue
		}
		inner, serr := p.has.Mover.Submit(ctx, j.job)
		if serr != nil {
			err = errors.Join(err, fmt.Errorf("late copy: %w", serr))
			continue
		}
		c, werr := p.has.Mover.Wait(ctx, inner)
		err = errors.Join(err, werr, c.Err)
		moved++
	}
	return moved, err
}

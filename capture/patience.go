package capture

import (
	"context"
	"fmt"
	"time"
)

// patience bounds, batch by batch, calls of a pager that end by their context
// alone. It allocates when it is made and after a batch that took too long, so
// that a long transfer allocates nothing for it. One goroutine uses it.
type patience struct {
	outer context.Context //nolint:containedctx // of all the batches; patience lives within one call
	limit time.Duration
	timed *timed
	timer *time.Timer // of timed; nil after a batch that took too long
}

// timed is a context that ends as one with a deadline does when its cause is
// that time is over.
type timed struct {
	context.Context
	cancel context.CancelCauseFunc
}

// Err implements context.Context.
func (t *timed) Err() error {
	err := t.Context.Err()
	if err != nil && context.Cause(t.Context) == context.DeadlineExceeded { //nolint:errorlint // the very value
		return context.DeadlineExceeded
	}
	return err
}

// patience returns the patience of one goroutine; stop has to be called.
func (t *Transfer) patience(ctx context.Context) *patience {
	p := &patience{outer: ctx, limit: t.CopyDeadline}
	p.begin()
	if !p.timer.Stop() { // a limit shorter than this
		p.stop()
	}
	return p
}

// during runs f, which has its time. An error that comes when it is over says
// so.
func (p *patience) during(f func(ctx context.Context) error) error {
	p.begin()
	err := f(p.timed)
	if p.timer.Stop() {
		return err
	}
	p.stop() // the next batch has another context
	if err != nil && p.outer.Err() == nil {
		return fmt.Errorf("not done within the copy deadline of %v (%w): %w", p.limit, context.DeadlineExceeded, err)
	}
	return err
}

func (p *patience) begin() {
	if p.timer != nil {
		p.timer.Reset(p.limit)
		return
	}
	ctx, cancel := context.WithCancelCause(p.outer)
	p.timed = &timed{Context: ctx, cancel: cancel}
	p.timer = time.AfterFunc(p.limit, func() { cancel(context.DeadlineExceeded) })
}

// stop lets go of what is left. A second stop does nothing.
func (p *patience) stop() {
	if p.timer == nil {
		return
	}
	p.timer.Stop()
	p.timed.cancel(context.Canceled)
	p.timer = nil
}

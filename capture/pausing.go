package capture

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// pausing holds groups still and lets them go again, exactly once each.
type pausing struct {
	groups []Group
	paused int
	since  time.Time
	total  time.Duration
}

// hold pauses every group in order. On error the groups that were paused
// already stay so until release.
func (p *pausing) hold(ctx context.Context) error {
	p.since = time.Now()
	for _, g := range p.groups {
		if err := g.Pager.Pause(ctx); err != nil {
			return fmt.Errorf("pause of group %q: %w", g.Name, err)
		}
		p.paused++
	}
	return nil
}

// release resumes, in reverse order, every group that is paused. It may be
// called again and then does nothing. It ignores that ctx is done: an engine
// is never left standing because its caller went away. A panic of one group
// goes on when all were resumed.
func (p *pausing) release(ctx context.Context) (err error) {
	if p.paused == 0 {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	defer func() {
		if p.paused > 0 { // this group panicked
			err = errors.Join(err, p.release(ctx))
			return
		}
		p.total += time.Since(p.since)
	}()
	for p.paused > 0 {
		p.paused--
		g := p.groups[p.paused]
		if rerr := g.Pager.Resume(ctx); rerr != nil {
			err = errors.Join(err, fmt.Errorf("capture: resume of group %q: %w", g.Name, rerr))
		}
	}
	return err
}

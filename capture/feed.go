package capture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/staging"
)

// shipment is one extent on its way out of a Mover.
type shipment struct {
	mover   pager.Mover
	ticket  pager.Ticket
	ext     *staging.Extent
	batches []batch
	pages   []pager.PageID
	views   [][]byte
	waits   int // attempts to wait for it
}

// maxFlying bounds the copies under way: two keep the link busy, and each has
// its deadline from the time at which it is submitted.
const maxFlying = 4

// feed fills extents through the engines' own movers, several at a time, and
// hands them on in the order in which they were submitted.
func (l *line) feed(ctx context.Context) (err error) {
	var flying []*shipment
	wait := l.c.opts.patience(ctx)
	defer wait.stop()
	defer func() { // whatever happened, no copy is left without an owner
		err = errors.Join(err, l.landAll(context.WithoutCancel(ctx), flying, err == nil))
	}()
	for l.more() {
		var ext *staging.Extent
		if len(flying) < maxFlying {
			ext = l.ring.TryAcquire()
		}
		for ext == nil && len(flying) > 0 {
			err := l.land(ctx, flying[0], true)
			flying = flying[1:] // not before: if the pager panics, it is landed below
			if err != nil {
				return err
			}
			ext = l.ring.TryAcquire()
		}
		if ext == nil {
			if ext, err = l.ring.Acquire(ctx); err != nil {
				return err
			}
		}
		s, err := l.ship(ctx, wait, ext)
		if err != nil {
			return err
		}
		if s != nil {
			flying = append(flying, s)
		}
	}
	return nil
}

func (l *line) more() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == nil && l.span < len(l.spans)
}

// landAll waits for every shipment, also when the pager panics: then the
// panic goes on when the rest has landed. A shipment that is waited for in vain
// twice keeps its memory fenced.
func (l *line) landAll(ctx context.Context, left []*shipment, wanted bool) (err error) {
	defer func() {
		if len(left) == 0 {
			return
		}
		if left[0].waits > 1 {
			left[0].ext.Fence()
			left[0].drop()
			left = left[1:]
		}
		err = errors.Join(err, l.landAll(ctx, left, false))
	}()
	for len(left) > 0 {
		err = errors.Join(err, l.land(ctx, left[0], wanted && err == nil))
		left = left[1:]
	}
	return err
}

// ship claims pages for an extent and submits their copy. Groups without a
// mover are copied here and now; then there is no shipment.
func (l *line) ship(ctx context.Context, wait *patience, ext *staging.Extent) (*shipment, error) {
	s := l.newShipment(ext)
	sp, size := l.load(s)
	p := l.c.groups[sp.group].Pager
	m, ok := p.(pager.Mover)
	if !ok {
		return nil, l.copyShipment(wait, s, sp, size)
	}
	t, err := m.Submit(ctx, pager.Job{
		Direction: pager.Out, Pages: s.pages, Frames: s.views,
		Deadline: time.Now().Add(l.c.opts.CopyDeadline),
	})
	if err != nil {
		s.drop()
		return nil, fmt.Errorf("submit copy of %d pages of group %q: %w", len(s.pages), l.c.groups[sp.group].Name, err)
	}
	s.mover, s.ticket = m, t
	return s, nil
}

// copyShipment reads a shipment's pages one by one and hands its batches on.
func (l *line) copyShipment(wait *patience, s *shipment, sp *span, size int) error {
	whole := false
	defer func() { // also on a panic of the pager
		if !whole {
			s.drop()
		}
	}()
	err := wait.during(func(ctx context.Context) error {
		for i, id := range s.pages {
			if err := l.c.groups[sp.group].Pager.ReadPage(ctx, id, s.views[i][:size]); err != nil {
				return fmt.Errorf("read page %d of group %q: %w", id, l.c.groups[sp.group].Name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	whole = true
	l.deliver(s)
	return nil
}

// load claims the pages of one extent, all of one span.
func (l *line) load(s *shipment) (*span, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.span
	sp := &l.spans[at]
	size := l.c.snapshot.Groups[sp.group].Meta.PageBytes()
	for used := 0; used < s.ext.Len() && l.span == at; {
		b := l.claimLocked(s.ext.Len() - used)
		for i := range b.frames {
			b.frames[i] = s.ext.Frame(used)
			s.views = append(s.views, b.frames[i].Bytes()[:size])
			s.pages = append(s.pages, sp.ids[b.offset+i])
			used++
		}
		s.batches = append(s.batches, b)
	}
	return sp, size
}

// land waits for a shipment and hands its batches on, if wanted.
func (l *line) land(ctx context.Context, s *shipment, wanted bool) error {
	s.waits++
	c, err := s.mover.Wait(ctx, s.ticket)
	if err != nil && ctx.Err() != nil { // the waiting ended, not the copy
		c, err = s.mover.Wait(context.WithoutCancel(ctx), s.ticket)
		wanted = false
	}
	switch {
	case err != nil: // the mover forgot the job: nobody knows how it ended
		s.ext.Fence()
		s.drop()
		return fmt.Errorf("wait for a copy of %d pages: %w: %w", len(s.pages), kvferry.ErrUnknownOutcome, err)
	case c.Outcome == pager.Unknown:
		s.ext.Fence()
		s.drop()
		return fmt.Errorf("copy of %d pages, which keeps its staging memory fenced: %w", len(s.pages), c.Err)
	case c.Outcome != pager.Done:
		s.drop()
		return fmt.Errorf("copy of %d pages: %w", len(s.pages), c.Err)
	case !wanted:
		s.drop()
		return nil
	}
	l.deliver(s)
	return nil
}

// deliver gives a shipment's batches to the workers.
func (l *line) deliver(s *shipment) {
	for _, b := range s.batches {
		l.push(b)
	}
	s.ext.Release()
	l.spare = append(l.spare, s)
}

// newShipment returns an empty shipment. Those that were delivered are used
// again, so that a long capture allocates nothing for them; one that ended
// badly is not, because a mover may still look at its lists.
func (l *line) newShipment(ext *staging.Extent) *shipment {
	n := len(l.spare)
	if n == 0 {
		return &shipment{ext: ext, pages: make([]pager.PageID, 0, ext.Len()), views: make([][]byte, 0, ext.Len())}
	}
	s := l.spare[n-1]
	l.spare = l.spare[:n-1]
	*s = shipment{ext: ext, batches: s.batches[:0], pages: s.pages[:0], views: s.views[:0]}
	return s
}

// drop lets go of a shipment whose bytes are not wanted.
func (s *shipment) drop() {
	for _, b := range s.batches {
		b.release()
	}
	s.ext.Release()
}

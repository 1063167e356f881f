package capture

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/staging"
)

// fillBatchBytes is how much a worker takes at a time: few enough pages that
// the last ones are shared evenly.
const fillBatchBytes = 512 << 10

// filling moves pages from the store into allocated pages of one target.
type filling struct {
	r     *returning
	t     *target
	ring  *staging.Ring
	meter meter
	next  atomic.Int64

	mu     sync.Mutex
	err    error
	crash  any
	cancel context.CancelFunc
}

// fill writes every target's pages. When it returns, no copy is in flight, or
// the pages of those that have no known end are fenced.
func (r *returning) fill(ctx context.Context) error {
	pages, bytes := 0, int64(0)
	for _, t := range r.targets {
		pages += len(t.pages)
		bytes += int64(len(t.pages)) * int64(t.stored.Meta.PageBytes())
	}
	m := newMeter(r.opts.Progress, pages, bytes)
	for _, t := range r.targets {
		if len(t.pages) == 0 {
			continue
		}
		f := &filling{r: r, t: t, meter: m}
		if err := f.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (f *filling) run(ctx context.Context) error {
	size := f.t.stored.Meta.PageBytes()
	mover, _ := f.t.group.Pager.(pager.Mover)
	ring, err := f.newRing(size, mover != nil)
	if err != nil {
		return err
	}
	f.ring = ring
	ctx, f.cancel = context.WithCancel(ctx)
	defer f.cancel()
	var wg sync.WaitGroup
	for range f.r.opts.Workers {
		wg.Go(func() {
			defer f.catch()
			if mover != nil {
				f.fail(f.send(ctx, mover))
			} else {
				f.fail(f.write(ctx))
			}
		})
	}
	wg.Wait()
	cerr := closeRing(ring)
	if f.crash != nil {
		panic(f.crash)
	}
	if f.err == nil {
		f.err = context.Cause(ctx)
	}
	return errors.Join(f.err, cerr) // memory that stays fenced is told besides
}

func (f *filling) fail(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.err == nil:
		f.err = err
		f.cancel()
	case errors.Is(err, kvferry.ErrUnknownOutcome): // never to be passed over
		f.err = errors.Join(f.err, err)
	}
}

// catch keeps a panic to go on in run's caller, after the engine was resumed.
func (f *filling) catch() {
	if r := recover(); r != nil {
		f.mu.Lock()
		if f.crash == nil {
			f.crash = r
		}
		f.mu.Unlock()
		f.fail(fmt.Errorf("panic: %v", r))
	}
}

// claim reserves up to n pages and returns the first and the end.
func (f *filling) claim(n int) (lo, hi int) {
	end := int(f.next.Add(int64(n)))
	return min(end-n, len(f.t.pages)), min(end, len(f.t.pages))
}

// newRing takes the staging memory. What is copied by the workers themselves
// needs a frame for each, or as many as a batch of the store's has pages.
func (f *filling) newRing(size int, mover bool) (*staging.Ring, error) {
	o := &f.r.opts
	switch {
	case mover:
		return o.ring(size, len(f.t.pages), 1, true)
	case batches(f.r.store):
		return o.batchRing(size, len(f.t.pages))
	}
	return o.ring(size, o.Workers, 1, false)
}

// write is a worker for pagers that copy synchronously: it has one extent.
func (f *filling) write(ctx context.Context) error {
	src, err := f.newSource(f.ring.Frames())
	if err != nil {
		return err
	}
	ext, err := f.ring.Acquire(ctx)
	if err != nil {
		return err
	}
	defer ext.Release()
	size := f.t.stored.Meta.PageBytes()
	wait := f.r.opts.patience(ctx)
	defer wait.stop()
	views := make([][]byte, ext.Len())
	for i := range views {
		views[i] = ext.Bytes()[i*size : (i+1)*size : (i+1)*size]
	}
	batch := min(fillBatchBytes/max(size, 1), staging.DefaultMaxFrames)
	batch = max(1, min(batch, len(f.t.pages)/(4*f.r.opts.Workers))) // small caches are shared by all workers
	batch = max(batch, len(views))
	for {
		lo, hi := f.claim(batch)
		if lo == hi {
			return nil
		}
		for at := lo; at < hi; at += len(views) {
			if err := f.copyIn(ctx, wait, src, at, views[:min(len(views), hi-at)]); err != nil {
				return err
			}
		}
		f.meter.add(hi-lo, int64(hi-lo)*int64(size))
	}
}

// copyIn reads the pages from lo on into the views and writes them into the
// engine.
func (f *filling) copyIn(ctx context.Context, wait *patience, src *source, lo int, views [][]byte) error {
	if err := src.read(ctx, lo, views); err != nil {
		return err
	}
	return wait.during(func(ctx context.Context) error {
		for i, v := range views {
			if err := f.t.group.Pager.WritePage(ctx, f.t.ids[lo+i], v); err != nil {
				return fmt.Errorf("write page %d of group %q: %w", f.t.ids[lo+i], f.t.group.Name, err)
			}
		}
		return nil
	})
}

// sent is one extent on its way into the engine.
type sent struct {
	ticket pager.Ticket
	ext    *staging.Extent
	frames []*staging.Frame
	views  [][]byte // bytes of the frames
	ids    []pager.PageID
}

// send is a worker for pagers that copy asynchronously: while one extent is on
// its way the next is read and checked.
func (f *filling) send(ctx context.Context, m pager.Mover) (err error) {
	src, err := f.newSource(f.ring.Frames())
	if err != nil {
		return err
	}
	var before *sent
	spare := f.newSent()
	defer func() {
		if before != nil {
			err = errors.Join(err, f.landed(ctx, m, before))
		}
	}()
	for {
		lo, hi := f.claim(f.ring.Frames())
		if lo == hi {
			return nil
		}
		ext, err := f.ring.Acquire(ctx)
		if err != nil {
			return err
		}
		now := spare
		if err := f.submit(ctx, m, src, now, ext, lo, hi); err != nil {
			return err
		}
		last := before
		before = now
		if last == nil {
			spare = f.newSent()
			continue
		}
		if err := f.landed(ctx, m, last); err != nil {
			return err
		}
		spare = last // nobody looks at its lists any more
	}
}

func (f *filling) newSent() *sent {
	n := f.ring.Frames()
	return &sent{frames: make([]*staging.Frame, 0, n), views: make([][]byte, 0, n)}
}

// submit reads pages lo to hi into ext and starts their copy.
func (f *filling) submit(ctx context.Context, m pager.Mover, src *source, s *sent, ext *staging.Extent, lo, hi int) (err error) {
	*s = sent{ext: ext, ids: f.t.ids[lo:hi], frames: s.frames[:0], views: s.views[:0]}
	full := false
	defer func() { // also on a panic of the store: nothing was submitted yet
		if !full {
			s.release()
		}
	}()
	for i := range hi - lo {
		fr := ext.Frame(i)
		s.frames = append(s.frames, fr)
		s.views = append(s.views, fr.Bytes())
	}
	if err := src.read(ctx, lo, s.views); err != nil {
		return err
	}
	full = true
	answered := false
	defer func() {
		if !answered { // the mover panicked: it may have started
			f.fence(s)
		}
	}()
	s.ticket, err = m.Submit(ctx, pager.Job{
		Direction: pager.In, Pages: s.ids, Frames: s.views,
		Deadline: time.Now().Add(f.r.opts.CopyDeadline),
	})
	answered = true
	if err != nil {
		s.release()
		return fmt.Errorf("submit copy of %d pages into group %q: %w", hi-lo, f.t.group.Name, err)
	}
	return nil
}

func (s *sent) release() {
	for _, fr := range s.frames {
		fr.Release()
	}
	s.ext.Release()
}

// fence keeps the memory and the pages of a copy that has no known end from
// ever being used again.
func (f *filling) fence(s *sent) {
	s.ext.Fence()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range s.ids {
		f.t.fenced[id] = true
	}
}

// landed waits for the end of a copy, whatever becomes of ctx: memory that the
// engine may still read is not let go.
func (f *filling) landed(ctx context.Context, m pager.Mover, s *sent) error {
	defer s.release()
	ended := false
	defer func() { // also on a panic of the mover
		if !ended {
			f.fence(s)
		}
	}()
	c, err := m.Wait(context.WithoutCancel(ctx), s.ticket)
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %w", kvferry.ErrUnknownOutcome, err)
	case c.Outcome == pager.Done:
		ended = true
		n := len(s.ids)
		f.meter.add(n, int64(n)*int64(f.t.stored.Meta.PageBytes()))
		return nil
	case c.Outcome == pager.NotStarted:
		ended = true
		return fmt.Errorf("copy into %d pages of group %q: %w", len(s.ids), f.t.group.Name, c.Err)
	default:
		err = c.Err
	}
	return fmt.Errorf("copy into %d pages of group %q, which stay fenced: %w", len(s.ids), f.t.group.Name, err)
}

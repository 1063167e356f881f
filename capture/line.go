package capture

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/staging"
)

// pullBatchBytes is how much a worker copies before it hashes: small enough
// that the bytes are still in its core's cache, large enough that the lock is
// taken rarely.
const pullBatchBytes = 512 << 10

// line moves pages from the paused groups into the store. Batches of pages
// that are copied wait on a stack for a worker: the newest first, because its
// bytes are in cache. Workers copy whenever there is room in the ring, so that
// the engine waits for copies and not for the store.
type line struct {
	c     *taking
	spans []span
	ring  *staging.Ring
	mover bool // some group copies by itself: batches come from feed
	// perBatch is the number of frames of a batch.
	perBatch int

	mu      sync.Mutex
	wake    *sync.Cond
	ready   []batch // stack of copied batches
	slots   []batch // batches without pages, for reuse
	span    int     // next page to copy: span and offset
	offset  int
	copying int // batches being filled
	err     error
	cancel  context.CancelFunc
	crash   any // what a goroutine panicked with
	copied  chan struct{}
	moved   tally

	spare []*shipment // of feed alone

	progress meter
}

// batch is a number of copied pages of one span, in frames of one extent.
type batch struct {
	span   int
	offset int
	frames []*staging.Frame
}

// newLine takes the staging memory, before the engine is paused: as much as the
// options allow, but not more than the pages that the engine has now.
func newLine(ctx context.Context, c *taking) (*line, error) {
	l := &line{c: c, copied: make(chan struct{})}
	l.wake = sync.NewCond(&l.mu)
	frame, pages := 0, 0
	for _, g := range c.groups {
		ids, err := g.Pager.OccupiedPages(ctx)
		if err != nil {
			return nil, fmt.Errorf("occupied pages of group %q: %w", g.Name, err)
		}
		frame = max(frame, g.Pager.Meta().PageBytes())
		pages += len(ids)
		if _, ok := g.Pager.(pager.Mover); ok {
			l.mover = true
		}
	}
	ring, err := c.opts.ring(frame, pages, len(c.groups), l.mover)
	if err != nil {
		return nil, err
	}
	l.ring = ring
	l.perBatch = min(ring.Frames(), max(1, pullBatchBytes/max(frame, 1)))
	// A worker lets go of a batch's frames just before it gives the slot back:
	// hence one more slot for each.
	n := ring.Extents()*((ring.Frames()+l.perBatch-1)/l.perBatch) + c.opts.Workers
	for range n {
		l.slots = append(l.slots, batch{frames: make([]*staging.Frame, 0, l.perBatch)})
	}
	l.ready = make([]batch, 0, n)
	return l, nil
}

// plan says what is to be copied.
func (l *line) plan(spans []span) {
	pages, bytes := 0, int64(0)
	for _, sp := range spans {
		pages += len(sp.ids)
		bytes += int64(len(sp.ids)) * int64(l.c.snapshot.Groups[sp.group].Meta.PageBytes())
	}
	l.spans = spans
	l.progress = newMeter(l.c.opts.Progress, pages, bytes)
	l.settleLocked() // nobody else is there yet
}

// run moves everything and returns when all goroutines ended. copied is called
// once, from this goroutine, when the last page has been copied; not if an
// error comes before that.
func (l *line) run(ctx context.Context, copied func()) error {
	ctx, l.cancel = context.WithCancel(ctx)
	defer l.cancel()
	stop := context.AfterFunc(ctx, func() { l.fail(context.Cause(ctx)) })
	var wg sync.WaitGroup
	if l.mover {
		wg.Go(l.guard(func() error { return l.feed(ctx) }))
	}
	for range l.c.opts.Workers {
		wg.Go(l.guard(func() error { return l.work(ctx) }))
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	select {
	case <-l.copied:
		l.guard(func() error { copied(); return nil })()
		<-ended
	case <-ended:
		l.mu.Lock()
		whole := l.err == nil && l.doneLocked()
		l.mu.Unlock()
		if whole { // the workers were faster than this goroutine, or there was nothing to copy
			l.guard(func() error { copied(); return nil })()
		}
	}
	stop()
	for _, b := range l.ready { // of a line that failed: nobody wants them
		b.release()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.crash != nil {
		panic(l.crash)
	}
	return l.err
}

// guard wraps a goroutine of the line: its error stops the line, and a panic
// is kept to go on in run's caller, after the engine was resumed.
func (l *line) guard(f func() error) func() {
	return func() {
		defer func() {
			if r := recover(); r != nil {
				l.mu.Lock()
				if l.crash == nil {
					l.crash = r
				}
				l.mu.Unlock()
				l.fail(fmt.Errorf("panic: %v", r))
			}
		}()
		if err := f(); err != nil {
			l.fail(err)
		}
	}
}

// fail stops the line; the first error is the one that counts.
func (l *line) fail(err error) {
	l.mu.Lock()
	switch {
	case l.err == nil:
		l.err = err
		l.cancel()
	case errors.Is(err, kvferry.ErrUnknownOutcome): // never to be passed over
		l.err = errors.Join(l.err, err)
	}
	l.mu.Unlock()
	l.wake.Broadcast()
}

// settleLocked moves to the next span that has pages left.
func (l *line) settleLocked() {
	for l.span < len(l.spans) && l.offset == len(l.spans[l.span].ids) {
		l.span, l.offset = l.span+1, 0
	}
}

// doneLocked reports whether every page has been copied.
func (l *line) doneLocked() bool { return l.span == len(l.spans) && l.copying == 0 }

// claimLocked reserves the next pages, of which there must be some, for the
// frames of a slot.
func (l *line) claimLocked(limit int) batch {
	sp := &l.spans[l.span]
	n := min(limit, l.perBatch, len(sp.ids)-l.offset)
	b := l.slots[len(l.slots)-1]
	l.slots = l.slots[:len(l.slots)-1]
	b.span, b.offset, b.frames = l.span, l.offset, b.frames[:n]
	l.offset += n
	l.copying++
	l.settleLocked()
	return b
}

// push hands a copied batch on and announces the end of copying.
func (l *line) push(b batch) {
	l.mu.Lock()
	l.ready = append(l.ready, b)
	l.copying--
	if l.doneLocked() {
		close(l.copied)
	}
	l.mu.Unlock()
	l.wake.Broadcast()
}

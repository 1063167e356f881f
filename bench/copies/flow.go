package copies

import (
	"context"
	"errors"
	"time"
	"unsafe"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/gpu"
)

// apart is how many jobs of the longest kind have pages and frames of their own,
// and mostFlying bounds the jobs of shorter kinds that are under way.
const (
	apart      = 2
	mostFlying = 8
)

// flow is jobs of one kind, of which several are under way.
type flow struct {
	w       *world
	mover   pager.Mover
	d       pager.Direction
	runs    int
	next    int // of the jobs' places
	tickets []pager.Ticket
}

// flow moves jobs of so many runs one way for about a time, and returns the
// nanoseconds that one took. One that is waited for comes first.
func (w *world) flow(ctx context.Context, way gpu.Path, d pager.Direction, runs int, least time.Duration) (ns float64, err error) {
	if err := w.move(ctx, way, d, runs); err != nil {
		return 0, err
	}
	f := &flow{w: w, mover: w.movers[way], d: d, runs: runs}
	defer func() { err = errors.Join(err, f.drain(ctx)) }() // memory in flight is not left behind
	places := min(mostFlying, len(w.ids)/runs)
	begin := time.Now()
	for range places {
		if err := f.submit(ctx, places); err != nil {
			return 0, err
		}
	}
	for n := 1; ; n++ {
		if err := f.land(ctx); err != nil {
			return 0, err
		}
		if took := time.Since(begin); took >= least && len(f.tickets) == 0 {
			return float64(took.Nanoseconds()) / float64(n), nil
		} else if took >= least {
			continue
		}
		if err := f.submit(ctx, places); err != nil {
			return 0, err
		}
	}
}

// submit starts a job in the place of the one that was waited for last.
func (f *flow) submit(ctx context.Context, places int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	at := f.next % places * f.runs
	f.next++
	t, err := f.mover.Submit(ctx, pager.Job{Direction: f.d, Pages: f.w.ids[at : at+f.runs], Frames: f.w.frames[at : at+f.runs]})
	if err == nil {
		f.tickets = append(f.tickets, t)
	}
	return err
}

// land waits for the oldest job.
func (f *flow) land(ctx context.Context) error {
	t := f.tickets[0]
	f.tickets = append(f.tickets[:0], f.tickets[1:]...)
	c, err := f.mover.Wait(context.WithoutCancel(ctx), t)
	if err != nil {
		return err
	}
	return c.Err
}

// drain waits for every job.
func (f *flow) drain(ctx context.Context) error {
	var errs []error
	for len(f.tickets) > 0 {
		errs = append(errs, f.land(ctx))
	}
	return errors.Join(errs...)
}

// mostBackToBack bounds the copies of the link that are queued at once.
const mostBackToBack = 1024

// link returns the nanoseconds of the copy of one piece, one of as many back to
// back as take about a time, between two events on the device.
func (w *world) link(d pager.Direction, bytes int64, least time.Duration) (float64, error) {
	one, err := w.contiguous(d, bytes, 1) // wakes the link, too
	if err != nil {
		return 0, err
	}
	n := max(4, min(int64(least/max(one, time.Nanosecond)), mostBackToBack))
	all, err := w.contiguous(d, bytes, int(n))
	return float64(all.Nanoseconds()) / float64(n), err
}

// contiguous copies one piece so many times and returns the time on the device.
func (w *world) contiguous(d pager.Direction, bytes int64, times int) (time.Duration, error) {
	host := cuda.Ptr(uintptr(unsafe.Pointer(unsafe.SliceData(w.pinned.Bytes()))))
	c := cuda.Copy{Dst: host, Src: w.memory.Ptr(), Bytes: uint64(bytes)}
	if d == pager.In {
		c.Dst, c.Src = c.Src, c.Dst
	}
	w.queue.Reset()
	w.queue.RecordEvent(w.begin)
	for range times {
		w.queue.Copy(c)
	}
	w.queue.RecordEvent(w.end)
	_, err := w.stream.Submit(&w.queue)
	if err := errors.Join(err, w.stream.Synchronize()); err != nil { // also what was queued before an error ends
		return 0, err
	}
	return w.end.Elapsed(w.begin)
}

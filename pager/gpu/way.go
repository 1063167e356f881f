package gpu

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/codec/planes"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/pager"
)

// way is one direction: its queue, its lanes, and the goroutine that feeds them
// while there is work. The fields below mu are guarded by cache.mu, the others
// belong to that goroutine.
type way struct {
	c         *cache
	direction pager.Direction
	device    *cuda.Memory
	host      *cuda.Pinned
	lanes     []*lane
	slots     []*slot

	free   []*slot
	flying []*slot // oldest first
	stuck  []*slot // fenced
	turn   int     // of the lanes
	idle   int     // looks in vain
	nap    cuda.Sleeper
	queue  cuda.Submission
	copies []cuda.Copy

	crew           crew            // if pages cross the link coded
	coding         *slot           // whose pages it codes
	windows        []planes.Params // by which it encodes
	encode, decode func(h *hostCoder, p piece) error

	// mu
	running bool
	seq     uint64
	touched ages
	open    []*work     // not finished, in the order of submission
	next    int         // of open, the first that is not queued whole
	last    *cuda.Event // of the way in: done when every copy so far is
}

func newWay(c *cache, d pager.Direction) *way {
	w := &way{c: c, direction: d, touched: newAges(c.pages)}
	w.encode, w.decode = w.encodePiece, w.decodePiece
	return w
}

// way returns the direction's.
func (c *cache) way(d pager.Direction) *way { return c.ways[d-pager.Out] }

// other returns the opposite direction.
func (w *way) other() *way { return w.c.ways[pager.In-w.direction] }

// enqueueLocked gives work its place in the order and sees that it is looked at.
func (c *cache) enqueueLocked(k *work) {
	w := c.way(k.job.Direction)
	w.seq++
	k.seq = w.seq
	if k.ticket != 0 {
		c.tickets++
		k.ticket = c.tickets
		c.works[k.ticket] = k
	}
	k.after = w.other().touched.latest(k.job.Pages)
	k.repeats = w.touched.touch(k.job.Pages, k.seq)
	c.countWritesLocked(k)
	w.open = append(w.open, k)
	if !w.running {
		w.running = true
		c.workers.Go(w.run)
	}
	w.rouse()
}

// rouse ends a rest.
func (w *way) rouse() { w.nap.Wake() }

// cancel ends a work early: at once if nothing of it has begun, else when what
// is under way has drained.
func (c *cache) cancel(k *work, why error) {
	w := c.way(k.job.Direction)
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(w.open, k); i > w.next {
		w.open = slices.Delete(w.open, i, i+1)
		k.fail(why)
		w.endLocked(k)
	}
	k.cancelled = why
	w.rouse()
}

// queuedLocked returns the seq up to which all work was queued or given up.
func (w *way) queuedLocked() uint64 {
	if w.next < len(w.open) {
		return w.open[w.next].seq - 1
	}
	return w.seq
}

// endedLocked returns the seq up to which all work has ended.
func (w *way) endedLocked() uint64 {
	if len(w.open) > 0 {
		return w.open[0].seq - 1
	}
	return w.seq
}

// run moves what is queued and returns when nothing is left.
func (w *way) run() {
	for w.more() {
		landed := w.look()
		if queued := w.advance(); landed || queued {
			w.idle = 0
			continue
		}
		w.rest()
	}
}

// more reports whether there is work; if not, the goroutine is about to end.
func (w *way) more() bool {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.running = len(w.open) > 0
	return w.running
}

// The rests between looks: a copy of an extent takes some hundred microseconds.
const (
	looksAwake    = 100
	firstRest     = 10 * time.Microsecond
	longRest      = 200 * time.Microsecond
	restsPerWider = 4
)

// rest passes time until it is worth to look again, or something changed.
func (w *way) rest() {
	w.idle++
	if w.idle <= w.c.awake {
		runtime.Gosched()
		return
	}
	if w.nap.Sleep(min(firstRest<<min((w.idle-w.c.awake)/restsPerWider, 16), longRest)) {
		w.idle = 0
	}
}

// advance queues one batch of the next work, or notes that there is no more of
// it. It reports whether it did anything.
func (w *way) advance() bool {
	k, why, ready := w.head()
	switch {
	case k == nil:
		return false
	case k.queued > 0 && k.queued == len(k.job.Pages): // it may end late
	case why != nil:
		k.fail(why)
	case k.stopped:
	case len(k.job.Pages) == 0 || w.c.runs == nil:
		k.queued = len(k.job.Pages)
	case !ready:
		return false
	default:
		return w.batch(k)
	}
	w.pass()
	return true
}

// head returns the work that is next to be queued, why it is not to be, and
// whether the work of the other way that it has to follow is in the streams.
func (w *way) head() (k *work, why error, ready bool) { //nolint:revive // the error is a value here, not a failure
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if w.next == len(w.open) {
		return nil, nil, false
	}
	k = w.open[w.next]
	return k, w.c.endsLocked(k), w.other().queuedLocked() >= k.after
}

// endsLocked returns why a work is not to go on.
func (c *cache) endsLocked(k *work) error {
	switch {
	case c.lost != nil:
		return c.lost
	case c.closed:
		return fmt.Errorf("pager closed: %w", kvferry.ErrClosed)
	case k.cancelled != nil:
		return k.cancelled
	case !k.job.Deadline.IsZero() && !time.Now().Before(k.job.Deadline):
		return context.DeadlineExceeded
	}
	return nil
}

// pass goes on to the next work.
func (w *way) pass() {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.next++
	w.settleLocked()
	w.other().rouse()
}

// settleLocked ends the works of which nothing is left to do: those with tickets
// in the order of submission.
func (w *way) settleLocked() {
	ordered := true
	for i := 0; i < w.next; {
		k := w.open[i]
		if k.flying > 0 || (k.ticket != 0 && !ordered) {
			ordered = ordered && k.ticket == 0
			i++
			continue
		}
		w.open = slices.Delete(w.open, i, i+1)
		w.next--
		w.endLocked(k)
	}
	w.other().rouse()
}

// endLocked tells the end of a work.
func (w *way) endLocked(k *work) {
	if k.gate != nil {
		w.c.spare = append(w.c.spare, k.gate)
	}
	w.c.countWritesLocked(k)
	w.c.counts.jobs.Add(1)
	k.conclude()
}

package gpu

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kvferry/kvferry/pager"
)

// look lands the oldest batch if it is done, and gives up those whose time is
// over. It reports whether anything ended.
func (w *way) look() bool {
	if len(w.flying) == 0 {
		return false
	}
	if w.flooded() {
		return true
	}
	if s := w.flying[0]; w.done(s) {
		w.land(s, 0)
		return true
	}
	return w.overdue()
}

// done reports whether a batch has ended. An event that cannot be asked tells
// nothing: the batch has failed, and ends when a later answer says so.
func (w *way) done(s *slot) bool {
	done, err := s.done.Done()
	if err == nil {
		s.queries = 0
		return done
	}
	if s.err == nil {
		s.err = err
	}
	if w.c.lose(err) {
		return false
	}
	s.queries++
	return false
}

// maxQueries is how often in a row a batch's event may fail to answer.
const maxQueries = 8

// land ends a batch that is done; it is the i-th of those under way.
func (w *way) land(s *slot, i int) {
	k := s.work
	if s.err == nil && !k.stopped {
		again, err := w.receive(s)
		if again {
			return
		}
		if errors.Is(err, errUnmarked) {
			w.c.lose(err)
			s.unmarked = true
			w.fence(s, i, err)
			return
		}
		s.err = err
	}
	if s.err != nil {
		w.c.lose(s.err)
		k.fail(s.err)
	} else {
		w.c.counts.pages.Add(uint64(s.n))
	}
	w.flying = slices.Delete(w.flying, i, i+1)
	if s.lane.held == s {
		s.lane.held = nil
	}
	w.free = append(w.free, s)
	w.leave(s)
}

// leave takes a batch off its work.
func (w *way) leave(s *slot) {
	k := s.work
	s.work = nil
	k.flying--
	if k.flying > 0 {
		return
	}
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.settleLocked()
}

// receive takes what a batch brought to the host out of the lane's memory. again
// tells that more is on its way.
func (w *way) receive(s *slot) (again bool, err error) {
	if s.work.sums != nil {
		return w.receiveSums(s)
	}
	if s.coded {
		return w.receiveCoded(s)
	}
	if w.direction == pager.In {
		return false, nil
	}
	frames := s.work.job.Frames[s.from : s.from+s.n]
	for i, f := range frames {
		if s.lane.held == s && s.places[i].at == w.bounceAt(s.lane, i) {
			copy(f, s.lane.bounce[int64(i)*w.c.geometry.pageBytes:])
		}
	}
	if w.c.coder != nil {
		w.c.coder.learn(frames, 0)
	}
	return false, nil
}

// overdue fences the batches whose time is over, unless they are done.
func (w *way) overdue() bool {
	now, ended := time.Now(), false
	for i := 0; i < len(w.flying); {
		s := w.flying[i]
		switch {
		case s.queries < maxQueries && !w.late(s.work, now):
			i++
			continue
		case w.done(s):
			n := len(w.flying)
			if w.land(s, i); len(w.flying) == n {
				i++ // it fetches something
			}
		default:
			w.fence(s, i, s.err)
		}
		ended = true
	}
	return ended
}

// late reports whether a work that is under way has had its time: until its
// deadline, and DrainTimeout after it.
func (w *way) late(k *work, now time.Time) bool {
	if k.until.IsZero() {
		w.c.mu.Lock()
		defer w.c.mu.Unlock()
		switch {
		case w.c.closed:
			k.until = w.c.until
		case k.cancelled != nil, !k.job.Deadline.IsZero() && !now.Before(k.job.Deadline), k.stopped:
			k.until = now.Add(w.c.drain)
		default:
			return false
		}
	}
	return !now.Before(k.until)
}

// flooded ends all batches under way if the device is lost.
func (w *way) flooded() bool {
	w.c.mu.Lock()
	lost := w.c.lost
	w.c.mu.Unlock()
	if lost == nil {
		return false
	}
	for len(w.flying) > 0 {
		w.fence(w.flying[0], 0, lost)
	}
	return true
}

// fence gives up the i-th batch under way: its end is not known. Its slot and
// lane are not used again, nor are the pages that it writes.
func (w *way) fence(s *slot, i int, why error) {
	w.flying = slices.Delete(w.flying, i, i+1)
	w.seal(s, why)
	w.leave(s)
}

// seal marks what belongs to a batch with no known end.
func (w *way) seal(s *slot, why error) {
	k := s.work
	if why == nil {
		why = fmt.Errorf("%d pages are still under way after their deadline and %v more", s.n, w.c.drain)
	}
	k.unknown = true
	k.fail(why)
	s.lane.fenced = true
	w.stuck = append(w.stuck, s)
	w.c.counts.fenced.Add(uint64(s.n))
	if w.direction == pager.Out {
		return
	}
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	for _, id := range k.job.Pages[s.from : s.from+s.n] {
		w.c.fenced[id] = struct{}{}
	}
}

package gpu

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
)

// batch puts the next batch of k into a stream. It reports false if there is
// no room yet.
func (w *way) batch(k *work) bool {
	l, err := w.room(k)
	if err != nil {
		k.fail(err)
		return true
	}
	if l == nil {
		return false
	}
	s := w.free[len(w.free)-1]
	s.work, s.lane, s.from, s.err, s.queries, s.fetching = k, l, k.queued, nil, 0, false
	s.unmarked, s.coded = false, false
	w.queue.Reset()
	if err := w.build(s); err != nil {
		w.unbuild(s, err)
		return true
	}
	w.launch(s)
	return true
}

// unbuild fails the work of a batch of which nothing was started.
func (w *way) unbuild(s *slot, err error) {
	s.work.fail(err)
	s.work = nil
	if s.lane.held == s {
		s.lane.held = nil
	}
}

// room returns the lane that is next, nil if it or a slot is not free yet.
func (w *way) room(k *work) (*lane, error) {
	if len(w.free) == 0 && len(w.flying) > 0 {
		return nil, nil //nolint:nilnil // no lane yet is not an error
	}
	for range w.lanes {
		l := w.lanes[w.turn%len(w.lanes)]
		if l.fenced {
			w.turn++
			continue
		}
		if len(w.free) == 0 || (l.held != nil && (k.bounces || k.sums != nil || w.c.coder != nil)) {
			return nil, w.dry()
		}
		return l, nil
	}
	return nil, fmt.Errorf("every staging extent of the way %v is fenced, because copies have no known end: close the pager and open another: %w",
		w.direction, kvferry.ErrOutOfMemory)
}

// dry is an error if nothing is under way that could make room.
func (w *way) dry() error {
	if len(w.flying) > 0 {
		return nil
	}
	return fmt.Errorf("every batch of the way %v is fenced, because copies have no known end: close the pager and open another: %w",
		w.direction, kvferry.ErrOutOfMemory)
}

// build fills the queue with the steps of a batch and sets its size.
func (w *way) build(s *slot) error {
	k := s.work
	if k.sums != nil {
		s.n = min(len(k.job.Pages)-s.from, w.c.limits.digestPages)
	} else {
		s.n = min(len(k.job.Pages)-s.from, w.c.limits.batchPages)
	}
	if w.direction == pager.In && k.repeats {
		s.n = distinct(k.job.Pages[s.from : s.from+s.n])
	}
	ids := k.job.Pages[s.from : s.from+s.n]
	if err := w.c.guarded(w.direction, ids); err != nil { // the engine may have freed some since
		return err
	}
	if k.sums != nil {
		return w.buildSums(s, ids)
	}
	if windows := w.codes(s); windows != nil {
		return w.buildCoded(s, ids, windows)
	}
	w.place(s)
	path := w.c.paths.Choose(w.direction, w.c.geometry.runs(ids, s.places), int64(s.n)*w.c.geometry.pageBytes)
	if path != Staged && s.n > w.c.limits.directPages {
		s.n = w.c.limits.directPages
		ids, s.places = ids[:s.n], s.places[:s.n]
	}
	if w.direction == pager.In {
		w.fillBounce(s)
	}
	if path == Staged {
		return w.buildStaged(s, ids)
	}
	return w.buildDirect(s, ids, path)
}

// place finds where the batch's canonical pages lie on the host.
func (w *way) place(s *slot) {
	k := s.work
	s.places = s.places[:0]
	for i, f := range k.job.Frames[s.from : s.from+s.n] {
		p := place{at: address(f)}
		if k.bounces && !w.c.device.IsPinned(f) {
			p.at = w.bounceAt(s.lane, i)
			s.lane.held = s
		}
		p.joined = i > 0 && w.adjoins(s.lane, s.places[i-1].at, p.at, i, k.job.Frames[s.from+i-1], f)
		s.places = append(s.places, p)
	}
}

// bounceAt returns the place of the i-th page of a batch in the lane's own
// memory.
func (w *way) bounceAt(l *lane, i int) cuda.Ptr {
	return address(l.bounce) + cuda.Ptr(int64(i)*w.c.geometry.pageBytes)
}

// adjoins reports whether a page's place at follows the one before, in the same
// registration.
func (w *way) adjoins(l *lane, before, at cuda.Ptr, i int, last, f []byte) bool {
	if at != before+cuda.Ptr(w.c.geometry.pageBytes) {
		return false
	}
	bounced, was := at == w.bounceAt(l, i), before == w.bounceAt(l, i-1)
	if bounced || was {
		return bounced && was
	}
	return w.c.device.IsPinned(seam(last, f))
}

// fillBounce brings frames that are not pinned into the lane's memory.
func (w *way) fillBounce(s *slot) {
	if s.lane.held != s {
		return
	}
	for i, p := range s.places {
		if p.at == w.bounceAt(s.lane, i) {
			copy(s.lane.bounce[int64(i)*w.c.geometry.pageBytes:], s.work.job.Frames[s.from+i])
		}
	}
}

// buildStaged is one kernel, and few copies between the extent and the frames.
func (w *way) buildStaged(s *slot, ids []pager.PageID) error {
	c, q, l := w.c, &w.queue, s.lane
	w.copies = c.geometry.staged(w.copies[:0], w.direction, l.staging, s.places)
	pages := w.table(s, ids)
	if w.direction == pager.In {
		w.addCopies(cuda.Batch)
		if err := w.order(s, ids); err != nil {
			return err
		}
		return w.kernelErr(c.runs.Scatter(q, pages))
	}
	if err := w.order(s, ids); err != nil {
		return err
	}
	if err := w.kernelErr(c.runs.Gather(q, pages)); err != nil {
		return err
	}
	w.addCopies(cuda.Batch)
	return nil
}

// kernelErr names the step that could not be added.
func (w *way) kernelErr(err error) error {
	if err != nil {
		return fmt.Errorf("gather or scatter: %w", err)
	}
	w.c.counts.launches.Add(1)
	return nil
}

// table brings the page numbers into the lane's memory, where the kernels look
// for one with every unit: over the link each look would take a microsecond.
func (w *way) table(s *slot, ids []pager.PageID) kernels.Pages {
	for i, id := range ids {
		s.numbers[i] = uint32(id)
	}
	l, host := s.lane, cuda.Ptr(uintptr(unsafe.Pointer(unsafe.SliceData(s.numbers))))
	w.link(cuda.Copy{Dst: l.numbers, Src: host, Bytes: uint64(numberBytes * len(ids))})
	return kernels.Pages{
		Numbers: l.numbers, Count: len(ids), Staging: l.staging, Stride: w.c.geometry.pageBytes, Blocks: w.c.blocks,
	}
}

// buildDirect copies every run by itself.
func (w *way) buildDirect(s *slot, ids []pager.PageID, path Path) error {
	if err := w.order(s, ids); err != nil {
		return err
	}
	w.copies = w.c.geometry.direct(w.copies[:0], w.direction, ids, s.places, path == Direct)
	method := cuda.Batch
	if path == Plain {
		method = cuda.Single
	}
	w.addCopies(method)
	return nil
}

// order adds what pages must wait for before they are touched: in a lane's first
// batch of a work the engine's streams and the other way's copies of these
// pages, and always the copy in before this one. It refuses pages that were
// fenced since the work was submitted: the work that was to write them counts as
// ended, but no event tells when.
func (w *way) order(s *slot, ids []pager.PageID) error {
	c, k := w.c, s.work
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.fencedLocked(ids); err != nil {
		return err
	}
	if w.direction == pager.In && w.last != nil && len(w.flying)+len(w.stuck) > 0 {
		w.queue.WaitEvent(w.last)
	}
	if s.lane.ready == k.seq {
		return nil
	}
	if k.gate != nil {
		for _, e := range k.gate.events {
			w.queue.WaitEvent(e)
		}
	}
	o := w.other()
	if o.endedLocked() >= k.after {
		return nil
	}
	if o.last != nil {
		w.queue.WaitEvent(o.last)
	}
	for _, l := range o.lanes {
		if w.direction == pager.In && l.last != nil {
			w.queue.WaitEvent(l.last)
		}
	}
	return nil
}

// launch submits the queue as the batch s.
func (w *way) launch(s *slot) {
	k := s.work
	w.queue.RecordEvent(s.done)
	w.c.counts.submissions.Add(1)
	issued, err := s.lane.stream.Submit(&w.queue)
	if issued == 0 && err != nil { // nothing was started
		w.c.lose(err)
		w.unbuild(s, fmt.Errorf("submit: %w", err))
		return
	}
	w.free = w.free[:len(w.free)-1]
	k.queued += s.n
	k.flying++
	w.turn++
	if err != nil {
		s.err = fmt.Errorf("submit: %w", err)
		k.fail(s.err)
		if err := w.mark(s); err != nil {
			w.c.lose(err)
			s.unmarked = true
			w.seal(s, errors.Join(s.err, err))
			w.leave(s)
			return
		}
	}
	w.flying = append(w.flying, s)
	w.queuedOn(s)
	if err == nil && w.direction == pager.In && k.queued == len(k.job.Pages) {
		w.tellEngine(s)
	}
}

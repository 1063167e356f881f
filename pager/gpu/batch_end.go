package gpu

import (
	"context"
	"fmt"
	"time"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/pager"
)

// mark records the end of a submission that stopped midway, so that what was
// queued of it can be waited for. It is tried twice.
func (w *way) mark(s *slot) error {
	var err error
	for range 2 {
		w.queue.Reset()
		w.queue.RecordEvent(s.done)
		w.c.counts.submissions.Add(1)
		if _, err = s.lane.stream.Submit(&w.queue); err == nil || isLost(err) {
			break
		}
	}
	return err
}

// queuedOn notes that a batch is in its lane's stream.
func (w *way) queuedOn(s *slot) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	s.lane.ready = s.work.seq
	s.lane.last = s.done
	if w.direction == pager.In {
		w.last = s.done
	}
}

// tellEngine lets each of the engine's streams wait for a copy into pages. The
// stream's order makes the last batch's end that of all. A stream that is being
// captured by now refuses, as the graph would wait with every launch: it needs no
// wait once the work is Done, which it is when the host has seen all batches end.
func (w *way) tellEngine(s *slot) {
	for _, e := range w.c.engines {
		w.queue.Reset()
		w.queue.WaitEvent(s.done)
		w.c.counts.submissions.Add(1)
		issued, err := e.Submit(&w.queue)
		if err != nil && issued == 0 {
			if captured, failed := e.Capturing(); captured && failed == nil {
				continue
			}
		}
		if err != nil {
			w.c.lose(err)
			s.err = fmt.Errorf("let the engine's stream %#x wait for a copy: %w", e.Handle(), err)
			return
		}
	}
}

// addCopies adds w.copies to the queue and to the counts. A single one needs no
// batch.
func (w *way) addCopies(m cuda.Method) {
	if len(w.copies) == 1 {
		m = cuda.Single
	}
	w.queue.Copies(w.copies, m)
	bytes := uint64(0)
	for _, one := range w.copies {
		bytes += one.Bytes
	}
	w.c.counts.copies.Add(uint64(len(w.copies)))
	w.c.counts.bytes.Add(bytes)
}

// fetch submits w.copies as a sequel of a batch; its event is recorded anew.
// again tells that something is under way. When the work's time is over nothing
// is fetched, since the batch, which is done, would be fenced before it arrives.
func (w *way) fetch(s *slot) (again bool, err error) {
	if w.late(s.work, time.Now()) {
		return false, fmt.Errorf("too late to fetch what %d pages became: %w", s.n, context.DeadlineExceeded)
	}
	w.queue.Reset()
	w.addCopies(cuda.Batch)
	w.queue.RecordEvent(s.done)
	w.c.counts.submissions.Add(1)
	issued, err := s.lane.stream.Submit(&w.queue)
	if err == nil {
		return true, nil
	}
	err = fmt.Errorf("submit: %w", err)
	if issued == 0 {
		return false, err
	}
	if failed := w.mark(s); failed != nil {
		return false, fmt.Errorf("%w: %w: %w", errUnmarked, err, failed)
	}
	s.err = err
	return true, nil
}

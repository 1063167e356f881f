package art

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// Remove implements index.Writer.
func (x *Index) Remove(ctx context.Context, rs []index.Removal) (n int, err error) {
	if err := x.take(ctx); err != nil {
		return 0, err
	}
	defer x.give()
	from, found := x.begin(), false
	for i := range rs {
		m := &rs[i]
		bs := x.state.pick(m)
		if len(bs) == 0 {
			continue
		}
		found = true
		wid, _ := x.state.workers.find(m.Worker) // it has records, so both are defined
		x.buf = appendRemove(x.buf, scopeID(x.state.keyOf(bs[0])), wid, m)
		if len(x.buf) > maxEntries {
			return 0, fmt.Errorf("art: remove of more than %d bytes at once: %w", maxEntries, kvferry.ErrInvalid)
		}
	}
	if !found {
		return 0, nil
	}
	err = x.commit("remove", from, &index.Change{Kind: index.DidRemove, Removals: rs}, func(s *state) {
		for i := range rs {
			n += s.remove(&rs[i])
		}
	})
	x.metrics.removes.Add(uint64(n))
	return n, err
}

// ClearWorker implements index.Writer.
func (x *Index) ClearWorker(ctx context.Context, worker string) (n int, err error) {
	if err := x.take(ctx); err != nil {
		return 0, err
	}
	defer x.give()
	wid, ok := x.state.workers.find(worker)
	if !ok || x.state.workers.at(wid).blocks == 0 {
		return 0, nil
	}
	from := x.begin()
	x.buf = appendUints(append(x.buf, entryClearWorker), uint64(wid))
	c := &index.Change{Kind: index.DidClearWorker, Worker: worker}
	err = x.commit("clear worker", from, c, func(s *state) { n = s.clearWorker(wid, false) })
	x.metrics.cleared.Add(uint64(n))
	return n, err
}

// Clear implements index.Writer.
func (x *Index) Clear(ctx context.Context) error {
	if err := x.take(ctx); err != nil {
		return err
	}
	defer x.give()
	if x.state.count.blocks == 0 {
		return nil
	}
	from, n := x.begin(), 0
	x.buf = append(x.buf, entryClear)
	err := x.commit("clear", from, &index.Change{Kind: index.DidClear}, func(s *state) { n = s.clear() })
	x.metrics.cleared.Add(uint64(n))
	return err
}

// Expire implements index.Writer.
func (x *Index) Expire(ctx context.Context, before uint64) (n int, err error) {
	if err := x.take(ctx); err != nil {
		return 0, err
	}
	defer x.give()
	a := x.state.aged(before) // only who has the turn changes anything
	if len(a.blocks) == 0 {
		x.mu.Lock()
		x.state.oldest = a.oldest
		x.mu.Unlock()
		return 0, nil
	}
	from := x.begin()
	x.buf = appendUints(append(x.buf, entryExpire), before)
	c := &index.Change{Kind: index.DidExpire, Before: before}
	err = x.commit("expire", from, c, func(s *state) { n = s.expire(a) })
	x.metrics.expired.Add(uint64(n))
	return n, err
}

// Announce implements index.Announcer.
func (x *Index) Announce(ctx context.Context, worker string, incarnation uint64) error {
	if incarnation == 0 {
		return fmt.Errorf("art: announce %q: incarnation 0: %w", worker, kvferry.ErrInvalid)
	}
	if len(worker) > index.MaxFieldBytes {
		return fmt.Errorf("art: announce a worker with a name of %d bytes, at most %d: %w", len(worker), index.MaxFieldBytes, kvferry.ErrInvalid)
	}
	if err := x.take(ctx); err != nil {
		return err
	}
	defer x.give()
	if !x.state.workers.room(1) {
		return fmt.Errorf("art: announce: more than %d workers: %w", maxNames, kvferry.ErrNoSpace)
	}
	from := x.begin()
	wid := x.workerID(worker)
	w := x.state.workers.at(wid)
	if w.incarnation == incarnation && !w.unconfirmed {
		x.undo()
		return nil
	}
	c := &index.Change{Kind: index.DidAnnounce, Worker: worker, Incarnation: incarnation}
	c.Gone = w.incarnation != incarnation && (w.incarnation != 0 || w.unconfirmed)
	x.buf = appendUints(append(x.buf, entryAnnounce), uint64(wid), incarnation)
	if c.Gone {
		x.buf = appendUints(append(x.buf, entryVanish), uint64(wid))
	}
	n := 0
	err := x.commit("announce", from, c, func(s *state) { n = x.heard(s, wid, c) })
	x.metrics.cleared.Add(uint64(n))
	return err
}

// heard makes an announcement, and completes the change that it is.
func (x *Index) heard(s *state, wid uint32, c *index.Change) (n int) {
	w := s.workers.at(wid)
	if c.Gone {
		n = s.clearWorker(wid, true)
	} else if w.unconfirmed && x.watched {
		c.Records = s.revived(wid)
	}
	s.confirm(w)
	w.incarnation = c.Incarnation
	return n
}

// revived returns the records of a worker that are stale until it is confirmed.
func (x *state) revived(wid uint32) (rs []index.Record) {
	w := x.workers.at(wid)
	w.unconfirmed = false
	for b := w.first; b != 0; {
		hs := x.holders(x.block(b))
		from, _ := x.span(hs, wid)
		rs = x.emitIf(rs, b, known{}, func(h *holder) bool { return h.worker == wid && h.tier.Volatile() })
		b = hs[from].after
	}
	w.unconfirmed = true
	index.Sort(rs)
	return rs
}

// Workers implements index.Announcer.
func (x *Index) Workers(ctx context.Context) ([]index.Worker, error) {
	if err := x.view(ctx); err != nil {
		return nil, err
	}
	defer x.mu.RUnlock()
	var ws []index.Worker
	for _, w := range x.state.workers.all {
		if w == nil || !w.known() {
			continue
		}
		stale, _ := w.stale()
		ws = append(ws, index.Worker{Name: w.name, Incarnation: w.incarnation, Stale: stale > 0, Blocks: w.blocks - stale})
	}
	slices.SortFunc(ws, func(a, b index.Worker) int { return strings.Compare(a.Name, b.Name) })
	return ws, nil
}

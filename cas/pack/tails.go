package pack

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
)

// tails are records that this process wrote into packs of snapshots and that
// never came to the log, since their sessions ended before: what lies before the
// last record that the log knows of a pack is dead there, and what lies behind it
// is told only here. It counts for the quota of this process until a collection,
// or Close, cuts it off. In the cache, which goes on whatever happens, nobody
// counts it.
type tails struct {
	bytes atomic.Int64

	mu    sync.Mutex
	packs map[uint64][]extent // by offset, none touches another
}

type extent struct{ off, end int64 }

// add notes records that nobody needs and that the log does not know.
func (t *tails) add(spots []packfile.Spot) {
	if len(spots) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.packs == nil {
		t.packs = map[uint64][]extent{}
	}
	more := map[uint64]bool{}
	for _, s := range spots {
		t.packs[s.Pack] = append(t.packs[s.Pack], extent{s.Off, s.Off + s.Bytes})
		more[s.Pack] = true
	}
	for pack := range more {
		t.packs[pack] = joined(t.packs[pack])
	}
	t.countLocked()
}

// joined sorts extents and joins those that touch.
func joined(parts []extent) []extent {
	slices.SortFunc(parts, func(a, b extent) int { return cmp.Compare(a.off, b.off) })
	out := parts[:1]
	for _, e := range parts[1:] {
		if last := &out[len(out)-1]; e.off <= last.end {
			last.end = max(last.end, e.end)
		} else {
			out = append(out, e)
		}
	}
	return out
}

// cut forgets what lies in a pack before or behind some place: the log tells of
// the one, the other is no longer there.
func (t *tails) cut(pack uint64, from, to int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	parts, ok := t.packs[pack]
	if !ok {
		return
	}
	parts = slices.DeleteFunc(parts, func(e extent) bool { return e.off < from || e.end > to })
	if t.packs[pack] = parts; len(parts) == 0 {
		delete(t.packs, pack)
	}
	t.countLocked()
}

func (t *tails) countLocked() {
	sum := int64(0)
	for _, parts := range t.packs {
		for _, e := range parts {
			sum += e.end - e.off
		}
	}
	t.bytes.Store(sum)
}

// ids returns the packs that have a tail.
func (t *tails) ids() []uint64 {
	if t.bytes.Load() == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.packs))
}

func (t *tails) has(pack uint64) bool { return slices.Contains(t.ids(), pack) }

// settle notes which of the places that a step gave up the log does not know,
// and forgets those before what it came to know.
func (s *Store) settle(class cas.Class, spots []packfile.Spot) {
	if class == cas.Cache {
		return
	}
	st := s.st()
	var lost []packfile.Spot
	for _, at := range spots {
		if p := st.packs.get(at.Pack); p == nil || p.end.Load() <= at.Off {
			lost = append(lost, at)
		}
	}
	s.tails.add(lost)
	for _, id := range s.tails.ids() {
		if p := st.packs.get(id); p != nil {
			s.tails.cut(id, p.end.Load(), math.MaxInt64)
		}
	}
}

// review forgets the tails that are no longer there, since a collector of
// another process cut them off. It reports whether there were any.
func (s *Store) review() bool {
	before := s.tails.bytes.Load()
	for _, id := range s.tails.ids() {
		size := int64(0)
		if info, err := s.fs.Stat(packfile.Path(id)); err == nil {
			size = info.Size
		} else if !missing(err) {
			continue
		}
		s.tails.cut(id, 0, size)
	}
	return s.tails.bytes.Load() < before
}

// endTails lets go of the packs that this process writes to and that have a
// tail, and of full ones, so that a collection can cut it off.
func (s *Store) endTails(ctx context.Context) error {
	for _, lane := range s.openLanes() {
		if err := lane.LeavePoisoned(ctx); err != nil { // nothing else would ever end it
			return err
		}
		if id, _, ok := lane.Active(); ok && s.tails.has(id) {
			if err := lane.Seal(ctx); err != nil {
				return err
			}
		}
		if err := lane.AwaitClosing(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) openLanes() []*packfile.Lane {
	s.lanesMu.Lock()
	defer s.lanesMu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.lanes[:]), func(l *packfile.Lane) bool { return l == nil })
}

// cutTails removes what was written for nothing.
func (s *Store) cutTails(ctx context.Context) error {
	if err := s.endTails(ctx); err != nil {
		return err
	}
	_, err := s.tidyPacks(ctx, false)
	return err
}

// leaveTails cuts off the tails of a store that is being closed, whose lanes are
// closed. What fails here is left to a collection.
func (s *Store) leaveTails(ctx context.Context) {
	for _, id := range s.tails.ids() {
		_, _ = s.tidyPack(ctx, packfile.Path(id), id, false) // see above
	}
}

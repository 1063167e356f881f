package pack

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
)

// tails are records that this process wrote and that never came to the log,
// since their sessions ended before: what lies before the last record that the
// log knows of a pack is dead there, and what lies behind it is told only here.
// It counts for the quota until a collection cuts it off.
type tails struct {
	bytes [2]atomic.Int64 // by class

	mu    sync.Mutex
	packs map[uint64]*tail
}

// tail is that of one pack.
type tail struct {
	class cas.Class
	parts []extent // by offset, none touches another
}

type extent struct{ off, end int64 }

// add notes records of a class that nobody needs and that the log does not know.
func (t *tails) add(class cas.Class, spots []packfile.Spot) {
	if len(spots) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.packs == nil {
		t.packs = map[uint64]*tail{}
	}
	for _, s := range spots {
		x := t.packs[s.Pack]
		if x == nil {
			x = &tail{class: class}
			t.packs[s.Pack] = x
		}
		x.parts = append(x.parts, extent{s.Off, s.Off + s.Bytes})
	}
	for _, s := range spots {
		x := t.packs[s.Pack]
		slices.SortFunc(x.parts, func(a, b extent) int { return cmp.Compare(a.off, b.off) })
		joined := x.parts[:1]
		for _, e := range x.parts[1:] {
			if last := &joined[len(joined)-1]; e.off <= last.end {
				last.end = max(last.end, e.end)
			} else {
				joined = append(joined, e)
			}
		}
		x.parts = joined
	}
	t.countLocked()
}

// cut forgets what lies in a pack before or behind some place: the log tells of
// the one, the other is no longer there.
func (t *tails) cut(pack uint64, from, to int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.packs[pack]
	if x == nil {
		return
	}
	x.parts = slices.DeleteFunc(x.parts, func(e extent) bool { return e.off < from || e.end > to })
	if len(x.parts) == 0 {
		delete(t.packs, pack)
	}
	t.countLocked()
}

func (t *tails) countLocked() {
	var sums [2]int64
	for _, x := range t.packs {
		for _, e := range x.parts {
			sums[x.class] += e.end - e.off
		}
	}
	for class, n := range sums {
		t.bytes[class].Store(n)
	}
}

// ids returns the packs that have a tail.
func (t *tails) ids() []uint64 {
	if t.bytes[cas.Snapshot].Load()+t.bytes[cas.Cache].Load() == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]uint64, 0, len(t.packs))
	for id := range t.packs {
		out = append(out, id)
	}
	return out
}

func (t *tails) has(pack uint64) bool { return slices.Contains(t.ids(), pack) }

// settle notes which of the places that a step gave up the log does not know,
// and forgets those before what it came to know.
func (s *Store) settle(class cas.Class, spots []packfile.Spot) {
	st := s.st()
	var lost []packfile.Spot
	for _, at := range spots {
		if p := st.packs.get(at.Pack); p == nil || p.end.Load() <= at.Off {
			lost = append(lost, at)
		}
	}
	s.tails.add(class, lost)
	for _, id := range s.tails.ids() {
		if p := st.packs.get(id); p != nil {
			s.tails.cut(id, p.end.Load(), 1<<62)
		}
	}
}

// review forgets the tails that are no longer there, since a collector of
// another process cut them off. It reports whether there were any.
func (s *Store) review() bool {
	before := s.tails.bytes[cas.Snapshot].Load() + s.tails.bytes[cas.Cache].Load()
	for _, id := range s.tails.ids() {
		size := int64(0)
		if info, err := s.fs.Stat(packfile.Path(id)); err == nil {
			size = info.Size
		} else if !missing(err) {
			continue
		}
		s.tails.cut(id, 0, size)
	}
	return s.tails.bytes[cas.Snapshot].Load()+s.tails.bytes[cas.Cache].Load() < before
}

// endTails lets go of the packs that this process writes to and that have a
// tail, and of full ones, so that a collection can cut it off.
func (s *Store) endTails(ctx context.Context) error {
	for _, lane := range s.openLanes() {
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

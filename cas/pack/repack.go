package pack

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/cas/pack/internal/table"
	"github.com/kvferry/kvferry/digest"
)

// repackTogether is how many packs are listed in one pass over the table.
const repackTogether = 16

// manySmall is how many packs of less than a quarter of the full size are
// worth joining, as many short-lived processes leave them.
const manySmall = 8

// repack copies what is left in packs with much garbage to a new pack and
// removes them, one after the other: the room that it takes at any time beyond
// what the store takes is that of two packs, one that is being copied and one
// that is being removed; on a full disk that of one.
func (c *collection) repack(ctx context.Context) (err error) {
	tried := false
	defer func() {
		err = errors.Join(err, c.removed())
		if err == nil && tried {
			err = c.s.cutTails(ctx)
		}
	}()
	for group := range slices.Chunk(c.worth(), repackTogether) {
		lists := c.s.contents(group)
		for _, p := range group {
			if err := ctx.Err(); err != nil {
				return err
			}
			err := c.repackOne(ctx, p, lists[p])
			if errors.Is(err, kvferry.ErrNoSpace) && !errors.Is(err, kvferry.ErrPoisoned) && c.removing != nil {
				tried = true
				if err = c.removed(); err == nil { // that made some, and so does what was copied in vain
					err = c.s.cutTails(ctx)
				}
				if err == nil {
					err = c.repackOne(ctx, p, c.s.contents([]*packInfo{p})[p])
				}
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// removal is a pack that is being removed beside the next copy, which takes the
// file system as long as a good part of that.
type removal struct {
	done  chan error
	freed int64
}

// removeLater begins to remove a pack that the log has dropped, after the one before.
func (c *collection) removeLater(p *packInfo, freed int64) error {
	if err := c.removed(); err != nil {
		return errors.Join(err, c.s.removePack(p))
	}
	c.removing = &removal{make(chan error, 1), freed}
	go func(done chan<- error) { done <- c.s.removePack(p) }(c.removing.done)
	return nil
}

// removed waits until the pack is removed, if one is.
func (c *collection) removed() error {
	if c.removing == nil {
		return nil
	}
	err := <-c.removing.done
	if err == nil {
		c.report.FreedBytes += c.removing.freed
	}
	c.removing = nil
	return err
}

// worth lists the packs that are copied, the emptiest first.
func (c *collection) worth() []*packInfo {
	var out, small []*packInfo
	left := map[*packInfo]int64{}
	for _, p := range c.s.st().packs.all() {
		if p.class != cas.Snapshot {
			continue
		}
		whole := p.end.Load() - packHeaderBytes
		left[p] = p.live.Load()
		if c.o.DryRun {
			for _, b := range c.garbage[p] {
				left[p] -= b.bytes
			}
		}
		switch dead := p.dead() + p.quarantined.Load() + p.live.Load() - left[p]; {
		case left[p] == 0 || float64(dead) > c.s.o.RepackDead*float64(whole):
			out = append(out, p)
		case whole < c.s.o.PackBytes/4:
			small = append(small, p)
		}
	}
	if len(small) >= manySmall {
		out = append(out, small...)
	}
	slices.SortStableFunc(out, func(a, b *packInfo) int { return cmp.Compare(left[a], left[b]) })
	return out
}

// contents lists the blobs in packs, in the order in which they lie.
func (s *Store) contents(packs []*packInfo) map[*packInfo][]stored {
	in := make(map[uint32]*packInfo, len(packs))
	for _, p := range packs {
		in[p.slot] = p
	}
	out := make(map[*packInfo][]stored, len(packs))
	s.st().table.All(func(d digest.Digest, at table.Place, _ uint8) bool {
		if p := in[at.Slot()]; p != nil {
			out[p] = append(out[p], stored{d, at.Offset(), at.Size()})
		}
		return true
	})
	for _, list := range out {
		slices.SortFunc(list, func(a, b stored) int { return cmp.Compare(a.off, b.off) })
	}
	return out
}

// repackOne copies what is left of one pack, unless somebody writes to it.
func (c *collection) repackOne(ctx context.Context, p *packInfo, list []stored) error {
	free, err := c.s.letGo(ctx, p, c.o.DryRun)
	if err != nil || !free {
		return err
	}
	left := p.live.Load()
	if c.o.DryRun {
		for _, b := range c.garbage[p] {
			left -= b.bytes
		}
		c.report.MovedBytes += left
		c.report.FreedBytes += p.end.Load() - packHeaderBytes - left
		return nil
	}
	if int64(len(list)) < p.blobs.Load() { // what was pending when they were listed
		list = c.s.contents([]*packInfo{p})[p]
	}
	copies, err := c.s.copyRecords(ctx, p, list)
	if err != nil {
		return err
	}
	moved, gone, err := c.s.relocate(ctx, p, copies)
	if err != nil {
		return err
	}
	c.report.MovedBytes += moved
	if gone {
		return c.removeLater(p, p.end.Load()-packHeaderBytes-moved)
	}
	return nil
}

// letGo reports whether nobody writes to a pack, and ends it if this process
// does. In a dry run it only tells.
func (s *Store) letGo(ctx context.Context, p *packInfo, dry bool) (bool, error) {
	for class := range s.lanes {
		s.lanesMu.Lock()
		lane := s.lanes[class]
		s.lanesMu.Unlock()
		if lane == nil {
			continue
		}
		if id, _, ok := lane.Active(); !ok || id != p.id {
			continue
		}
		if dry {
			return true, nil
		}
		if err := lane.Seal(ctx); err != nil {
			return false, err
		}
		if err := s.commits.submit(ctx, &request{flush: true}); err != nil {
			return false, err
		}
	}
	// A process that starts another one shares its locks with that until the
	// program runs, also those that it just gave up.
	for wait := time.Millisecond; ; wait *= 2 {
		free, err := s.abandoned(packfile.Path(p.id))
		if free || err != nil || wait > 64*time.Millisecond {
			return free, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// copied is a record of a pack and where its copy is.
type copied struct {
	from stored
	to   packfile.Spot
}

// copyRecords copies records, durably, and returns those that were sound.
func (s *Store) copyRecords(ctx context.Context, p *packInfo, list []stored) ([]copied, error) {
	if len(list) == 0 {
		return nil, nil
	}
	lane, err := s.lane(moves)
	if err != nil {
		return nil, err
	}
	spots := make([]packfile.Spot, len(list))
	for i, b := range list {
		spots[i] = packfile.Spot{Pack: p.id, Off: b.off, Bytes: b.bytes}
	}
	var mu sync.Mutex
	out := make([]copied, 0, len(list))
	var failure error
	s.reader.ReadBatch(ctx, spots, s.copyThreads(), func(i int, rec []byte, err error) {
		var to packfile.Spot
		if err == nil {
			err = packfile.CheckBlob(rec, list[i].d)
		}
		if err == nil {
			to, err = lane.Append(ctx, list[i].bytes, func(dst []byte) { copy(dst, rec) })
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			out = append(out, copied{list[i], to})
		case !stale(err) && failure == nil:
			failure = err
		}
	})
	if failure == nil {
		failure = lane.Sync(ctx)
	}
	for i := 0; failure == nil && i < len(out); i++ {
		failure = lane.Check(out[i].to) // a Sync that was not waited for may have told
	}
	if failure != nil {
		s.tails.add(spotsOf(out))
		lane.ReleaseAll(spotsOf(out))
		return nil, failure
	}
	slices.SortFunc(out, func(a, b copied) int {
		return cmp.Or(cmp.Compare(a.to.Pack, b.to.Pack), cmp.Compare(a.to.Off, b.to.Off))
	})
	return out, nil
}

// copyThreads is how many reads a collection has in flight: as many as pay where
// no session of this process wants the disk.
func (s *Store) copyThreads() int {
	n := runtime.GOMAXPROCS(0)
	if len(s.openSessions()) > 0 {
		return n
	}
	return 2 * n
}

func spotsOf(list []copied) []packfile.Spot {
	out := make([]packfile.Spot, len(list))
	for i := range list {
		out[i] = list[i].to
	}
	return out
}

// relocate tells the log where the blobs of a pack are now. If nothing else is
// left in it, the pack is dropped. It returns the bytes that moved.
func (s *Store) relocate(ctx context.Context, p *packInfo, copies []copied) (moved int64, gone bool, err error) {
	lane, err := s.lane(moves)
	if err != nil {
		return 0, false, err
	}
	defer func() {
		s.settle(cas.Snapshot, spotsOf(copies))
		lane.ReleaseAll(spotsOf(copies))
	}()
	err = s.commits.submit(ctx, &request{room: frees, build: func(_ *view, o *ops) error {
		moved = 0
		n := int64(0)
		var list []stored
		var pack uint64
		emit := func() {
			if len(list) > 0 {
				o.add(pack, cas.Snapshot, p.newest.Load(), list)
				list = list[:0]
			}
		}
		for _, x := range copies {
			if _, there := s.st().is(x.from.d, p, x.from.off); !there {
				continue // quarantined, or put anew
			}
			if x.to.Pack != pack || len(list) == listMax {
				emit()
				pack = x.to.Pack
			}
			list = append(list, stored{x.from.d, x.to.Off, x.to.Bytes})
			moved += x.to.Bytes
			n++
		}
		emit()
		// After a rebase p tells nothing any more: others may have added to it.
		if gone = n == p.blobs.Load() && s.st().packs.get(p.id) == p; gone {
			o.drop(p.id)
		}
		return nil
	}})
	return moved, gone && err == nil, err
}

package pack

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/table"
)

// packInfo is what is known of one pack file. The counts are those of the
// blobs that the table places in it.
type packInfo struct {
	id    uint64
	class cas.Class
	slot  uint32

	gone        atomic.Bool  // dropped: its entries in the table count as absent
	end         atomic.Int64 // of the last record that was ever committed
	newest      atomic.Int64 // unix seconds of the last addition
	blobs       atomic.Int64
	live        atomic.Int64 // bytes of their records
	quarantined atomic.Int64
}

// dead returns the bytes before the end that no blob has.
func (p *packInfo) dead() int64 {
	return max(0, p.end.Load()-packHeaderBytes-p.live.Load()-p.quarantined.Load())
}

const slotsPerChunk = 1024

type slotChunk [slotsPerChunk]atomic.Pointer[packInfo]

// packSet holds the packs by their number in the table, which is local to this
// process, and by their id. Looking up a slot takes no lock.
type packSet struct {
	chunks [table.MaxSlots / slotsPerChunk]atomic.Pointer[slotChunk]

	mu    sync.RWMutex
	byID  map[uint64]*packInfo
	next  uint32
	free  []uint32
	ended []*packInfo // dropped, their entries are still in the table
	last  uint64      // greatest id ever seen
}

// at returns the pack of a slot, or nil if it is gone.
func (ps *packSet) at(slot uint32) *packInfo {
	c := ps.chunks[slot/slotsPerChunk].Load()
	if c == nil {
		return nil
	}
	p := c[slot%slotsPerChunk].Load()
	if p == nil || p.gone.Load() {
		return nil
	}
	return p
}

// get returns the pack id, or nil.
func (ps *packSet) get(id uint64) *packInfo {
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	return ps.byID[id]
}

// ensure returns the pack id, which it adds if it is not known.
func (ps *packSet) ensure(id uint64, class cas.Class) (*packInfo, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.byID[id]; p != nil {
		if p.class != class {
			return nil, fmt.Errorf("pack: pack %016x is of two classes: %w", id, kvferry.ErrCorrupt)
		}
		return p, nil
	}
	slot := ps.next
	if n := len(ps.free); n > 0 {
		slot, ps.free = ps.free[n-1], ps.free[:n-1]
	} else if ps.next++; slot >= table.MaxSlots {
		return nil, fmt.Errorf("pack: more than %d packs: %w", table.MaxSlots, kvferry.ErrUnsupported)
	}
	p := &packInfo{id: id, class: class, slot: slot}
	p.end.Store(packHeaderBytes)
	chunk := &ps.chunks[slot/slotsPerChunk]
	if chunk.Load() == nil {
		chunk.Store(new(slotChunk))
	}
	chunk.Load()[slot%slotsPerChunk].Store(p)
	if ps.byID == nil {
		ps.byID = map[uint64]*packInfo{}
	}
	ps.byID[id] = p
	ps.last = max(ps.last, id)
	return p, nil
}

// drop forgets the pack id. Its entries stay in the table until purge.
func (ps *packSet) drop(id uint64) *packInfo {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.byID[id]
	if p == nil {
		return nil
	}
	p.gone.Store(true)
	delete(ps.byID, id)
	ps.ended = append(ps.ended, p)
	return p
}

// all returns the packs, oldest id first.
func (ps *packSet) all() []*packInfo {
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	out := make([]*packInfo, 0, len(ps.byID))
	for _, p := range ps.byID {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *packInfo) int { return cmp.Compare(a.id, b.id) })
	return out
}

// newID returns an id that no pack had yet. Of packs that are gone this process
// may know nothing, while others still have them open or are about to remove
// them by name; ids that begin with the clock are not those of older packs.
func (ps *packSet) newID(now time.Time) uint64 {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.last = max(ps.last+1, uint64(max(0, now.UnixMicro())))
	return ps.last
}

// takeEnded returns the dropped packs whose entries are still in the table.
func (ps *packSet) takeEnded() []*packInfo {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	out := ps.ended
	ps.ended = nil
	return out
}

// release makes the slots of dropped packs free for others, once the table has
// no entry of them any more.
func (ps *packSet) release(packs []*packInfo) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range packs {
		ps.chunks[p.slot/slotsPerChunk].Load()[p.slot%slotsPerChunk].Store(nil)
		ps.free = append(ps.free, p.slot)
	}
}

// manyEnded reports whether so many packs were dropped that a purge pays.
func (ps *packSet) manyEnded() bool {
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	return len(ps.ended) > 32
}

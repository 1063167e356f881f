package pack

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/table"
	"github.com/kvferry/kvferry/digest"
)

// state is what the log says, as far as it was followed. Only apply changes
// it, one transaction at a time; everybody may read it meanwhile.
type state struct {
	table *table.Table
	packs packSet
	// lost is told each blob that is no longer stored, ended each pack.
	lost  func(digest.Digest)
	ended func(pack uint64)
	used  [2]atomic.Int64 // bytes of the records of each class, dead ones included

	mu          sync.RWMutex
	snapshots   map[digest.Digest]listed
	names       map[string]digest.Digest
	changes     *atomic.Uint64 // of the catalogs of all states of the store
	version     uint64         // changes when the catalog changed last
	quarantined map[spot]stored
}

// listed is a snapshot of the catalog, without its names.
type listed struct {
	entry   cas.Entry
	version uint64 // of the catalog when it was committed last
}

// spot is a place in a pack that the log can name.
type spot struct {
	pack uint64
	off  int64
}

// newState returns the empty state over a table. The versions of its catalog are
// none of those of the states before, so that whoever compares versions sees
// that a state was made anew.
func (s *Store) newState(t *table.Table) *state {
	return &state{
		table: t, lost: s.removed, ended: s.reader.Forget, changes: &s.changes, version: s.changes.Add(1),
		snapshots: map[digest.Digest]listed{}, names: map[string]digest.Digest{}, quarantined: map[spot]stored{},
	}
}

// find returns where the blob d is.
func (st *state) find(d digest.Digest) (table.Place, *packInfo, bool) {
	at, ok := st.table.Get(d)
	for ok {
		if p := st.packs.at(at.Slot()); p != nil {
			return at, p, true
		}
		// Its pack was dropped: the entry is a left-over, unless the blob was
		// moved just now.
		again, there := st.table.Get(d)
		if there && again.Slot() == at.Slot() && again.Offset() == at.Offset() {
			return 0, nil, false
		}
		at, ok = again, there
	}
	return 0, nil, false
}

// is reports whether d is in pack p at off, and returns its place. A pack of
// another state holds nothing: its slot may be that of any other one here.
func (st *state) is(d digest.Digest, p *packInfo, off int64) (table.Place, bool) {
	at, ok := st.table.Get(d)
	return at, ok && p != nil && at.Slot() == p.slot && at.Offset() == off && st.packs.at(p.slot) == p
}

// leave takes a blob out of the counts of the pack that it was in.
func (st *state) leave(at table.Place) {
	if p := st.packs.at(at.Slot()); p != nil {
		p.blobs.Add(-1)
		p.live.Add(-at.Size())
	}
}

func (st *state) add(pack uint64, class cas.Class, newest int64, b stored) error {
	p, err := st.packs.ensure(pack, class)
	if err != nil {
		return err
	}
	if table.RoundSize(b.bytes) != b.bytes || b.bytes == 0 {
		return fmt.Errorf("pack: a record of %d bytes: %w", b.bytes, kvferry.ErrCorrupt)
	}
	st.mu.RLock()
	_, bad := st.quarantined[spot{pack, b.off}]
	st.mu.RUnlock()
	st.grow(p, b.off+b.bytes, newest)
	if bad { // a checkpoint knows already what the log tells later
		return nil
	}
	p.blobs.Add(1)
	p.live.Add(b.bytes)
	old, had, err := st.table.Put(b.d, table.MakePlace(p.slot, b.off, b.bytes))
	if err != nil {
		p.blobs.Add(-1)
		p.live.Add(-b.bytes)
		return err
	}
	if had {
		if old.Has(table.Marked) { // a collection is on its way and needs it
			st.table.Set(b.d, table.Marked, true)
		}
		st.leave(old)
	}
	return nil
}

// grow notes that a pack reaches to end.
func (st *state) grow(p *packInfo, end, newest int64) {
	if more := end - p.end.Load(); more > 0 {
		p.end.Store(end)
		st.used[p.class].Add(more)
	}
	p.newest.Store(max(p.newest.Load(), newest))
}

func (st *state) remove(pack uint64, d digest.Digest, off int64) error {
	if st.table == nil { // the catalog of a checkpoint is read before its table
		return nil
	}
	at, ok := st.is(d, st.packs.get(pack), off)
	if !ok {
		return nil
	}
	st.table.DeleteIf(d, at)
	st.leave(at)
	st.lost(d)
	return nil
}

func (st *state) quarantine(pack uint64, b stored) error {
	p := st.packs.get(pack)
	if p == nil {
		return nil
	}
	st.mu.Lock()
	_, known := st.quarantined[spot{pack, b.off}]
	st.quarantined[spot{pack, b.off}] = b
	st.mu.Unlock()
	if !known {
		p.quarantined.Add(b.bytes)
	}
	return st.remove(pack, b.d, b.off)
}

func (st *state) drop(pack uint64) error {
	p := st.packs.drop(pack)
	if p == nil {
		return nil
	}
	st.used[p.class].Add(packHeaderBytes - p.end.Load())
	st.ended(pack)
	st.mu.Lock()
	defer st.mu.Unlock()
	maps.DeleteFunc(st.quarantined, func(at spot, _ stored) bool { return at.pack == pack })
	return nil
}

func (st *state) pack(id uint64, class cas.Class, end, newest int64) error {
	p, err := st.packs.ensure(id, class)
	if err != nil {
		return err
	}
	st.grow(p, end, newest)
	return nil
}

func (st *state) condemn(pack uint64, d digest.Digest, off int64) {
	if _, ok := st.is(d, st.packs.get(pack), off); ok {
		st.table.Set(d, table.Condemned, true)
	}
}

func (st *state) pardon() { st.table.ClearAll(table.Condemned) }

func (st *state) snapshot(e cas.Entry) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.version = st.changes.Add(1)
	st.snapshots[e.Root] = listed{e, st.version}
}

func (st *state) name(name string, root digest.Digest) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.version = st.changes.Add(1)
	st.names[name] = root
}

func (st *state) unname(name string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.version = st.changes.Add(1)
	delete(st.names, name)
}

func (st *state) forget(root digest.Digest) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.version = st.changes.Add(1)
	delete(st.snapshots, root)
	maps.DeleteFunc(st.names, func(_ string, r digest.Digest) bool { return r == root })
}

// entries returns the catalog in the order of cas.Catalog.Entries, and its
// version.
func (st *state) entries() ([]cas.Entry, uint64) {
	st.mu.RLock()
	defer st.mu.RUnlock()
	names := map[digest.Digest][]string{}
	for name, root := range st.names {
		names[root] = append(names[root], name)
	}
	out := make([]cas.Entry, 0, len(st.snapshots))
	for root, l := range st.snapshots {
		e := l.entry
		e.Names = names[root]
		slices.Sort(e.Names)
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b cas.Entry) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return a.Root.Compare(b.Root)
	})
	return out, st.version
}

func (st *state) catalogVersion() uint64 {
	st.mu.RLock()
	defer st.mu.RUnlock()
	return st.version
}

// entryLocked returns the snapshot root with its names.
func (st *state) entryLocked(root digest.Digest) (cas.Entry, bool) {
	l, ok := st.snapshots[root]
	if !ok {
		return cas.Entry{}, false
	}
	e := l.entry
	for name, r := range st.names {
		if r == root {
			e.Names = append(e.Names, name)
		}
	}
	slices.Sort(e.Names)
	return e, true
}

// purge takes the entries of dropped packs out of the table, so that their
// slots can be used again.
func (st *state) purge() {
	ended := st.packs.takeEnded()
	if len(ended) == 0 {
		return
	}
	bySlot := make(map[uint32]bool, len(ended))
	for _, p := range ended {
		bySlot[p.slot] = true
	}
	st.table.All(func(d digest.Digest, at table.Place, _ uint8) bool {
		if bySlot[at.Slot()] {
			st.table.DeleteIf(d, at)
		}
		return true
	})
	st.packs.release(ended)
}

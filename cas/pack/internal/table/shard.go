package table

import (
	"math/bits"
	"sync"
)

const (
	// How many of a chunk's 64 slots may be in use on average. Searches get
	// long when more are; memory goes to waste when fewer are. A shard of few
	// chunks, which grows in large steps, is filled more.
	fullEntries  = 58
	fullSmall    = 60
	smallChunks  = 16
	growFraction = 16
	// A shard that has shrunk to 0.6 of its slots is packed to 54 of 64, so
	// that neither the next Put nor the next Delete packs it again.
	sparseTenths  = 6
	packedEntries = 54
)

// shard is one of the tables, on a cache line of its own.
type shard struct {
	mu  sync.RWMutex
	dir []chunkID // chunk i has the slots from 64*i on
	n   int
	_   [8]byte
}

// roomIn is how many entries a shard of so many chunks may have.
func roomIn(chunks int) int {
	if chunks <= smallChunks {
		return chunks * fullSmall
	}
	return chunks * fullEntries
}

// home is the slot, of so many, of an entry with this tag: in the order of
// tags, spread evenly.
func home(tag, slots uint64) uint64 {
	h, _ := bits.Mul64(tag<<shardBits, slots)
	return h
}

// view is a shard with what it takes to look into it. It is good as long as
// the shard's lock is held and the shard does not move.
type view struct {
	slabs slabs
	dir   []chunkID
}

func (t *Table) view(s *shard) view { return view{t.pool.slabs(), s.dir} }

func (v view) slots() uint64 { return uint64(len(v.dir)) * chunkEntries }

func (v view) chunk(i uint64) *chunk { return v.slabs.chunk(v.dir[i/chunkEntries]) }

func (v view) at(i uint64) *entry { return &v.chunk(i)[i%chunkEntries] }

// next and prev are the neighbours of a slot, cyclically.
func (v view) next(i uint64) uint64 {
	if i++; i == v.slots() {
		return 0
	}
	return i
}

func (v view) prev(i uint64) uint64 {
	if i == 0 {
		return v.slots() - 1
	}
	return i - 1
}

// seek returns the slot of k; or, if k is not there, that where it would be,
// which is empty or has an entry that is to come after k. The shard has an
// empty slot, or none at all: then there is no entry.
func (v view) seek(k *key) (slot uint64, e *entry, found bool) {
	slots := v.slots()
	if slots == 0 {
		return 0, nil, false
	}
	tag := k.tag()
	from := home(tag, slots)
	i, wrapped := from, false
	for {
		c := v.chunk(i)
		for j := i % chunkEntries; j < chunkEntries; i, j = i+1, j+1 {
			e := &c[j]
			have := e.tag()
			switch {
			case have == 0 && e.empty():
				return i, e, false
			case have == tag && k.is(e):
				return i, e, true
			case have > tag || wrapped:
				// An entry with its home behind it came round the end: it is
				// before all others, and among its like the order is that of tags.
				if came := home(have, slots) > i; came == wrapped && have > tag || wrapped && !came {
					return i, e, false
				}
			}
		}
		if i == slots {
			i, wrapped = 0, true
		}
	}
}

// insert puts an entry into the slot that seek found, and moves those that
// are there up to the next empty slot.
func (v view) insert(slot uint64, e *entry) {
	for to := v.hole(slot); to != slot; {
		c, j := v.chunk(to), to%chunkEntries
		if j == 0 {
			before := v.prev(to)
			c[0] = *v.at(before)
			to = before
			continue
		}
		first := uint64(0)
		if slot < to && slot/chunkEntries == to/chunkEntries {
			first = slot % chunkEntries
		}
		copy(c[first+1:j+1], c[first:j])
		to -= j - first
	}
	*v.at(slot) = *e
}

// hole returns the first empty slot from slot on. There is one.
func (v view) hole(slot uint64) uint64 {
	for i := slot; ; {
		c := v.chunk(i)
		for j := i % chunkEntries; j < chunkEntries; i, j = i+1, j+1 {
			if c[j].empty() {
				return i
			}
		}
		if i == v.slots() {
			i = 0
		}
	}
}

// remove empties a slot, and moves those that follow nearer to their homes.
func (v view) remove(slot uint64) {
	slots := v.slots()
	e := v.at(slot)
	for {
		slot = v.next(slot)
		after := v.at(slot)
		if after.empty() || home(after.tag(), slots) == slot {
			break
		}
		*e = *after
		e = after
	}
	*e = entry{}
}

// add puts in an entry whose key is not there. The shard has room.
func (v view) add(e *entry) {
	k := key{x: e.tag(), rest: [3]uint64{e[1], e[2], e[3]}, algorithm: Place(e[4]) & algorithmMask}
	slot, _, _ := v.seek(&k)
	v.insert(slot, e)
}

// wrapped is how many entries came round the end: they are in the first slots.
func (v view) wrapped() (n uint64) {
	for slots := v.slots(); n < slots; n++ {
		if e := v.at(n); e.empty() || home(e.tag(), slots) <= n {
			break
		}
	}
	return n
}

// copyTo puts the entries of v into w, which has none, in order.
func (v view) copyTo(w view) {
	next := uint64(0)
	for n, i := v.slots(), v.wrapped(); n > 0; {
		c := v.chunk(i)
		for j := i % chunkEntries; j < chunkEntries && n > 0; i, j, n = i+1, j+1, n-1 {
			if e := &c[j]; !e.empty() {
				next = w.append(next, e)
			}
		}
		if i == v.slots() {
			i = 0
		}
	}
}

// append puts in an entry that comes after all that are there. next is what it
// returned for the one before, at first 0.
func (v view) append(next uint64, e *entry) uint64 {
	next = max(next, home(e.tag(), v.slots()))
	if next < v.slots() {
		*v.at(next) = *e
		return next + 1
	}
	v.add(e) // round the end
	return next
}

// resizeLocked moves a shard to so many chunks.
func (t *Table) resizeLocked(s *shard, chunks int) error {
	var dir []chunkID
	if chunks > 0 {
		dir = make([]chunkID, chunks)
		if err := t.pool.take(dir); err != nil {
			return err
		}
		t.view(s).copyTo(view{t.pool.slabs(), dir})
	}
	old := s.dir
	s.dir = dir
	t.pool.give(old)
	t.dirBytes.Add(int64(cap(dir)-cap(old)) * 4)
	return nil
}

// growLocked makes room for one more entry in a shard that is full.
func (t *Table) growLocked(s *shard) error {
	return t.resizeLocked(s, len(s.dir)+max(1, len(s.dir)/growFraction))
}

// shrinkLocked gives back chunks that the shard has too many of. It may stay
// too large for lack of memory to move to.
func (t *Table) shrinkLocked(s *shard) {
	want := (s.n + packedEntries - 1) / packedEntries
	if s.n*10 < len(s.dir)*chunkEntries*sparseTenths && want < len(s.dir) {
		_ = t.resizeLocked(s, want) // see above
	}
}

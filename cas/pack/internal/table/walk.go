package table

import (
	"slices"

	"github.com/kvferry/kvferry/digest"
)

// All calls visit for every blob, in no order, until it returns false. visit
// may call the table, and sees the blobs of one shard as they were when the
// shard's turn came. A blob that is there all the time is visited once.
func (t *Table) All(visit func(d digest.Digest, p Place, age uint8) bool) {
	t.walk(func(shard uint64, e *entry) bool {
		return visit(t.seed.digest(shard, e), e.place(), e.age())
	})
}

// walk calls visit with copies of all entries, without a lock.
func (t *Table) walk(visit func(shard uint64, e *entry) bool) {
	buf, ok := t.buffers.Get().(*[]entry)
	if !ok {
		buf = new([]entry)
	}
	defer t.buffers.Put(buf)
	for i := range t.shards {
		*buf = t.entries(&t.shards[i], (*buf)[:0])
		for j := range *buf {
			if !visit(uint64(i), &(*buf)[j]) {
				return
			}
		}
	}
}

// entries appends the entries of a shard to list.
func (t *Table) entries(s *shard, list []entry) []entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list = slices.Grow(list, s.n)
	all := t.pool.slabs()
	for _, id := range s.dir {
		c := all.chunk(id)
		for j := range c {
			if e := &c[j]; !e.empty() {
				list = append(list, entry{e.tag()<<ageBits | uint64(e.age()), e[1], e[2], e[3], uint64(e.stored())})
			}
		}
	}
	return list
}

// ClearAll clears flags of all blobs.
func (t *Table) ClearAll(f Flag) {
	f &= Flag(flagMask)
	for i := range t.shards {
		t.clearShard(&t.shards[i], f)
	}
}

func (t *Table) clearShard(s *shard, f Flag) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := t.pool.slabs()
	for _, id := range s.dir {
		c := all.chunk(id)
		for j := range c {
			c[j].setFlags(f, false)
		}
	}
}

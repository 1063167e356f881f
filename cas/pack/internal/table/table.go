package table

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

// Table maps digests to places. It is safe for concurrent use; those who only
// read do not wait for each other. After Close it is empty and takes nothing.
type Table struct {
	seed   seed
	shards *[shardCount]shard
	pool   pool

	count    atomic.Int64
	dirBytes atomic.Int64
	buffers  sync.Pool // of *[]entry, for walks
}

// New returns an empty table. The caller closes it.
func New() (*Table, error) {
	t := &Table{shards: new([shardCount]shard)}
	for i := range t.seed {
		t.seed[i] = rand.Uint64()
	}
	t.pool.all.Store(&slabs{})
	t.buffers.New = func() any { return new([]entry) }
	return t, nil
}

// read calls use with the entry of d, if there is one, under the read lock.
func (t *Table) read(d digest.Digest, use func(e *entry)) bool {
	k := t.seed.key(d)
	s := &t.shards[k.shard()]
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, e, ok := t.view(s).seek(&k)
	if ok {
		use(e)
	}
	return ok
}

// Get returns the place of d.
func (t *Table) Get(d digest.Digest) (Place, bool) {
	k := t.seed.key(d)
	s := &t.shards[k.shard()]
	s.mu.RLock()
	_, e, ok := t.view(s).seek(&k)
	var p Place
	if ok {
		p = e.place()
	}
	s.mu.RUnlock()
	return p, ok
}

// Put notes that d lies at p, without flags, and returns where it was before.
// The age of a blob that was there stays; that of a new one is 0. What cannot
// be noted is ErrOutOfMemory; an invalid digest or place is ErrInvalid.
func (t *Table) Put(d digest.Digest, p Place) (old Place, had bool, err error) {
	k := t.seed.key(d)
	p &^= flagMask | algorithmMask
	if k.algorithm == 0 || !p.possible() {
		return 0, false, fmt.Errorf("table: put %v at %#x: %w", d, uint64(p), kvferry.ErrInvalid)
	}
	s := &t.shards[k.shard()]
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, had, err = t.putLocked(s, &k, p); err != nil {
		err = fmt.Errorf("table: put %v: %w", d, err)
	}
	return old, had, err
}

func (t *Table) putLocked(s *shard, k *key, p Place) (old Place, had bool, err error) {
	slot, e, ok := t.view(s).seek(k)
	if ok {
		old = e.place()
		e[4] = uint64(p | k.algorithm)
		return old, true, nil
	}
	fresh := k.entry(p)
	if s.n < roomIn(len(s.dir)) {
		t.view(s).insert(slot, &fresh)
	} else if err := t.growLocked(s); err != nil {
		return 0, false, err
	} else {
		t.view(s).add(&fresh)
	}
	s.n++
	t.count.Add(1)
	return 0, false, nil
}

// Delete forgets d and returns where it was.
func (t *Table) Delete(d digest.Digest) (old Place, had bool) {
	had = t.deleteIf(d, func(p Place) bool { old = p; return true })
	return old, had
}

// DeleteIf forgets d if it is still at that place, whatever its flags.
func (t *Table) DeleteIf(d digest.Digest, at Place) bool { return t.deleteIf(d, at.Is) }

func (t *Table) deleteIf(d digest.Digest, is func(Place) bool) bool {
	k := t.seed.key(d)
	s := &t.shards[k.shard()]
	s.mu.Lock()
	defer s.mu.Unlock()
	v := t.view(s)
	slot, e, ok := v.seek(&k)
	if !ok || !is(e.place()) {
		return false
	}
	v.remove(slot)
	s.n--
	t.count.Add(-1)
	t.shrinkLocked(s)
	return true
}

// Set sets or clears flags of d. It reports whether d is there.
func (t *Table) Set(d digest.Digest, f Flag, on bool) bool {
	return t.read(d, func(e *entry) { e.setFlags(f&Flag(flagMask), on) })
}

// Touch sets the age of d, a byte that the table keeps for its caller. It does
// nothing if d is not there.
func (t *Table) Touch(d digest.Digest, age uint8) {
	t.read(d, func(e *entry) { e.setAge(age) })
}

// Age returns the age of d.
func (t *Table) Age(d digest.Digest) (age uint8, ok bool) {
	ok = t.read(d, func(e *entry) { age = e.age() })
	return age, ok
}

// Len returns the number of blobs.
func (t *Table) Len() int64 { return t.count.Load() }

// MemoryBytes returns the memory that the table has taken from the system,
// used or not, and its part of the Go heap.
func (t *Table) MemoryBytes() int64 {
	slabs := int64(cap(t.pool.slabs())) * int64(unsafe.Sizeof((*slab)(nil)))
	return int64(unsafe.Sizeof(*t)) + int64(unsafe.Sizeof(*t.shards)) + t.dirBytes.Load() + slabs + t.pool.mapped.Load()
}

// Close gives the memory back. The table is empty from then on.
func (t *Table) Close() {
	t.pool.shut()
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		t.count.Add(-int64(s.n))
		t.dirBytes.Add(-int64(cap(s.dir)) * 4)
		s.dir, s.n = nil, 0
		s.mu.Unlock()
	}
	t.pool.unmap()
}

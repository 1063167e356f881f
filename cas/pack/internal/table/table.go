// Package table is the index of a pack store in memory: it says where the
// record of each blob lies.
package table

import (
	"fmt"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

// Table maps digests to places. It is safe for concurrent use.
type Table struct {
	mu     sync.RWMutex
	blobs  map[digest.Digest]note
	closed bool
}

type note struct {
	at  Place
	age uint8
}

// New returns an empty table. The caller closes it.
func New() (*Table, error) { return &Table{blobs: map[digest.Digest]note{}}, nil }

// Get returns the place of d.
func (t *Table) Get(d digest.Digest) (Place, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n, ok := t.blobs[d]
	return n.at, ok
}

// Put notes that d lies at p, without flags, and returns where it was before.
// The age of a blob that was there stays; that of a new one is 0. What cannot
// be noted is ErrOutOfMemory; an invalid digest or place is ErrInvalid.
func (t *Table) Put(d digest.Digest, p Place) (old Place, had bool, err error) {
	p &^= flagMask
	if !d.Valid() || !p.possible() {
		return 0, false, fmt.Errorf("table: put %v at %#x: %w", d, uint64(p), kvferry.ErrInvalid)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return 0, false, fmt.Errorf("table: put %v: %w", d, kvferry.ErrClosed)
	}
	n, had := t.blobs[d]
	t.blobs[d] = note{p, n.age}
	return n.at, had, nil
}

// Delete forgets d and returns where it was.
func (t *Table) Delete(d digest.Digest) (old Place, had bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, ok := t.blobs[d]
	delete(t.blobs, d)
	return n.at, ok
}

// DeleteIf forgets d if it is still at that place, whatever its flags.
func (t *Table) DeleteIf(d digest.Digest, at Place) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, ok := t.blobs[d]
	if ok = ok && n.at.Is(at); ok {
		delete(t.blobs, d)
	}
	return ok
}

// Set sets or clears flags of d. It reports whether d is there.
func (t *Table) Set(d digest.Digest, f Flag, on bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, ok := t.blobs[d]
	if !ok {
		return false
	}
	if n.at |= Place(f); !on {
		n.at &^= Place(f)
	}
	t.blobs[d] = n
	return true
}

// ClearAll clears flags of all blobs.
func (t *Table) ClearAll(f Flag) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for d, n := range t.blobs {
		n.at &^= Place(f)
		t.blobs[d] = n
	}
}

// Touch sets the age of d, a byte that the table keeps for its caller. It does
// nothing if d is not there.
func (t *Table) Touch(d digest.Digest, age uint8) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n, ok := t.blobs[d]; ok {
		t.blobs[d] = note{n.at, age}
	}
}

// Age returns the age of d.
func (t *Table) Age(d digest.Digest) (uint8, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n, ok := t.blobs[d]
	return n.age, ok
}

// All calls visit for every blob, in no order, until it returns false. visit
// may call the table. A blob that is there all the time is visited once.
func (t *Table) All(visit func(d digest.Digest, p Place, age uint8) bool) {
	type blob struct {
		d digest.Digest
		n note
	}
	t.mu.RLock()
	list := make([]blob, 0, len(t.blobs))
	for d, n := range t.blobs {
		list = append(list, blob{d, n})
	}
	t.mu.RUnlock()
	for _, b := range list {
		if !visit(b.d, b.n.at, b.n.age) {
			return
		}
	}
}

// Len returns the number of blobs.
func (t *Table) Len() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return int64(len(t.blobs))
}

// MemoryBytes returns the memory that the table has taken.
func (t *Table) MemoryBytes() int64 { return t.Len() * 100 }

// Close gives the memory back. The table is empty from then on.
func (t *Table) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.blobs, t.closed = nil, true
}

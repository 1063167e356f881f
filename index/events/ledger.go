package events

import (
	"encoding/binary"
	"hash/maphash"
	"math/rand/v2"

	"github.com/kvferry/kvferry/index"
)

// What an entry's parent is besides the id of another entry.
const (
	parentUnknown = 0
	parentRoot    = 1
	firstID       = 2
)

// An entry is what a worker is known to hold of a block, and in front of what.
// It has no pointers, so that millions of them cost the collector nothing, and
// is one line of a CPU's cache.
type entry struct {
	hash    [32]byte
	group   uint32
	parent  uint32 // id; of a free entry, the next free one
	index   uint32
	tokens  uint32
	refs    uint32 // entries whose parent this is
	epoch   uint32 // of the newest put that may not be in the index yet
	adapter uint16
	scope   uint16  // number; blocks of two scopes have nothing to do with each other
	kind    keyKind // 0: free
	length  uint8
	tiers   uint8 // 1<<tier for each that has it
	placed  bool  // index is known, not guessed
}

// ledger holds a worker's entries: a slab in chunks, which are never moved, and
// an open table with the low bits of a hash beside each id.
//
// An entry lives as long as a tier has its block or another entry names it as its
// parent.
type ledger struct {
	chunks [][]entry
	next   uint32 // id that was never used
	free   uint32 // list of ids; 0: none
	live   int
	max    int
	table  []uint64 // hash<<32 | id; 0: free
	used   int
	seed   maphash.Seed
	salt   uint64
	long   map[uint32]string // texts that do not fit, by id
	seen   uint64            // keeps the compiler from leaving out what meet reads
}

const chunkEntries = 1 << 12

func newLedger(maxEntries int) *ledger {
	return &ledger{next: firstID, max: maxEntries, table: make([]uint64, 64), seed: maphash.MakeSeed(), salt: rand.Uint64(), long: map[uint32]string{}}
}

// reset forgets everything and gives the memory back.
func (l *ledger) reset() { *l = *newLedger(l.max) }

func (l *ledger) at(id uint32) *entry {
	return &l.chunks[id/chunkEntries][id%chunkEntries]
}

// sum hashes a key.
func (l *ledger) sum(k *key, group uint32) uint32 {
	var v uint64
	if k.kind == keyInt {
		// An engine's numbers are parts of digests already.
		v = (binary.LittleEndian.Uint64(k.b[:8]) ^ l.salt) * 0x9e3779b97f4a7c15
	} else {
		v = maphash.Bytes(l.seed, k.b[:]) + uint64(k.kind)
	}
	v = (v ^ v>>29 ^ uint64(group) ^ uint64(k.scope)<<32) * 0xd6e8feb86659fd93
	return uint32(v >> 32)
}

// meet prepares keys for find and intern: their sums are computed, and where the
// table is looked at first is read for all of them at once, so that the misses of
// the cache overlap. room says that the keys may be added.
func (l *ledger) meet(ks []key, group uint32, room bool) {
	for room && (l.used+len(ks))*4 >= len(l.table)*3 {
		l.grow()
	}
	mask, seen := uint32(len(l.table)-1), uint64(0)
	for i := range ks {
		ks[i].sum = l.sum(&ks[i], group)
		seen += l.table[ks[i].sum&mask]
	}
	l.seen = seen
}

// find returns the id of a block that was met; 0 if there is none.
func (l *ledger) find(k *key, group uint32) uint32 {
	mask := uint32(len(l.table) - 1)
	for i := k.sum & mask; ; i = (i + 1) & mask {
		slot := l.table[i]
		if slot == 0 {
			return 0
		}
		if uint32(slot>>32) == k.sum && l.is(uint32(slot), k, group) {
			return uint32(slot)
		}
	}
}

func (l *ledger) is(id uint32, k *key, group uint32) bool {
	e := l.at(id)
	return e.hash == k.b && e.group == group && e.scope == k.scope && e.kind == k.kind && e.length == k.length
}

// intern returns the id of a block that was met, which it adds if need be; 0 if
// that would be one too many.
func (l *ledger) intern(k *key, group uint32) uint32 {
	if id := l.find(k, group); id != 0 {
		return id
	}
	if l.full() {
		return 0
	}
	id := l.alloc()
	e := l.at(id)
	e.hash, e.group, e.scope, e.kind, e.length = k.b, group, k.scope, k.kind, k.length
	e.parent = parentUnknown
	if k.kind == keyLong {
		l.long[id] = k.text
	}
	l.link(uint64(k.sum)<<32 | uint64(id))
	l.used++
	l.live++
	return id
}

// full reports whether no entry can be added.
func (l *ledger) full() bool { return l.live >= l.max }

func (l *ledger) alloc() uint32 {
	if id := l.free; id != 0 {
		l.free = l.at(id).parent
		return id
	}
	id := l.next
	l.next++
	if int(id/chunkEntries) == len(l.chunks) {
		l.chunks = append(l.chunks, make([]entry, chunkEntries))
	}
	return id
}

func (l *ledger) link(slot uint64) {
	mask := uint32(len(l.table) - 1)
	i := uint32(slot>>32) & mask
	for l.table[i] != 0 {
		i = (i + 1) & mask
	}
	l.table[i] = slot
}

func (l *ledger) grow() {
	old := l.table
	l.table = make([]uint64, 2*len(old))
	for _, slot := range old {
		if slot != 0 {
			l.link(slot)
		}
	}
}

// setParent changes what an entry is behind.
func (l *ledger) setParent(id, parent uint32) {
	e := l.at(id)
	if e.parent == parent {
		return
	}
	if parent >= firstID {
		l.at(parent).refs++
	}
	old := e.parent
	e.parent = parent
	l.release(old)
}

// release takes one reference from an entry.
func (l *ledger) release(id uint32) {
	if id >= firstID {
		l.at(id).refs--
		l.drop(id)
	}
}

// drop frees an entry that nothing needs, and then its parent, if nothing else
// needs that.
func (l *ledger) drop(id uint32) {
	for id >= firstID {
		e := l.at(id)
		if e.tiers != 0 || e.refs != 0 {
			return
		}
		l.unlink(id)
		parent := e.parent
		*e = entry{parent: l.free}
		l.free = id
		l.live--
		if parent >= firstID {
			l.at(parent).refs--
		}
		id = parent
	}
}

// unlink takes an entry out of the table and moves those behind it up.
func (l *ledger) unlink(id uint32) {
	e := l.at(id)
	if e.kind == keyLong {
		delete(l.long, id)
	}
	k := key{kind: e.kind, b: e.hash, scope: e.scope}
	mask := uint32(len(l.table) - 1)
	i := l.sum(&k, e.group) & mask
	for uint32(l.table[i]) != id {
		i = (i + 1) & mask
	}
	l.used--
	for j := i; ; {
		j = (j + 1) & mask
		if l.table[j] == 0 {
			break
		}
		if home := uint32(l.table[j]>>32) & mask; (j-home)&mask >= (j-i)&mask {
			l.table[i] = l.table[j]
			i = j
		}
	}
	l.table[i] = 0
}

// key returns the key of an entry.
func (l *ledger) key(id uint32) key {
	e := l.at(id)
	return key{kind: e.kind, length: e.length, scope: e.scope, b: e.hash, text: l.long[id]}
}

// mask returns the bit of a tier.
func mask(t index.Tier) uint8 { return 1 << t }

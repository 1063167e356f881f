package memory

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Shards and scan shards: as many as a word has bits, so that a set is a word.
const (
	shardBits = 6
	shards    = 1 << shardBits
	all       = ^uint64(0)

	offsetBits = 32 - shardBits // of a node in its shard
	offsetMask = 1<<offsetBits - 1
)

// version is even when nobody writes. It has a cache line of its own, which
// readers share.
type version struct {
	n atomic.Uint64
	_ [56]byte
}

// shard is the nodes and records of some hashes.
type shard struct {
	version version

	mu     sync.Mutex
	nodes  slab
	hashes table // hash: the first node of it
	far    table // scope, group, parent and hash: nodes that are far behind the first
	exact  table // identity: records that are far behind the first of their node
	kin    table // family, hash and worker: the first of them if it is not near
	// workers are by number; each has a list of records.
	workers []owner
	// oldest is no later than the last access of any record that can expire.
	oldest uint64
	counts counts
	_      [64]byte
}

type owner struct {
	first uint32
	n     uint32
}

type counts struct {
	records, bytes                  uint64
	puts, removes, cleared, expired uint64
}

// scanShard is the lists of nodes of some parents.
type scanShard struct {
	version version
	mu      sync.Mutex
	parents table // scope and parent: the first node of them
	_       [64]byte
}

func (sh *shard) init(mem, tables *blocks) {
	sh.nodes.mem = mem
	for _, t := range []*table{&sh.hashes, &sh.far, &sh.exact, &sh.kin} {
		t.mem = tables
	}
	sh.nodes.shift, sh.nodes.limit = 1, 1<<offsetBits
}

// reset lets go of everything.
func (sh *shard) reset() {
	sh.nodes.reset()
	for _, t := range []*table{&sh.hashes, &sh.far, &sh.exact, &sh.kin} {
		t.reset()
	}
	sh.workers, sh.oldest = nil, ^uint64(0)
	sh.counts.records, sh.counts.bytes = 0, 0
}

// locks is a set of shards and a set of scan shards.
type locks struct{ shards, scans uint64 }

func (x *Index) lock(l locks) {
	for s := l.shards; s != 0; s &= s - 1 {
		x.shards[bits.TrailingZeros64(s)].mu.Lock()
	}
	for s := l.scans; s != 0; s &= s - 1 {
		x.scans[bits.TrailingZeros64(s)].mu.Lock()
	}
}

func (x *Index) unlock(l locks) {
	for s := l.scans; s != 0; s &= s - 1 {
		x.scans[bits.TrailingZeros64(s)].mu.Unlock()
	}
	for s := l.shards; s != 0; s &= s - 1 {
		x.shards[bits.TrailingZeros64(s)].mu.Unlock()
	}
}

// turn makes the versions odd, or even again.
func (x *Index) turn(l locks) {
	for s := l.shards; s != 0; s &= s - 1 {
		x.shards[bits.TrailingZeros64(s)].version.n.Add(1)
	}
	for s := l.scans; s != 0; s &= s - 1 {
		x.scans[bits.TrailingZeros64(s)].version.n.Add(1)
	}
}

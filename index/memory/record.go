package memory

import (
	"github.com/kvferry/kvferry/index"
)

// Words of a record, see the package comment.
const (
	recIndex  = 0
	recNode   = 1
	recWorker = 2
	recBytes  = 3
	recAccess = 4
	recPeers  = 5 // of the node
	recOwned  = 6 // of scope, hash and worker
	recMine   = 7 // of the worker

	tierMask     = 7
	pinnedBit    = 8
	exactBit     = 16 // the record is in shard.exact
	noAdapterBit = 32 // put without an adapter where that is the one without a name
	doomedBit    = 64 // about to be removed
	nearRecords  = 8  // of scope, hash and worker are found by walking
)

func (sh *shard) rec(ref uint32) cell { return sh.recs.cell(ref) }

func tierOf(c cell) index.Tier { return index.Tier(c.get(recWorker) & tierMask) }

func (x *Index) ownedHash(hash uint64, scope, worker uint32) uint32 {
	return uint32(x.seeds.with(hash, uint64(scope)<<32|uint64(worker), 2))
}

func (x *Index) exactHash(node, worker, flags uint32, at uint64) uint32 {
	if x.rules != index.AsMemory {
		at &^= 1<<32 - 1
	}
	return uint32(x.seeds.with(uint64(node)<<32|uint64(worker), at, uint64(flags&tierMask)))
}

// target is a record's place and what is not data of it.
type target struct {
	place
	worker uint32
	tier   index.Tier
	index  uint64 // index and tokens
}

// isRecord reports whether c, which has the hash, scope and worker of t, is
// the record that t names.
func (x *Index) isRecord(c cell, t *target) bool {
	i := c.get(recIndex) ^ t.index
	if x.rules != index.AsMemory {
		i >>= 32
	}
	return i == 0 && tierOf(c) == t.tier && isAt(x.node(c.high(recNode)), &t.place)
}

// firstOwned returns the first record of a scope, hash and worker, or 0.
func (x *Index) firstOwned(sh *shard, hash *text, scope, worker uint32) uint32 {
	for p := sh.owned.probe(x.ownedHash(hash.hash, scope, worker)); ; {
		ref := p.next()
		if ref == 0 {
			return 0
		}
		c := sh.rec(ref)
		if c.high(recWorker) != worker {
			continue
		}
		if n := x.node(c.high(recNode)); n.high(nodeKey) == scope && hasHash(n, hash) {
			return ref
		}
	}
}

// findRecord returns t's record, or 0 and behind which one of the same scope, hash
// and worker to insert it, like findNode.
func (x *Index) findRecord(sh *shard, t *target) (ref, behind uint32, far bool) {
	ref = x.firstOwned(sh, &t.hash, t.scope, t.worker)
	first := ref
	for i := 1; ref != 0; i++ {
		c := sh.rec(ref)
		if x.isRecord(c, t) {
			return ref, 0, false
		}
		if i == nearRecords {
			return x.findExact(sh, t), ref, true
		}
		ref = c.high(recOwned)
	}
	return 0, first, false
}

func (x *Index) findExact(sh *shard, t *target) uint32 {
	node, _, _ := x.findNode(sh, &t.place)
	if node == 0 {
		return 0
	}
	for p := sh.exact.probe(x.exactHash(node, t.worker, uint32(t.tier), t.index)); ; {
		ref := p.next()
		if ref == 0 {
			return 0
		}
		if c := sh.rec(ref); c.high(recNode) == node && c.high(recWorker) == t.worker && x.isRecord(c, t) {
			return ref
		}
	}
}

// newRecord inserts t's record where findRecord said.
func (x *Index) newRecord(sh *shard, t *target, behind uint32, far bool, r *index.Record) {
	node, nodeBehind, nodeFar := x.findNode(sh, &t.place)
	ref, fresh := sh.recs.take(1)
	c := sh.rec(ref)
	flags := x.flags(r)
	if far {
		flags |= exactBit
	}
	o := sh.owner(t.worker)
	peer := uint32(0)
	if node != 0 {
		peer = x.node(node).high(nodeRecs)
	}
	// All words but the node are there before anybody can find the record.
	c.init(recIndex, t.index, fresh)
	c.init(recWorker, uint64(t.worker)<<32|uint64(flags), fresh)
	c.init(recBytes, r.Bytes, fresh)
	c.init(recAccess, r.LastAccess, fresh)
	c.init(recPeers, sh.between(recPeers, peer), fresh)
	c.init(recOwned, sh.between(recOwned, behind), fresh)
	c.init(recMine, uint64(o.first)<<32, fresh)
	c.init(recNode, uint64(node)<<32|uint64(r.Refs), fresh)
	if node == 0 {
		node = x.newNode(sh, t, nodeBehind, nodeFar, ref)
		c.setHigh(recNode, node)
	} else {
		sh.join(c, recPeers, ref)
		sh.setBit(x.node(node), t.tier, t.worker)
	}
	if far {
		sh.exact.insert(x.exactHash(node, t.worker, flags, t.index), ref)
	}
	if behind == 0 {
		sh.owned.insert(x.ownedHash(t.hash.hash, t.scope, t.worker), ref)
	}
	sh.join(c, recOwned, ref)
	if o.n == 0 {
		x.workers.item(t.worker).use()
	} else {
		sh.rec(o.first).setLow(recMine, ref)
	}
	o.first = ref
	o.n++
	sh.counts.records++
	sh.counts.bytes += r.Bytes
	sh.age(r)
}

// owner returns the list of a worker.
func (sh *shard) owner(worker uint32) *owner {
	for int(worker) >= len(sh.workers) {
		sh.workers = append(sh.workers, owner{})
	}
	return &sh.workers[worker]
}

// between and join are those of nodes.
func (sh *shard) between(list, behind uint32) uint64 {
	if behind == 0 {
		return 0
	}
	return sh.rec(behind).get(list)&^(1<<32-1) | uint64(behind)
}

func (sh *shard) join(c cell, list, ref uint32) {
	if next := c.high(list); next != 0 {
		sh.rec(next).setLow(list, ref)
	}
	if previous := c.low(list); previous != 0 {
		sh.rec(previous).setHigh(list, ref)
	}
}

func (sh *shard) unlinkRecord(c cell, list uint32) (next uint32, first bool) {
	next, previous := c.high(list), c.low(list)
	if next != 0 {
		sh.rec(next).setLow(list, previous)
	}
	if previous != 0 {
		sh.rec(previous).setHigh(list, next)
	}
	return next, previous == 0
}

// flags are the tier of a record and what else is true of it.
func (x *Index) flags(r *index.Record) uint32 {
	flags := uint32(r.Tier)
	if r.Pinned {
		flags |= pinnedBit
	}
	if x.rules == index.AsHolt && r.Adapter == (index.Adapter{}) {
		flags |= noAdapterBit
	}
	return flags
}

// age keeps oldest true.
func (sh *shard) age(r *index.Record) {
	if !r.Pinned && r.Refs == 0 {
		sh.oldest = min(sh.oldest, r.LastAccess)
	}
}

// replace writes a record's data anew.
func (x *Index) replace(sh *shard, c cell, r *index.Record) {
	sh.age(r)
	sh.counts.bytes += r.Bytes - c.get(recBytes)
	c.set(recIndex, uint64(r.Index)<<32|uint64(r.Tokens))
	c.setLow(recNode, r.Refs)
	c.setLow(recWorker, c.low(recWorker)&exactBit|x.flags(r))
	c.set(recBytes, r.Bytes)
	c.set(recAccess, r.LastAccess)
}

// drop takes a record away, and its node if it was the last.
func (x *Index) drop(sh *shard, ref uint32) {
	c := sh.rec(ref)
	node := c.high(recNode)
	n := x.node(node)
	var p place
	x.load(n, &p)
	worker, tier := c.high(recWorker), tierOf(c)
	if c.low(recWorker)&exactBit != 0 {
		sh.exact.remove(x.exactHash(node, worker, c.low(recWorker), c.get(recIndex)), ref)
	}
	if !sh.hasTwin(c, node) {
		sh.clearBit(n, tier, worker)
	}
	if next, first := sh.unlinkRecord(c, recOwned); first {
		sh.owned.drop(x.ownedHash(p.hash.hash, p.scope, worker), ref, next)
	}
	if next, first := sh.unlinkRecord(c, recPeers); first {
		n.setHigh(nodeRecs, next)
	}
	o := &sh.workers[worker]
	if next, first := sh.unlinkRecord(c, recMine); first {
		o.first = next
	}
	if o.n--; o.n == 0 {
		x.workers.release(x.workers.item(worker), aUse)
	}
	sh.counts.records--
	sh.counts.bytes -= c.get(recBytes)
	c.set(recWorker, 0)
	sh.recs.give(ref, 1)
	if n.high(nodeRecs) == 0 {
		x.freeNode(sh, &p, node)
	}
}

// hasTwin reports whether another record has the same node, worker and tier.
// Such are near each other in both lists that could have them; the shorter one
// ends the search.
func (sh *shard) hasTwin(c cell, node uint32) bool {
	same := func(ref uint32) bool {
		d := sh.rec(ref)
		return d.high(recNode) == node && d.high(recWorker) == c.high(recWorker) && tierOf(d) == tierOf(c)
	}
	a, b := [2]uint32{c.high(recPeers), c.low(recPeers)}, [2]uint32{c.high(recOwned), c.low(recOwned)}
	for a != [2]uint32{} && b != [2]uint32{} {
		for _, list := range []struct {
			at   *[2]uint32
			word uint32
		}{{&a, recPeers}, {&b, recOwned}} {
			for i, ref := range list.at {
				if ref == 0 {
					continue
				}
				if same(ref) {
					return true
				}
				link := sh.rec(ref).get(list.word)
				if i == 0 {
					link >>= 32
				}
				list.at[i] = uint32(link)
			}
		}
	}
	return false
}

// get reads a record whose node's parts r has.
func (x *Index) get(c cell, r *index.Record) bool {
	word, refs, who := c.get(recIndex), c.low(recNode), c.get(recWorker)
	it := x.workers.item(uint32(who >> 32))
	if it == nil {
		return false
	}
	r.Index, r.Tokens, r.Refs = uint32(word>>32), uint32(word), refs
	r.Worker, r.Tier, r.Pinned = it.key, index.Tier(who&tierMask), who&pinnedBit != 0
	r.Bytes, r.LastAccess = c.get(recBytes), c.get(recAccess)
	if who&noAdapterBit != 0 {
		r.Adapter = index.Adapter{}
	}
	return true
}

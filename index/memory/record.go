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
	recKin    = 6 // of model, tokenizer, tenant, hash and worker
	recMine   = 7 // of the worker
	recUnits  = 4

	tierMask     = 7
	pinnedBit    = 8
	exactBit     = 16  // the record is in shard.exact: it may be far behind the first of its node
	noAdapterBit = 32  // put without an adapter where that is the one without a name
	doomedBit    = 64  // about to be removed
	kinBit       = 128 // the record is in shard.kin
	nearRecords  = 8   // of a node are found by walking
)

func (sh *shard) rec(ref uint32) cell { return sh.nodes.cell(ref) }

func tierOf(c cell) index.Tier { return index.Tier(c.get(recWorker) & tierMask) }

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

// isRecord reports whether c, a record of t's node, is the one that t names.
func (x *Index) isRecord(c cell, t *target) bool {
	i := c.get(recIndex) ^ t.index
	if x.rules != index.AsMemory {
		i >>= 32
	}
	return i == 0 && c.get(recWorker)&(1<<64-1<<32|tierMask) == uint64(t.worker)<<32|uint64(t.tier)
}

// findRecord returns t's record of its node, or 0 and behind which one of the
// node to insert it, like findNode.
func (x *Index) findRecord(sh *shard, node uint32, t *target) (ref, behind uint32, far bool) {
	first := x.node(node).high(nodeRecs)
	ref = first
	for i := 1; ref != 0; i++ {
		c := sh.rec(ref)
		if x.isRecord(c, t) {
			return ref, 0, false
		}
		if i == nearRecords {
			return x.findExact(sh, node, t), ref, true
		}
		ref = c.high(recPeers)
	}
	return 0, first, false
}

func (x *Index) findExact(sh *shard, node uint32, t *target) uint32 {
	for p := sh.exact.probe(x.exactHash(node, t.worker, uint32(t.tier), t.index)); ; {
		ref := p.next()
		if ref == 0 {
			return 0
		}
		if c := sh.rec(ref); c.high(recNode) == node && x.isRecord(c, t) {
			return ref
		}
	}
}

// spot is where newRecord inserts a record: what findNode and findRecord said.
type spot struct {
	node, nodeBehind uint32
	nodeFar          bool
	behind           uint32
	far              bool
}

// newRecord inserts t's record.
func (x *Index) newRecord(sh *shard, t *target, s *spot, r *index.Record) {
	flags := x.flags(r)
	if s.far {
		flags |= exactBit
	}
	kin := uint32(0)
	if s.node != 0 || s.nodeBehind != 0 {
		scope := &x.scopes.item(t.scope).key
		kin = x.kin(sh, &t.hash, scope, t.worker)
		if kin == 0 && (s.far || s.nodeFar || s.node != 0 && x.node(s.node).get(nodeMeta)&farBit != 0) {
			flags |= kinBit
		}
	}
	var ref uint32
	var fresh bool
	node := s.node
	if node == 0 {
		node, ref, fresh = x.takeNode(sh, &t.place)
	} else {
		ref, fresh = x.takeRecord(sh, node)
	}
	c, o := sh.rec(ref), sh.owner(t.worker)
	// All words are there before anybody can find the record.
	c.init(recIndex, t.index, fresh)
	c.init(recNode, uint64(node)<<32|uint64(r.Refs), fresh)
	c.init(recWorker, uint64(t.worker)<<32|uint64(flags), fresh)
	c.init(recBytes, r.Bytes, fresh)
	c.init(recAccess, r.LastAccess, fresh)
	c.init(recPeers, sh.between(recPeers, s.behind), fresh)
	c.init(recKin, sh.between(recKin, kin), fresh)
	c.init(recMine, uint64(o.first)<<32, fresh)
	if s.node == 0 {
		x.newNode(sh, t, s, node, ref, fresh)
	} else {
		sh.join(c, recPeers, ref)
		sh.setBit(x.node(node), t.tier, t.worker)
	}
	if s.far {
		sh.exact.insert(x.exactHash(node, t.worker, flags, t.index), ref)
	}
	if flags&kinBit != 0 {
		sh.kin.insert(x.kinHash(t.hash.hash, &x.scopes.item(t.scope).key, t.worker), ref)
	}
	sh.join(c, recKin, ref)
	if o.n == 0 {
		x.useWorker(t.worker)
	} else {
		sh.rec(o.first).setLow(recMine, ref)
	}
	o.first = ref
	o.n++
	sh.counts.records++
	sh.counts.bytes += r.Bytes
	sh.age(r)
}

// takeRecord returns room for a record of a node: in the node's own cell if it
// is free.
func (x *Index) takeRecord(sh *shard, node uint32) (ref uint32, fresh bool) {
	if ref = inner(x.node(node), node); tierOf(sh.rec(ref)) == 0 {
		return ref, false
	}
	return sh.nodes.take(recUnits)
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
	c.setLow(recWorker, c.low(recWorker)&(exactBit|kinBit)|x.flags(r))
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
	if next, first := sh.unlinkRecord(c, recKin); first {
		x.nextOfKin(sh, c, &p, ref, next)
	}
	if next, first := sh.unlinkRecord(c, recPeers); first {
		n.setHigh(nodeRecs, next)
	}
	o := &sh.workers[worker]
	if next, first := sh.unlinkRecord(c, recMine); first {
		o.first = next
	}
	if o.n--; o.n == 0 {
		x.releaseWorker(worker)
	}
	sh.counts.records--
	sh.counts.bytes -= c.get(recBytes)
	c.set(recWorker, 0)
	if ref != inner(n, node) {
		sh.nodes.give(ref, recUnits)
	}
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
	a, b := [2]uint32{c.high(recPeers), c.low(recPeers)}, [2]uint32{c.high(recKin), c.low(recKin)}
	for a != [2]uint32{} && b != [2]uint32{} {
		for _, list := range []struct {
			at   *[2]uint32
			word uint32
		}{{&a, recPeers}, {&b, recKin}} {
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

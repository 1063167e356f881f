package memory

import (
	"hash/maphash"

	"github.com/kvferry/kvferry/index"
)

// Records of one hash and worker, in one model, tokenizer and tenant, are kin: a
// removal takes them away, under all parents and positions, and if it likes
// under all adapters. They are a list. Its first is in the table of kin, if it
// is not near: one of the first records of one of the first nodes of the hash.
// What is near stays near, because others are inserted behind what is near.

func (x *Index) kinHash(hash uint64, s *index.Scope, worker uint32) uint32 {
	family := x.seeds.with(maphash.String(x.seed, s.Model), maphash.String(x.seed, s.Tokenizer), maphash.String(x.seed, s.Tenant))
	return uint32(x.seeds.with(hash, family, uint64(worker)))
}

// inFamily reports whether a scope that is in use differs from s by its adapter at
// most.
func (x *Index) inFamily(scope uint32, s *index.Scope) bool {
	k := &x.scopes.item(scope).key
	return k.Tenant == s.Tenant && k.Model == s.Model && k.Tokenizer == s.Tokenizer
}

// kin returns one of the records of a family, hash and worker, or 0.
func (x *Index) kin(sh *shard, hash *text, s *index.Scope, worker uint32) uint32 {
	node := x.firstOfHash(sh, hash)
	for i := 1; node != 0; i++ {
		c := x.node(node)
		if ref := sh.nearOf(c, worker); ref != 0 && x.inFamily(c.high(nodeKey), s) {
			return ref
		}
		if node = c.high(nodeHash); i == nearNodes {
			break
		}
	}
	if sh.kin.n == 0 {
		return 0
	}
	for p := sh.kin.probe(x.kinHash(hash.hash, s, worker)); ; {
		ref := p.next()
		if ref == 0 {
			return 0
		}
		c := sh.rec(ref)
		if c.high(recWorker) != worker {
			continue
		}
		if n := x.node(c.high(recNode)); hasHash(n, hash) && x.inFamily(n.high(nodeKey), s) {
			return ref
		}
	}
}

// nearOf returns a worker's record among the first of a node, or 0.
func (sh *shard) nearOf(n cell, worker uint32) uint32 {
	ref := n.high(nodeRecs)
	for i := 1; ref != 0 && i <= nearRecords; i++ {
		c := sh.rec(ref)
		if c.high(recWorker) == worker {
			return ref
		}
		ref = c.high(recPeers)
	}
	return 0
}

// nextOfKin puts next into the place of the first of kin, which is taken out of
// their list. p is the block of the first.
func (x *Index) nextOfKin(sh *shard, c cell, p *place, ref, next uint32) {
	listed := c.low(recWorker)&kinBit != 0
	if !listed && next == 0 {
		return
	}
	hash := x.kinHash(p.hash.hash, &x.scopes.item(p.scope).key, c.high(recWorker))
	if listed {
		sh.kin.drop(hash, ref, next)
	} else {
		sh.kin.insert(hash, next)
	}
	if next != 0 {
		sh.rec(next).set(recWorker, sh.rec(next).get(recWorker)|kinBit)
	}
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

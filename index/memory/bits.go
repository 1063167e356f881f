package memory

import "github.com/kvferry/kvferry/index"

// A run says which of 64 workers have a node's block in a tier: its tag is
// the number of their word above three bits of the tier. A node has room for
// one; more lie in a list of cells of two words: next and tag, workers.

func runTag(tier index.Tier, worker uint32) uint32 { return worker/64<<3 | uint32(tier) }

// setBit notes that a worker has the block in a tier.
func (sh *shard) setBit(c cell, tier index.Tier, worker uint32) {
	tag, bit := runTag(tier, worker), uint64(1)<<(worker%64)
	if c.low(nodeRecs) == tag {
		c.set(nodeBits, c.get(nodeBits)|bit)
		return
	}
	for ref := c.low(nodeMeta); ref != 0; {
		e := sh.nodes.cell(ref)
		if e.low(0) == tag {
			e.set(1, e.get(1)|bit)
			return
		}
		ref = e.high(0)
	}
	ref, fresh := sh.nodes.take(1)
	e := sh.nodes.cell(ref)
	e.init(0, uint64(c.low(nodeMeta))<<32|uint64(tag), fresh)
	e.init(1, bit, fresh)
	c.setLow(nodeMeta, ref)
}

// clearBit notes that it has not any more.
func (sh *shard) clearBit(c cell, tier index.Tier, worker uint32) {
	tag, bit := runTag(tier, worker), uint64(1)<<(worker%64)
	if c.low(nodeRecs) == tag {
		left := c.get(nodeBits) &^ bit
		c.set(nodeBits, left)
		if left == 0 {
			sh.moveRun(c)
		}
		return
	}
	before := uint32(0)
	for ref := c.low(nodeMeta); ref != 0; {
		e := sh.nodes.cell(ref)
		if e.low(0) != tag {
			before, ref = ref, e.high(0)
			continue
		}
		left := e.get(1) &^ bit
		e.set(1, left)
		if left == 0 {
			sh.cutRun(c, before, e.high(0))
			sh.nodes.give(ref, 1)
		}
		return
	}
}

// moveRun fills the node's own run, which became empty, with the first of the
// others.
func (sh *shard) moveRun(c cell) {
	ref := c.low(nodeMeta)
	if ref == 0 {
		c.setLow(nodeRecs, 0)
		return
	}
	e := sh.nodes.cell(ref)
	c.setLow(nodeRecs, e.low(0))
	c.set(nodeBits, e.get(1))
	c.setLow(nodeMeta, e.high(0))
	sh.nodes.give(ref, 1)
}

func (sh *shard) cutRun(c cell, before, next uint32) {
	if before == 0 {
		c.setLow(nodeMeta, next)
	} else {
		sh.nodes.cell(before).setHigh(0, next)
	}
}

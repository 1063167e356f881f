package memory

// Words of a node, see the package comment.
const (
	nodeKey   = 0
	nodeMeta  = 1
	nodeRecs  = 2
	nodeBits  = 3
	nodeHash  = 4
	nodeScan  = 5
	nodeText  = 6
	farBit    = 1 << 60 // of nodeMeta: the node is in shard.far
	metaMask  = 3<<kindShift | lenMask
	nearNodes = 4 // of a hash are found by walking
)

// place is a block's key with all that is computed of it.
type place struct {
	scope        uint32
	group        uint32
	parent, hash text
}

func (p *place) shard() uint32 { return p.hash.shard() }

// scanHash is the hash of scope and parent.
func (x *Index) scanHash(scope uint32, parent uint64) uint64 {
	return x.seeds.with(parent, uint64(scope), 1)
}

func (x *Index) farHash(p *place) uint32 {
	return uint32(x.seeds.with(p.hash.hash, p.parent.hash, uint64(p.scope)<<32|uint64(p.group)))
}

func (x *Index) node(ref uint32) cell {
	return x.shards[ref>>offsetBits].nodes.cell(ref & offsetMask)
}

func parentMeta(c cell) uint64 { return c.get(nodeMeta) >> 48 & metaMask }
func hashMeta(c cell) uint64   { return c.get(nodeMeta) >> 32 & metaMask }

// hashAt is where the words of a node's hash begin.
func hashAt(parentMeta uint64) uint32 { return nodeText + uint32(metaWords(parentMeta)) }

func (c cell) equal(at uint32, t *text) bool {
	for i := range t.n {
		if c.get(at+uint32(i)) != t.w[i&(textWords-1)] {
			return false
		}
	}
	return true
}

// hasHash reports whether a node's hash is t.
func hasHash(c cell, t *text) bool {
	meta := c.get(nodeMeta)
	return meta>>32&metaMask == t.meta && c.equal(hashAt(meta>>48&metaMask), t)
}

// hasParent reports whether a node's parent is t.
func hasParent(c cell, t *text) bool {
	return parentMeta(c) == t.meta && c.equal(nodeText, t)
}

// isAt reports whether a node with p's hash is p's.
func isAt(c cell, p *place) bool {
	return c.get(nodeKey) == uint64(p.scope)<<32|uint64(p.group) && hasParent(c, &p.parent)
}

// firstOfHash returns the first node of a hash, or 0.
func (x *Index) firstOfHash(sh *shard, t *text) uint32 {
	for p := sh.hashes.probe(uint32(t.hash)); ; {
		ref := p.next()
		if ref == 0 || hasHash(x.node(ref), t) {
			return ref
		}
	}
}

// findNode returns p's node, or 0 and behind which one to insert it: 0 if it
// would be the first of its hash. far: it belongs into the table of far ones.
func (x *Index) findNode(sh *shard, p *place) (ref, behind uint32, far bool) {
	ref = x.firstOfHash(sh, &p.hash)
	first := ref
	for i := 1; ref != 0; i++ {
		c := x.node(ref)
		if isAt(c, p) {
			return ref, 0, false
		}
		if i == nearNodes {
			return x.findFar(sh, p), ref, true
		}
		ref = c.high(nodeHash)
	}
	return 0, first, false
}

func (x *Index) findFar(sh *shard, p *place) uint32 {
	for q := sh.far.probe(x.farHash(p)); ; {
		ref := q.next()
		if ref == 0 {
			return 0
		}
		if c := x.node(ref); hasHash(c, &p.hash) && isAt(c, p) {
			return ref
		}
	}
}

// firstOfParent returns the first node of a scope and parent, or 0.
func (x *Index) firstOfParent(sc *scanShard, hash uint64, scope uint32, t *text) uint32 {
	for p := sc.parents.probe(uint32(hash)); ; {
		ref := p.next()
		if ref == 0 {
			return 0
		}
		if c := x.node(ref); c.high(nodeKey) == scope && hasParent(c, t) {
			return ref
		}
	}
}

// innerUnits is how far behind the beginning of a node its own record lies.
func innerUnits(parent, hash uint64) uint32 {
	return uint32(nodeText+metaWords(parent)+metaWords(hash)+1) / 2
}

func nodeUnits(parent, hash uint64) uint32 { return innerUnits(parent, hash) + recUnits }

// inner returns the reference of the record that lies in a node's cell.
func inner(c cell, node uint32) uint32 {
	return node&offsetMask + innerUnits(parentMeta(c), hashMeta(c))
}

// takeNode returns the references of p's new node and of the record in its cell.
func (x *Index) takeNode(sh *shard, p *place) (node, rec uint32, fresh bool) {
	ref, fresh := sh.nodes.take(nodeUnits(p.parent.meta, p.hash.meta))
	return ref | p.shard()<<offsetBits, ref + innerUnits(p.parent.meta, p.hash.meta), fresh
}

// newNode inserts t's node, whose record is rec, where findNode said.
func (x *Index) newNode(sh *shard, t *target, s *spot, ref, rec uint32, fresh bool) {
	p, behind, far := &t.place, s.nodeBehind, s.nodeFar
	h := x.scanHash(p.scope, p.parent.hash)
	sc := &x.scans[h>>(64-shardBits)]
	first := x.firstOfParent(sc, h, p.scope, &p.parent)
	c := x.node(ref)
	meta := p.parent.meta<<48 | p.hash.meta<<32
	if far {
		meta |= farBit
	}
	// All words are there before anybody can find the node.
	c.init(nodeKey, uint64(p.scope)<<32|uint64(p.group), fresh)
	c.init(nodeMeta, meta, fresh)
	c.init(nodeRecs, uint64(rec)<<32|uint64(runTag(t.tier, t.worker)), fresh)
	c.init(nodeBits, 1<<(t.worker%64), fresh)
	c.init(nodeHash, x.between(nodeHash, behind), fresh)
	c.init(nodeScan, x.between(nodeScan, first), fresh)
	for i, w := range p.parent.w[:p.parent.n] {
		c.init(nodeText+uint32(i), w, fresh)
	}
	for i, w := range p.hash.w[:p.hash.n] {
		c.init(nodeText+uint32(p.parent.n+i), w, fresh)
	}
	x.countLongs(p, 1)
	x.scopes.item(p.scope).use()
	if far {
		sh.far.insert(x.farHash(p), ref)
	}
	if behind == 0 {
		sh.hashes.insert(uint32(p.hash.hash), ref)
	}
	x.join(c, nodeHash, ref)
	if first == 0 {
		sc.parents.insert(uint32(h), ref)
	}
	x.join(c, nodeScan, ref)
}

// between returns the links of a node that comes behind another, or is alone.
func (x *Index) between(list, behind uint32) uint64 {
	if behind == 0 {
		return 0
	}
	return x.node(behind).get(list)&^(1<<32-1) | uint64(behind)
}

// join makes a node's neighbours in a list point to it.
func (x *Index) join(c cell, list, ref uint32) {
	if next := c.high(list); next != 0 {
		x.node(next).setLow(list, ref)
	}
	if previous := c.low(list); previous != 0 {
		x.node(previous).setHigh(list, ref)
	}
}

func (x *Index) countLongs(p *place, uses int) {
	for _, t := range []*text{&p.parent, &p.hash} {
		if t.meta>>kindShift == longText {
			x.longs.count(t.w[0], 0, uses)
		}
	}
}

// unlinkNode takes a node out of a list and returns what is next. first: it was
// the first.
func (x *Index) unlinkNode(c cell, list uint32) (next uint32, first bool) {
	next, previous := c.high(list), c.low(list)
	if next != 0 {
		x.node(next).setLow(list, previous)
	}
	if previous != 0 {
		x.node(previous).setHigh(list, next)
	}
	return next, previous == 0
}

// drop takes the first of a list out of its table, or puts the next there.
func (t *table) drop(hash, ref, next uint32) {
	if next == 0 {
		t.remove(hash, ref)
	} else {
		t.replace(hash, ref, next)
	}
}

// load reads a node's key back.
func (x *Index) load(c cell, p *place) {
	key := c.get(nodeKey)
	p.scope, p.group = uint32(key>>32), uint32(key)
	p.parent.load(c, parentMeta(c), nodeText, &x.seeds)
	p.hash.load(c, hashMeta(c), hashAt(p.parent.meta), &x.seeds)
}

func (t *text) load(c cell, meta uint64, at uint32, s *seeds) {
	t.meta, t.n = meta, metaWords(meta)
	for i := range t.n {
		t.w[i] = c.get(at + uint32(i))
	}
	t.setHash(s)
}

// freeNode takes a node without records away. p is its key.
func (x *Index) freeNode(sh *shard, p *place, ref uint32) {
	c := x.node(ref)
	if next, first := x.unlinkNode(c, nodeHash); first {
		sh.hashes.drop(uint32(p.hash.hash), ref, next)
	}
	if c.get(nodeMeta)&farBit != 0 {
		sh.far.remove(x.farHash(p), ref)
	}
	h := x.scanHash(p.scope, p.parent.hash)
	if next, first := x.unlinkNode(c, nodeScan); first {
		x.scans[h>>(64-shardBits)].parents.drop(uint32(h), ref, next)
	}
	x.countLongs(p, -1)
	x.scopes.release(x.scopes.item(p.scope), aUse)
	sh.nodes.give(ref&offsetMask, nodeUnits(p.parent.meta, p.hash.meta))
}

// text returns a string of a node.
func (x *Index) text(a *arena, c cell, meta uint64, at uint32) string {
	if meta>>kindShift == longText {
		return x.longs.get(c.get(at))
	}
	return a.text(meta, c, at)
}

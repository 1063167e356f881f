package memory

// gather collects the workers that have block i and returns the reading.
func (m *matcher) gather(i int) view {
	clear(m.now)
	if !m.known[i] {
		return view{}
	}
	x, t := m.x, &m.texts[i]
	s := t.shard()
	sh := &x.shards[s]
	var v view
	v.begin(&sh.version, &sh.mu)
	ref := m.hits[i]
	for {
		if v.n != m.shards[s].version || ref != 0 && !hasHash(m.cells[i], t) {
			ref = x.firstOfHash(sh, t)
		}
		if m.walk(sh, &v, ref, i); v.end() {
			return v
		}
		clear(m.now)
		v.begin(&sh.version, &sh.mu)
	}
}

// walk looks at the nodes of block i's hash, from the first.
func (m *matcher) walk(sh *shard, v *view, ref uint32, i int) {
	key := uint64(m.scope.id)<<32 | uint64(m.q.Group)
	for n := 1; ref != 0 && v.same(); n++ {
		c := m.x.node(ref)
		if c.get(nodeKey) == key && (parentMeta(c) == 0 || m.known[i-1] && hasParent(c, &m.texts[i-1])) {
			m.add(sh, v, c)
		}
		ref = c.high(nodeHash)
		if n == nearNodes && ref != 0 {
			m.far(sh, v, i)
			return
		}
	}
}

// far looks up what may be too far behind the first node: that with the parent
// and that whose parent is not known.
func (m *matcher) far(sh *shard, v *view, i int) {
	p := place{scope: m.scope.id, group: m.q.Group, hash: m.texts[i]}
	p.parent.setHash(&m.x.seeds)
	for range 2 {
		if ref := m.x.findFar(sh, &p); ref != 0 {
			m.add(sh, v, m.x.node(ref))
		}
		if !m.known[i-1] {
			return
		}
		p.parent = m.texts[i-1]
	}
}

// add adds the workers of a node.
func (m *matcher) add(sh *shard, v *view, c cell) {
	m.run(c.low(nodeRecs), c.get(nodeBits))
	for ref := c.low(nodeMeta); ref != 0 && v.same(); {
		e := sh.nodes.cell(ref)
		m.run(e.low(0), e.get(1))
		ref = e.high(0)
	}
}

// run adds 64 workers of a tier. Words that were not there when the match began
// are left out.
func (m *matcher) run(tag uint32, workers uint64) {
	if w, tier := int(tag>>3), tag&7; w < len(m.now) && int(tier) < len(m.now[w]) && tier > 0 {
		m.now[w][tier] |= workers
	}
}

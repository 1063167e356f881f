package memory

import (
	"cmp"
	"context"
	"math/bits"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/kvferry/kvferry/index"
)

const (
	// ahead is how many blocks of a prompt are looked up beside each other: what
	// each needs from memory is asked for before the first is compared.
	ahead = 32
	// exactBlocks is the longest prompt that is always read as of one moment.
	exactBlocks = 64
	// matchTries is how often a longer one is read again because something changed.
	matchTries = 3
)

// alive is which of 64 workers have all blocks so far, by tier; at 0 in any.
type alive [index.Tiers]uint64

// reading is a shard as it was when a match first came to it.
type reading struct {
	version uint64
	slots   []uint64 // of hashes
	dir     []*chunk // of nodes
}

// matcher is the memory of one Match.
type matcher struct {
	x       *Index
	q       *index.Query
	scope   *item[index.Scope]
	shards  [shards]reading
	touched uint64          // the shards that were read
	texts   [ahead + 1]text // the first is the parent of the second
	hits    [ahead + 1]uint32
	cells   [ahead + 1]cell // of hits
	homes   [ahead + 1]int  // slots where the search begins
	each    bool            // each block has to be as it was at one moment; else read tells
	whole   bool            // all are as they were at one moment
	known   [ahead + 1]bool
	words   int // of workers
	tiers   int // the set of tiers that somebody has all blocks so far in
	at      int // the only word with such workers, or -1
	alive   []alive
	now     []alive // of the block that is looked at
	only    []uint64
	asked   []*item[string] // those of only, if the query names workers
	names   []*item[string] // as they were at the first block
	matches []index.Match   // by worker
	began   []uint64        // who has the first block
}

var matchers = pool[matcher]{}

// Match implements index.Reader.
func (x *Index) Match(ctx context.Context, q *index.Query, dst []index.Match) ([]index.Match, error) {
	if err := x.enter(ctx); err != nil {
		return dst, err
	}
	x.reads[x.reads.stripe()].matches.Add(1)
	if len(q.Hashes) == 0 {
		return dst, nil
	}
	m := matchers.get()
	m.x, m.q = x, q
	defer m.done()
	ms := m.match(dst)
	if _, err := x.leave(nil, nil); err != nil {
		return dst, err
	}
	return ms, nil
}

func (m *matcher) match(dst []index.Match) []index.Match {
	x := m.x
	for try := 1; ; try++ {
		m.scope = x.scope(&m.q.Scope)
		if m.scope == nil {
			return dst
		}
		l := locks{}
		if try > matchTries && len(m.q.Hashes) <= exactBlocks {
			l.shards = all
		}
		m.each = try > matchTries
		x.lock(l)
		m.begin()
		m.whole = m.read()
		x.unlock(l)
		if m.scope.alive() && (m.whole || try > matchTries) {
			return m.result(dst)
		}
	}
}

func (m *matcher) done() {
	m.x, m.q, m.scope = nil, nil, nil
	clear(m.asked)
	clear(m.names)
	m.forget()
	matchers.put(m)
}

// forget lets go of the shards that were read: a matcher outlives their memory.
func (m *matcher) forget() {
	for s := m.touched; s != 0; s &= s - 1 {
		m.shards[bits.TrailingZeros64(s)] = reading{}
	}
	m.touched = 0
}

// begin asks for the first blocks. Which workers there are is looked up behind
// that: it is true of the first block then, or somebody wrote to its shard.
func (m *matcher) begin() {
	m.forget()
	m.texts[0].set(index.Root)
	m.texts[0].setHash(&m.x.seeds)
	m.known[0] = true
	m.ask(0, min(ahead, len(m.q.Hashes)))
	m.prepare()
}

// read reads all blocks and reports whether nobody wrote to their shards since
// begin.
func (m *matcher) read() bool {
	n := len(m.q.Hashes)
	for from := 0; from < n; from += ahead {
		k := min(ahead, n-from)
		if from > 0 {
			m.ask(from, k)
		}
		for i := 1; i <= k; i++ {
			if !m.block(from+i-1, i) {
				return m.same()
			}
		}
		m.texts[0], m.known[0] = m.texts[k], m.known[k]
	}
	m.finish(n)
	return m.same()
}

// prepare makes room for the workers there are.
func (m *matcher) prepare() {
	ids := len(*m.x.workers.byID.Load())
	m.words = (ids + 63) / 64
	m.alive = slices.Grow(m.alive[:0], m.words)[:m.words]
	m.now = slices.Grow(m.now[:0], m.words)[:m.words]
	m.only = slices.Grow(m.only[:0], m.words)[:m.words]
	m.began = slices.Grow(m.began[:0], m.words)[:m.words]
	clear(m.began)
	m.names = slices.Grow(m.names[:0], 64*m.words)[:64*m.words]
	m.matches = slices.Grow(m.matches[:0], 64*m.words)[:64*m.words]
	for i := range m.only {
		m.only[i] = ^uint64(0)
	}
	if m.q.Workers == nil {
		return
	}
	clear(m.only)
	m.asked = slices.Grow(m.asked[:0], 64*m.words)[:64*m.words]
	clear(m.asked)
	for i := range m.q.Workers {
		w := &m.q.Workers[i]
		if it := m.x.workers.find(w, m.x.workerHash(*w)); it != nil && int(it.id) < 64*m.words {
			m.only[it.id/64] |= 1 << (it.id % 64)
			m.asked[it.id] = it
		}
	}
}

// ask finds the first nodes of the hashes of k blocks, without a look at what
// they are: those that collide are sorted out later. The memory of all is asked
// for before any of it is waited for, in loops so short that the processor has
// many of their turns under way at once.
func (m *matcher) ask(from, k int) {
	for i := 1; i <= k; i++ {
		m.known[i] = m.x.find(&m.texts[i], m.q.Hashes[from+i-1])
		if s := m.texts[i].shard() % shards; m.known[i] && m.touched>>s&1 == 0 {
			m.open(s)
		}
	}
	for i := 1; i <= k; i++ {
		if m.known[i] {
			t := &m.texts[i]
			slots := m.shards[t.shard()%shards].slots
			at := home(uint32(t.hash), len(slots))
			atomic.LoadUint64(&slots[at])
			m.homes[i] = at
		}
	}
	for i := 1; i <= k; i++ {
		m.hits[i] = 0
		if m.known[i] {
			t := &m.texts[i]
			r := &m.shards[t.shard()%shards]
			p := probe{r.slots, m.homes[i], uint32(t.hash)}
			m.hits[i] = p.next()
			m.cells[i] = cellAt(r.dir, m.hits[i]&offsetMask<<1)
		}
	}
	for i := 1; i <= k; i++ {
		if m.hits[i] != 0 {
			m.cells[i].get(nodeMeta)
			// The last word of what is probably the block, likely in another cache line.
			m.cells[i].get(nodeText + uint32(m.texts[i-1].n+m.texts[i].n-1))
		}
	}
}

// open begins to read a shard.
func (m *matcher) open(s uint32) {
	sh := &m.x.shards[s]
	m.touched |= 1 << s
	r := &m.shards[s]
	r.version = sh.version.n.Load()
	r.slots, r.dir = *sh.hashes.slots.Load(), *sh.nodes.dir.Load()
}

// block looks at one block. It reports false if no worker has all blocks so far.
func (m *matcher) block(at, i int) bool {
	if at > 0 && m.goOn(i) {
		return true
	}
	v := m.gather(i)
	if at == 0 {
		for m.first(); v.v != nil && !v.same(); m.first() {
			v = m.gather(i)
		}
	}
	m.tiers, m.at = 0, -1
	words := 0
	for w := range m.alive {
		if m.step(w, at) != 0 {
			m.at = w
			words++
		}
	}
	if words > 1 {
		m.at = -1
	}
	return words > 0
}

// goOn is the usual case of a long match, where block i changes nothing: workers
// of one word have all blocks so far, in one tier, they have this one in that tier,
// and there is one node of its hash. Otherwise it reports false.
func (m *matcher) goOn(i int) bool {
	if m.at < 0 || m.hits[i] == 0 || m.each {
		return false
	}
	t, parent, c := &m.texts[i], &m.texts[i-1], m.cells[i]
	if c.at+nodeText+uint32(parent.n+t.n) > chunkWords {
		return false
	}
	node := c.c[c.at:]
	if atomic.LoadUint64(&node[nodeKey]) != uint64(m.scope.id)<<32|uint64(m.q.Group) ||
		atomic.LoadUint64(&node[nodeMeta])&^farBit != parent.meta<<48|t.meta<<32 || // and there are no more runs
		atomic.LoadUint64(&node[nodeHash])>>32 != 0 || !m.known[i-1] {
		return false
	}
	tag, a := atomic.LoadUint64(&node[nodeRecs])&(1<<32-1), &m.alive[m.at]
	tier := tag & 7
	if tag>>3 != uint64(m.at) || tier >= index.Tiers || a[tier] != a[0] || a[0]&^atomic.LoadUint64(&node[nodeBits]) != 0 || m.tiers != 1<<tier {
		return false
	}
	node = node[nodeText:]
	for k, w := range parent.w[:parent.n] {
		if atomic.LoadUint64(&node[k]) != w {
			return false
		}
	}
	node = node[parent.n:]
	for k, w := range t.w[:t.n] {
		if atomic.LoadUint64(&node[k]) != w {
			return false
		}
	}
	return true
}

// first begins with the workers that have the first block.
func (m *matcher) first() {
	for w := range m.alive {
		a := &m.alive[w]
		*a = m.now[w]
		for t := range a {
			a[t] &= m.only[w]
			a[0] |= a[t]
		}
		m.began[w] = a[0]
		for b := a[0]; b != 0; b &= b - 1 {
			id := 64*w + bits.TrailingZeros64(b)
			m.names[id], m.matches[id] = m.x.workers.item(uint32(id)), index.Match{}
		}
	}
}

// step ends the matches of those of 64 workers that have not the block at at.
func (m *matcher) step(w, at int) (left uint64) {
	a, now := &m.alive[w], &m.now[w]
	if a[0] == 0 {
		return 0
	}
	has := now[1] | now[2] | now[3] | now[4] | now[5]
	for b := a[0] &^ has; b != 0; b &= b - 1 {
		m.matches[64*w+bits.TrailingZeros64(b)].Blocks = at
	}
	a[0] &= has
	for t := 1; t < index.Tiers; t++ {
		for b := a[t] &^ now[t]; b != 0; b &= b - 1 {
			m.matches[64*w+bits.TrailingZeros64(b)].InTier[t] = at
		}
		if a[t] &= now[t]; a[t] != 0 {
			m.tiers |= 1 << t
		}
	}
	return a[0]
}

// finish ends the matches of those that have all blocks.
func (m *matcher) finish(n int) {
	clear(m.now)
	for w := range m.alive {
		m.step(w, n)
	}
}

// same reports whether nobody wrote to the shards since they were first read.
func (m *matcher) same() bool {
	for s := m.touched; s != 0; s &= s - 1 {
		i := bits.TrailingZeros64(s)
		if n := m.shards[i].version; n&1 == 1 || m.x.shards[i].version.n.Load() != n {
			return false
		}
	}
	return true
}

// result appends the matches. A worker that went away while not all blocks were
// read as of one moment, so that its number may be another's now, has none.
func (m *matcher) result(dst []index.Match) []index.Match {
	from := len(dst)
	for w, b := range m.began {
		for ; b != 0; b &= b - 1 {
			id := 64*w + bits.TrailingZeros64(b)
			it := m.names[id]
			if it == nil || !m.whole && m.x.workers.item(uint32(id)) != it || m.q.Workers != nil && m.asked[id] != it {
				continue
			}
			m.matches[id].Worker = it.key
			dst = append(dst, m.matches[id])
		}
	}
	slices.SortFunc(dst[from:], func(a, b index.Match) int {
		return cmp.Or(cmp.Compare(b.Blocks, a.Blocks), strings.Compare(a.Worker, b.Worker))
	})
	return dst
}

package art

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/kvferry/kvferry/index"
)

// reach is how far a worker holds a prompt: in any tier, at place 0, and in each
// (room for 8 makes it quick to find).
type reach [8]int32

// matching is what a Match needs besides the index. Of the workers only those
// that hold the first block have a reach.
type matching struct {
	*state
	q      *index.Query
	reach  []reach // by worker; zero between uses
	asked  []uint32
	wanted []bool // by worker, if the query names some
	sid    uint32
	key    []byte
	run    run
	looks  [ahead]look
	touch  uint32 // of what was read early
	stale  bool   // there are stale records
	orphan bool   // there are blocks whose parent is not known
}

// run is that blocks side by side have the same holders, as most have: their reach
// is extended once for all, from the position behind the first to that behind the
// last.
type run struct {
	holders  []uint32 // summaries; nil: there is no block before
	from, to int32
}

var matchings = sync.Pool{New: func() any { return new(matching) }}

// match appends the workers that hold the beginning of a prompt.
func (x *state) match(q *index.Query, dst []index.Match) []index.Match {
	sid, ok := x.scopes.find(x.rules.Scope(q.Scope))
	if !ok || len(q.Hashes) == 0 {
		return dst
	}
	m := matchings.Get().(*matching) //nolint:forcetypeassert // the pool makes no others
	defer m.done()
	m.state, m.q, m.sid = x, q, sid
	m.prepare()
	for from, n := 0, 1; from < len(q.Hashes); from += n {
		n = min(4*n, ahead, len(q.Hashes)-from) // few hold no more than the beginning
		m.ahead(from, n)
		if !m.positions(from, n) {
			break
		}
	}
	m.settle()
	return m.result(dst)
}

// positions extends the reach of workers over n positions, and tells whether any
// goes beyond them.
func (m *matching) positions(from, n int) bool {
	for i := from; i < from+n; i++ {
		parent, hash := m.parent(i), m.q.Hashes[i]
		held := m.at(&m.looks[i-from], parent, hash, int32(i))
		if m.orphan && parent != "" {
			held = m.below("", hash, int32(i)) || held
		}
		if !held {
			return false
		}
	}
	return true
}

// parent returns the hash before a position.
func (m *matching) parent(i int) string {
	if i == 0 {
		return index.Root
	}
	return m.q.Hashes[i-1]
}

// done makes m ready for another use.
func (m *matching) done() {
	for _, w := range m.asked {
		m.reach[w] = reach{}
	}
	clear(m.wanted)
	m.asked, m.wanted = m.asked[:0], m.wanted[:0]
	m.state, m.q = nil, nil
	matchings.Put(m)
}

func (m *matching) prepare() {
	if n := len(m.workers.all); len(m.reach) < n {
		m.reach = make([]reach, n+n/4)
	}
	if m.q.Workers != nil {
		m.wanted = slices.Grow(m.wanted, len(m.workers.all))[:len(m.workers.all)]
		for _, name := range m.q.Workers {
			if id, ok := m.workers.find(name); ok {
				m.wanted[id] = true
			}
		}
	}
	m.stale = m.count.staleBlocks > 0
	m.key = appendField(appendScope(m.key[:0], m.sid), "")
	sub := m.blocks.below(m.key)
	m.orphan = sub != 0 && bytes.HasPrefix(m.keyOf(m.blocks.least(sub)), m.key)
}

// at extends the reach of those that hold a block at position i, and tells
// whether any reach now goes beyond it.
func (m *matching) at(l *look, parent, hash string, i int32) (held bool) {
	if l.b != 0 && m.has(l.b, m.sid, parent) {
		f := m.hashField(l.b)                                  // plain
		return string(f[:len(f)-2]) == hash && m.block(l.b, i) // parent has no other
	}
	return m.below(parent, hash, i)
}

// below is at where no hint leads to the block.
func (m *matching) below(parent, hash string, i int32) (held bool) {
	m.key = appendField(appendScope(m.key[:0], m.sid), parent)
	prefix := len(m.key)
	m.key = appendField(m.key, hash)
	sub := m.blocks.below(m.key)
	if sub == 0 || !bytes.HasPrefix(m.keyOf(m.blocks.least(sub)), m.key) {
		return false
	}
	if sub&leafBit != 0 {
		if m.blocks.below(m.key[:prefix]) == sub {
			m.offer(m.hints.tag(m.sid, parent), sub)
		}
		return m.block(sub, i)
	}
	m.blocks.walk(sub, func(b ref) bool {
		held = m.block(b, i) || held
		return true
	})
	return held
}

func (m *matching) block(b ref, i int32) (held bool) {
	if tailOf(m.keyOf(b)).group != m.q.Group {
		return false
	}
	hs := m.holders(m.state.block(b))
	if len(hs) == 1 || i == 0 || m.stale {
		m.settle()
		for k := range hs {
			h := &hs[k]
			r := &m.reach[h.worker]
			if r[0] >= i && !(h.tier.Volatile() && m.workers.at(h.worker).unconfirmed) && (i > 0 || m.begins(h, r)) {
				r.extend(h.tier, i)
				held = true
			}
		}
		return held
	}
	s := m.summaries(m.state.block(b))
	if m.run.to == i && same(m.run.holders, s) {
		m.run.to++ // those that it reached before
		return true
	}
	m.settle()
	for _, s := range s {
		if r := &m.reach[s>>3]; r[0] >= i {
			r.extend(index.Tier(s&7), i)
			held = true
		}
	}
	if held {
		m.run = run{s, i + 1, i + 1}
	}
	return held
}

// settle extends the reach of those that hold the blocks of a run.
func (m *matching) settle() {
	if m.run.to > m.run.from {
		for _, s := range m.run.holders {
			r, tier := &m.reach[s>>3], s&7
			if r[0] < m.run.from {
				continue
			}
			r[0] = m.run.to
			if r[tier] == m.run.from {
				r[tier] = m.run.to
			}
		}
	}
	m.run = run{}
}

// extend notes that the block at position i is held in a tier, which those before
// are in some.
func (r *reach) extend(tier index.Tier, i int32) {
	r[0] = i + 1
	if r[tier&7] == i {
		r[tier&7] = i + 1
	}
}

// begins tells whether a holder of the first block counts, and notes it.
func (m *matching) begins(h *holder, r *reach) bool {
	if m.q.Workers != nil && !m.wanted[h.worker] {
		return false
	}
	if r[0] == 0 {
		m.asked = append(m.asked, h.worker)
	}
	return true
}

func (m *matching) result(dst []index.Match) []index.Match {
	from := len(dst)
	for _, w := range m.asked {
		r := &m.reach[w]
		x := index.Match{Worker: m.workers.at(w).name, Blocks: int(r[0])}
		for t := 1; t < index.Tiers; t++ {
			x.InTier[t] = int(r[t])
		}
		dst = append(dst, x)
	}
	slices.SortFunc(dst[from:], func(a, b index.Match) int {
		return cmp.Or(cmp.Compare(b.Blocks, a.Blocks), strings.Compare(a.Worker, b.Worker))
	})
	return dst
}

package art

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/kvferry/kvferry/index"
)

func scopeID(key []byte) uint32 { return binary.BigEndian.Uint32(key) }

// selects tells whether a removal means a holder of its worker.
func selects(m *index.Removal, h *holder) bool { return m.Tier == 0 || m.Tier == h.tier }

// pick returns the blocks of which a removal takes records.
func (x *state) pick(m *index.Removal) []ref {
	x.picked = x.picked[:0]
	wid, ok := x.workers.find(m.Worker)
	if !ok {
		return nil
	}
	asked := x.rules.Scope(m.Scope)
	x.turned = appendField(x.turned[:0], m.Hash)
	if !m.AnyAdapter {
		sid, ok := x.scopes.find(asked)
		if !ok {
			return nil
		}
		x.turned = appendScope(x.turned, sid)
	}
	sub := x.hashes.below(x.turned)
	if sub == 0 || !bytes.HasPrefix(x.hashes.key(x.hashes.least(sub)), x.turned) {
		return nil
	}
	x.hashes.walk(sub, func(b ref) bool {
		if x.means(m, &asked, b, wid) {
			x.picked = append(x.picked, b)
		}
		return true
	})
	return x.picked
}

// means tells whether a removal takes records of a block with its hash.
func (x *state) means(m *index.Removal, asked *index.Scope, b ref, wid uint32) bool {
	key := x.keyOf(b)
	if m.AnyAdapter {
		s := x.scopes.at(scopeID(key)).Scope
		s.Adapter = asked.Adapter
		if s != *asked {
			return false
		}
	}
	if m.OneGroup && tailOf(key).group != m.Group {
		return false
	}
	hs := x.holders(x.block(b))
	from, to := x.span(hs, wid)
	for i := from; i < to; i++ {
		if selects(m, &hs[i]) {
			return true
		}
	}
	return false
}

// remove takes away what a removal selects.
func (x *state) remove(m *index.Removal) (n int) {
	for _, b := range x.pick(m) {
		wid, _ := x.workers.find(m.Worker)
		from, to := x.span(x.holders(x.block(b)), wid)
		n += x.take(b, from, to, func(h *holder) bool { return selects(m, h) })
	}
	return n
}

// clearWorker takes away the records of a worker, or those in volatile tiers.
func (x *state) clearWorker(wid uint32, volatile bool) (n int) {
	w := x.workers.at(wid)
	if volatile && w.volatile == 0 {
		return 0
	}
	for b := w.first; b != 0; {
		hs := x.holders(x.block(b))
		from, to := x.span(hs, wid)
		after := hs[from].after
		n += x.take(b, from, to, func(h *holder) bool { return !volatile || h.tier.Volatile() })
		b = after
	}
	return n
}

// aged is what goes for its age.
type aged struct {
	before uint64
	blocks []ref  // with records that go
	oldest uint64 // of those that stay and can go later
}

// aged looks for what was last used before a time, at all records if any can be as
// old as that. It changes nothing: readers may go on.
func (x *state) aged(before uint64) aged {
	a := aged{before: before, oldest: x.oldest}
	if before <= x.oldest {
		return a
	}
	a.oldest = math.MaxUint64
	x.blocks.walk(x.blocks.root, func(b ref) bool {
		goes := false
		for _, h := range x.holders(x.block(b)) {
			if h.expires(before) {
				goes = true
			} else if h.expires(math.MaxUint64) {
				a.oldest = min(a.oldest, h.last)
			}
		}
		if goes {
			a.blocks = append(a.blocks, b)
		}
		return true
	})
	return a
}

// expire takes away what aged found.
func (x *state) expire(a aged) (n int) {
	for _, b := range a.blocks {
		n += x.take(b, 0, int(x.block(b).n), func(h *holder) bool { return h.expires(a.before) })
	}
	x.oldest = a.oldest
	return n
}

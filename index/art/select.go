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

// expire takes away what was last used before a time. With look it only counts.
func (x *state) expire(before uint64, look bool) (n int) {
	if before <= x.oldest {
		return 0
	}
	oldest := uint64(math.MaxUint64)
	var goes []ref
	x.blocks.walk(x.blocks.root, func(b ref) bool {
		had := n
		for _, h := range x.holders(x.block(b)) {
			if h.expires(before) {
				n++
			} else if h.expires(math.MaxUint64) {
				oldest = min(oldest, h.last)
			}
		}
		if !look && n > had {
			goes = append(goes, b)
		}
		return true
	})
	if look {
		return n
	}
	for _, b := range goes {
		x.take(b, 0, int(x.block(b).n), func(h *holder) bool { return h.expires(before) })
	}
	x.oldest = oldest
	return n
}

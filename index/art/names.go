package art

import (
	"strings"

	"github.com/kvferry/kvferry/index"
)

// worker is what is known of one.
type worker struct {
	name        string
	incarnation uint64
	unconfirmed bool // nothing was heard of it since the index was opened
	vanishes    bool // a frame that is being made removes its stale records
	first       ref  // of its blocks

	blocks, bytes     uint64 // all that it holds
	volatile, vanishs uint64 // those in volatile tiers, and their bytes
}

// stale returns how many of its records are, and their bytes.
func (w *worker) stale() (blocks, bytes uint64) {
	if !w.unconfirmed {
		return 0, 0
	}
	return w.volatile, w.vanishs
}

// known tells whether it was announced or has records.
func (w *worker) known() bool { return w.incarnation != 0 || w.blocks > 0 }

// scope is one with its number.
type scope struct {
	index.Scope
	blocks uint64 // in it; none: its number may be given to another
}

// names gives numbers to what many records have in common. Numbers of what is
// not used any more are given again after a snapshot.
type names[K comparable, V any] struct {
	ids map[K]uint32
	all []*V // by number; nil: free
	low int  // no number below is free
}

// maxNames bounds the numbers, and so what a file can ask memory for.
const maxNames = 1 << 24

// room tells whether there are numbers for more.
func (n *names[K, V]) room(more int) bool { return len(n.ids)+more <= maxNames }

func (n *names[K, V]) at(id uint32) *V { return n.all[id] }

func (n *names[K, V]) find(k K) (uint32, bool) {
	id, ok := n.ids[k]
	return id, ok
}

// put gives k the lowest number that is free, so that numbers stay below the
// most names that there were at a time. The caller asked for room.
func (n *names[K, V]) put(k K, v *V) uint32 {
	for n.low < len(n.all) && n.all[n.low] != nil {
		n.low++
	}
	id := uint32(n.low)
	if n.low == len(n.all) {
		n.all = append(n.all, nil)
	}
	n.all[id], n.ids[k] = v, id
	n.low++
	return id
}

// byID returns what has a number, nil if nothing has.
func (n *names[K, V]) byID(id uint32) *V {
	if int(id) < len(n.all) {
		return n.all[id]
	}
	return nil
}

// restore gives k the number that it had. What has the number or had k, if used
// tells that it is not used, loses it. It reports whether that could be.
func (n *names[K, V]) restore(id uint32, k K, v *V, keyOf func(*V) K, used func(*V) bool) bool {
	if id >= maxNames {
		return false
	}
	if old, ok := n.ids[k]; ok {
		if used(n.all[old]) {
			return false
		}
		n.all[old], n.low = nil, min(n.low, int(old))
	}
	if more := int(id) + 1 - len(n.all); more > 0 {
		n.all = append(n.all, make([]*V, more)...)
	}
	if was := n.all[id]; was != nil {
		if used(was) {
			return false
		}
		delete(n.ids, keyOf(was))
	}
	n.all[id], n.ids[k] = v, id
	return true
}

// drop takes the number of what is not used.
func (n *names[K, V]) drop(id uint32, k K) {
	delete(n.ids, k)
	n.all[id] = nil
	n.low = min(n.low, int(id))
}

func workerName(w *worker) string  { return w.name }
func workerUsed(w *worker) bool    { return w.known() }
func scopeOf(s *scope) index.Scope { return s.Scope }
func scopeUsed(s *scope) bool      { return s.blocks > 0 }

// cloneScope copies the strings, so that they hold no larger buffer.
func cloneScope(s index.Scope) index.Scope {
	s.Model, s.Tokenizer, s.Tenant = strings.Clone(s.Model), strings.Clone(s.Tokenizer), strings.Clone(s.Tenant)
	if name, ok := s.Adapter.Name(); ok {
		s.Adapter = index.Named(strings.Clone(name))
	}
	return s
}

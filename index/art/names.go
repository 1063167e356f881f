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
	defined     bool // the log or the snapshot has its number
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
	defined bool
	blocks  uint64 // in it; none: its number may be given to another
}

// names gives numbers to what many records have in common. Numbers of what is
// not used any more are given again after a snapshot.
type names[K comparable, V any] struct {
	ids  map[K]uint32
	all  []*V // by number; nil: free
	free []uint32
}

func (n *names[K, V]) at(id uint32) *V { return n.all[id] }

func (n *names[K, V]) find(k K) (uint32, bool) {
	id, ok := n.ids[k]
	return id, ok
}

// put gives a number to k.
func (n *names[K, V]) put(k K, v *V) uint32 {
	id := uint32(len(n.all))
	if last := len(n.free) - 1; last >= 0 {
		id, n.free = n.free[last], n.free[:last]
		n.all[id] = v
	} else {
		n.all = append(n.all, v)
	}
	n.ids[k] = id
	return id
}

// byID returns what has a number, nil if nothing has.
func (n *names[K, V]) byID(id uint32) *V {
	if int(id) < len(n.all) {
		return n.all[id]
	}
	return nil
}

// maxGap bounds the numbers that were given and never defined, since a frame
// could not be written.
const maxGap = 1 << 20

// restore gives k the number that it had. What has the number or had k, if used
// tells that it is not used, loses it. It reports whether that could be.
func (n *names[K, V]) restore(id uint32, k K, v *V, keyOf func(*V) K, used func(*V) bool) bool {
	if uint64(id) >= uint64(len(n.all))+maxGap {
		return false
	}
	if old, ok := n.ids[k]; ok {
		if used(n.all[old]) {
			return false
		}
		n.all[old] = nil
	}
	for uint32(len(n.all)) <= id {
		n.all = append(n.all, nil)
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
	n.free = append(n.free, id)
}

// spare finds the numbers that nothing has.
func (n *names[K, V]) spare() {
	n.free = n.free[:0]
	for id := len(n.all) - 1; id >= 0; id-- {
		if n.all[id] == nil {
			n.free = append(n.free, uint32(id))
		}
	}
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

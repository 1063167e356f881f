package art

import (
	"bytes"
	"slices"

	"github.com/kvferry/kvferry/index"
)

// scratchBytes is how long a key may be that a reader has on its stack.
const scratchBytes = 256

// known are the strings of a block that a reader knows already, or "".
type known struct{ prefix, hash string }

// emit appends the records of a block that are not stale.
func (x *state) emit(dst []index.Record, b ref, has known) []index.Record {
	return x.emitIf(dst, b, has, func(*holder) bool { return true })
}

func (x *state) emitIf(dst []index.Record, b ref, has known, which func(h *holder) bool) []index.Record {
	key := x.keyOf(b)
	t, s := tailOf(key), x.scopes.at(scopeID(key))
	k := index.Key{Scope: s.Scope, Prefix: has.prefix, Hash: has.hash, Index: t.index, Group: t.group}
	from, sorted := len(dst), true
	for i := range x.holders(x.block(b)) {
		h := &x.holders(x.block(b))[i]
		w := x.workers.at(h.worker)
		if w.unconfirmed && h.tier.Volatile() || !which(h) {
			continue
		}
		if len(dst) == from {
			x.strings(&k, b)
		}
		k.Tokens = h.tokens
		r := index.Record{
			Key: k, Worker: w.name, Tier: h.tier, Bytes: h.bytes, LastAccess: h.last, Refs: h.refs, Pinned: h.flags&flagPinned != 0,
		}
		if h.flags&flagNoAdapter != 0 {
			r.Adapter = index.Adapter{}
		}
		sorted = sorted && (len(dst) == from || dst[len(dst)-1].Tokens == h.tokens)
		dst = append(dst, r)
	}
	if !sorted {
		index.Sort(dst[from:])
	}
	return dst
}

// strings fills in the strings of a block that are not known.
func (x *state) strings(k *index.Key, b ref) {
	if k.Prefix == "" {
		f := x.prefixField(b)
		k.Prefix = fieldString(f[:len(f)-2])
	}
	if k.Hash == "" {
		f := x.hashField(b)
		k.Hash = fieldString(f[:len(f)-2])
	}
}

// locate appends the records of a key.
func (x *state) locate(k *index.Key, dst []index.Record) []index.Record {
	sid, ok := x.scopes.find(x.rules.Scope(k.Scope))
	if !ok {
		return dst
	}
	var room [scratchBytes]byte
	key, _ := appendKey(room[:0], sid, k, tokensIn(x.rules, k.Tokens))
	b := x.only(x.hints.tag(sid, k.Prefix), sid, k.Prefix)
	if b == 0 {
		b = x.blocks.find(key)
	}
	if b == 0 || !bytes.Equal(x.keyOf(b), key) {
		return dst
	}
	return x.inOrder(x.emit(dst, b, known{k.Prefix, k.Hash}), len(dst))
}

// inOrder sorts what was appended, where the tree's order is not the contract's.
func (x *state) inOrder(dst []index.Record, from int) []index.Record {
	if x.rules == index.AsHolt {
		index.Sort(dst[from:])
	}
	return dst
}

// scan appends the records of a scope behind a prefix.
func (x *state) scan(s *index.Scope, prefix string, dst []index.Record) []index.Record {
	sid, ok := x.scopes.find(x.rules.Scope(*s))
	if !ok {
		return dst
	}
	from, tag := len(dst), x.hints.tag(sid, prefix)
	if b := x.only(tag, sid, prefix); b != 0 {
		return x.inOrder(x.emit(dst, b, known{prefix: prefix}), from)
	}
	var room [scratchBytes]byte
	low := appendField(appendScope(room[:0], sid), prefix)
	sub := x.blocks.below(low)
	if sub == 0 || !bytes.HasPrefix(x.keyOf(x.blocks.least(sub)), low) {
		return dst
	}
	if sub&leafBit != 0 {
		x.offer(tag, sub)
	}
	x.blocks.walk(sub, func(b ref) bool {
		dst = x.emit(dst, b, known{prefix: prefix})
		return true
	})
	return x.inOrder(dst, from)
}

// byHash appends the records of a hash in all scopes.
func (x *state) byHash(hash string, dst []index.Record) []index.Record {
	var room [scratchBytes]byte
	low := appendField(room[:0], hash)
	sub := x.hashes.below(low)
	if sub == 0 || !bytes.Equal(x.hashField(x.hashes.least(sub)), low) {
		return dst
	}
	from := len(dst)
	x.hashes.walk(sub, func(b ref) bool {
		dst = x.emit(dst, b, known{hash: hash})
		return true
	})
	index.Sort(dst[from:])
	return dst
}

// part is a part of all records, in the order of scopes: a scope, and where it
// stands for two the holders of one of them.
type part struct {
	index.Scope
	id   uint32
	flag uint8
}

// parts returns them in order.
func (x *state) parts() []part {
	var ps []part
	for id, s := range x.scopes.all {
		if s == nil {
			continue
		}
		ps = append(ps, part{s.Scope, uint32(id), 0})
		if name, _ := s.Adapter.Name(); x.rules == index.AsHolt && name == "" {
			none := s.Scope
			none.Adapter = index.Adapter{}
			ps = append(ps, part{none, uint32(id), flagNoAdapter})
		}
	}
	slices.SortFunc(ps, func(a, b part) int { return a.Compare(&b.Scope) })
	return ps
}

// some appends records of a part, from the block whose key is low on, until
// there are at least so many, and returns where to go on, nil at the end.
func (x *state) some(p *part, low []byte, dst []index.Record, many int) ([]index.Record, []byte) {
	s := x.scopes.all[p.id]
	if s == nil || s.Scope != x.rules.Scope(p.Scope) {
		return dst, nil // another scope's number by now
	}
	var on []byte
	blocks := 0
	var cut [scopeBytes]byte
	first := appendScope(cut[:0], p.id)
	if low == nil {
		low = first
	}
	walk := func(b ref) bool {
		key := x.keyOf(b)
		if !bytes.HasPrefix(key, first) {
			return false
		}
		if len(dst) >= many || blocks >= many {
			on = slices.Clone(key)
			return false
		}
		blocks++
		dst = x.emitIf(dst, b, known{}, func(h *holder) bool { return h.flags&flagNoAdapter == p.flag })
		return true
	}
	x.blocks.walkFrom(x.blocks.root, 0, low, walk)
	return dst, on
}

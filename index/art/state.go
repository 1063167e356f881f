package art

import (
	"bytes"
	"errors"
	"hash/maphash"
	"math"
	"strings"
	"unsafe"

	"github.com/kvferry/kvferry/index"
)

// state is the index in memory: what the log's records change and snapshots
// hold. One goroutine changes it, alone; several may read.
type state struct {
	arena
	rules index.Rules

	blocks tree // by scope, prefix, hash and tail
	hashes tree // by hash, scope, prefix and tail
	hints  hints

	scopes  names[index.Scope, scope]
	workers names[string, worker]

	count  counts
	oldest uint64 // no record that can expire was last used before

	key, turned []byte // keys that are being used
	compared    []byte // the one that hashes compares with
	picked      []ref
}

// counts are sums over all records.
type counts struct {
	blocks, bytes           uint64
	staleBlocks, staleBytes uint64
}

func newState(rules index.Rules) *state {
	x := &state{rules: rules, oldest: math.MaxUint64, hints: hints{seed: maphash.MakeSeed()}}
	x.scopes.ids, x.workers.ids = map[index.Scope]uint32{}, map[string]uint32{}
	x.blocks = tree{arena: &x.arena, key: x.keyOf}
	x.hashes = tree{arena: &x.arena, key: func(r ref) []byte {
		x.compared = x.turnedOf(x.compared[:0], r)
		return x.compared
	}}
	return x
}

// scope returns the number of a scope, which it gives to it if it has none.
func (x *state) scope(s *index.Scope) uint32 {
	k := x.rules.Scope(*s)
	if id, ok := x.scopes.find(k); ok {
		return id
	}
	k = cloneScope(k)
	return x.scopes.put(k, &scope{Scope: k})
}

// worker returns the number of a worker, which it gives to it if it has none.
func (x *state) worker(name string) uint32 {
	if id, ok := x.workers.find(name); ok {
		return id
	}
	name = strings.Clone(name)
	return x.workers.put(name, &worker{name: name})
}

// put inserts or replaces a record, whose scope and worker have numbers. It
// keeps none of its strings.
func (x *state) put(sid, wid uint32, r *index.Record) {
	key, hashAt := appendKey(x.key[:0], sid, &r.Key, tokensIn(x.rules, r.Tokens))
	x.key = key
	tag := x.hints.tag(sid, r.Prefix)
	b := x.hints.find(tag)
	if b == 0 || !bytes.Equal(x.keyOf(b), key) {
		b = x.blocks.find(key)
	}
	if b == 0 || !bytes.Equal(x.keyOf(b), key) {
		b = x.newBlock(key, hashAt)
		shared := x.blocks.insert(key, b)
		x.turned = turned(x.turned[:0], key, hashAt)
		x.hashes.insert(x.turned, b)
		x.scopes.at(sid).blocks++
		x.hinted(tag, b, shared)
	}
	i, ok := x.seek(x.holders(x.block(b)), wid, r.Tier)
	w := x.workers.at(wid)
	var h *holder
	if ok {
		h = &x.ownHolders(b)[i]
		x.uncounted(w, h)
	} else {
		h = x.insertHolder(b, i, wid, r.Tier)
		x.link(b, i, w)
	}
	h.bytes, h.last, h.tokens, h.refs, h.flags = r.Bytes, r.LastAccess, r.Tokens, r.Refs, x.flags(r)
	x.counted(w, h)
	if h.expires(math.MaxUint64) {
		x.oldest = min(x.oldest, h.last)
	}
}

func (x *state) flags(r *index.Record) (f uint8) {
	if r.Pinned {
		f |= flagPinned
	}
	if x.rules == index.AsHolt && r.Adapter == (index.Adapter{}) {
		f |= flagNoAdapter
	}
	return f
}

// expires tells whether a record goes that was last used before a time.
func (h *holder) expires(before uint64) bool {
	return h.last < before && h.flags&flagPinned == 0 && h.refs == 0
}

func (x *state) counted(w *worker, h *holder) {
	x.count.blocks++
	x.count.bytes += h.bytes
	w.blocks++
	w.bytes += h.bytes
	if h.tier.Volatile() {
		w.volatile++
		w.vanishs += h.bytes
	}
}

func (x *state) uncounted(w *worker, h *holder) {
	x.count.blocks--
	x.count.bytes -= h.bytes
	w.blocks--
	w.bytes -= h.bytes
	if !h.tier.Volatile() {
		return
	}
	w.volatile--
	w.vanishs -= h.bytes
	if w.unconfirmed {
		x.count.staleBlocks--
		x.count.staleBytes -= h.bytes
	}
}

// confirm makes the records of a worker that are stale live.
func (x *state) confirm(w *worker) {
	blocks, bytes := w.stale()
	x.count.staleBlocks -= blocks
	x.count.staleBytes -= bytes
	w.unconfirmed = false
}

// doubt makes stale what is in the volatile tiers of all workers.
func (x *state) doubt() {
	if !x.rules.Stale() {
		return
	}
	for _, w := range x.workers.all {
		if w != nil && !w.unconfirmed {
			w.unconfirmed = true
			x.count.staleBlocks += w.volatile
			x.count.staleBytes += w.vanishs
		}
	}
}

// link makes the new holder at place i an element of its worker's list, if it is
// the first of the worker in the block.
func (x *state) link(b ref, i int, w *worker) {
	hs := x.holders(x.block(b))
	h := &hs[i]
	switch {
	case i > 0 && hs[i-1].worker == h.worker:
	case i+1 < len(hs) && hs[i+1].worker == h.worker:
		h.before, h.after = hs[i+1].before, hs[i+1].after
	default:
		h.before, h.after = 0, w.first
		if w.first != 0 {
			x.element(w.first, h.worker).before = b
		}
		w.first = b
	}
}

// element returns the element of a worker's list in a block.
func (x *state) element(b ref, wid uint32) *holder {
	hs := x.ownHolders(b)
	i, _ := x.span(hs, wid)
	return &hs[i]
}

// unlink is to be called before the holder at place i is taken out.
func (x *state) unlink(b ref, i int, w *worker) {
	hs := x.ownHolders(b)
	h := hs[i]
	switch {
	case i > 0 && hs[i-1].worker == h.worker:
		return
	case i+1 < len(hs) && hs[i+1].worker == h.worker:
		hs[i+1].before, hs[i+1].after = h.before, h.after
		return
	}
	if h.before == 0 {
		w.first = h.after
	} else {
		x.element(h.before, h.worker).after = h.after
	}
	if h.after != 0 {
		x.element(h.after, h.worker).before = h.before
	}
}

// take removes the holders among places [from, to) of a block for which which is
// true, and the block if it has none left. It returns how many.
func (x *state) take(b ref, from, to int, which func(h *holder) bool) (n int) {
	for i := to - 1; i >= from; i-- {
		h := &x.holders(x.block(b))[i]
		if !which(h) {
			continue
		}
		w := x.workers.at(h.worker)
		x.uncounted(w, h)
		x.unlink(b, i, w)
		x.cutHolder(b, i)
		n++
	}
	if n > 0 && x.block(b).n == 0 {
		x.dropBlock(b)
		if x.blocks.root == 0 {
			x.arena.reset() // all room is for objects of any class again
			x.hints.reset()
		}
	}
	return n
}

func (x *state) dropBlock(b ref) {
	key := x.keyOf(b)
	x.scopes.at(scopeID(key)).blocks--
	x.unhinted(b)
	x.turned = x.turnedOf(x.turned[:0], b)
	x.blocks.remove(key, b)
	x.hashes.remove(x.turned, b)
	x.releaseBlock(b)
}

// clear removes all records, and returns how many there were.
func (x *state) clear() int {
	n := x.count.blocks
	x.arena.reset()
	x.hints.reset()
	x.blocks.root, x.hashes.root = 0, 0
	x.count, x.oldest = counts{}, math.MaxUint64
	for _, w := range x.workers.all {
		if w != nil {
			w.first, w.blocks, w.bytes, w.volatile, w.vanishs = 0, 0, 0, 0, 0
		}
	}
	for _, s := range x.scopes.all {
		if s != nil {
			s.blocks = 0
		}
	}
	return int(n)
}

// What a record may need of the arena besides twice its strings, and what each
// worker may in addition: the block, nodes that grow, room for holders.
const (
	perRecord = uint64(blockBytes) + 8*uint64(unsafe.Sizeof(node256{}))
	perWorker = 4 * uint64(holderBytes+summaryBytes) * index.Tiers
)

// vanish removes the stale records of a worker, which is heard of now.
func (x *state) vanish(wid uint32) int {
	w := x.workers.at(wid)
	if !w.unconfirmed {
		return 0
	}
	n := x.clearWorker(wid, true)
	x.confirm(w)
	return n
}

// known returns how many workers were announced or have records.
func (x *state) known() (n int) {
	for _, w := range x.workers.all {
		if w != nil && w.known() {
			n++
		}
	}
	return n
}

// drop gives all memory back.
func (x *state) drop() error { return errors.Join(x.arena.drop(), x.hints.drop()) }

package memory

import (
	"context"

	"github.com/kvferry/kvferry/index"
)

// found is what a reader finds.
type found struct {
	x     *Index
	view  view
	arena arena
	list  []index.Record
	from  int // where its records begin in list
}

// scope returns the item of a scope, or nil if no record has it.
func (x *Index) scope(s *index.Scope) *item[index.Scope] {
	own := x.rules.Scope(*s)
	return x.scopes.find(&own, x.scopeHash(&own))
}

// restart forgets what was found.
func (f *found) restart() { f.list = f.list[:f.from] }

// done returns the records in order.
func (f *found) done() []index.Record {
	index.Sort(f.list[f.from:])
	return f.list
}

// children is done for records of one scope and prefix.
func (f *found) children() []index.Record {
	if f.x.rules == index.AsHolt { // whose scopes may be written in two ways
		return f.done()
	}
	sortChildren(f.list[f.from:])
	return f.list
}

// Locate implements index.Reader.
func (x *Index) Locate(ctx context.Context, k *index.Key, dst []index.Record) ([]index.Record, error) {
	if err := x.enter(ctx); err != nil {
		return dst, err
	}
	x.reads[x.reads.stripe()].locates.Add(1)
	return x.leave(dst, x.locate(k, dst))
}

func (x *Index) locate(k *index.Key, dst []index.Record) []index.Record {
	var p place
	if !x.find(&p.parent, k.Prefix) || !x.find(&p.hash, k.Hash) {
		return dst
	}
	p.group = k.Group
	sh := &x.shards[p.shard()]
	f := found{x: x, list: dst, from: len(dst)}
	for {
		it := x.scope(&k.Scope)
		if it == nil {
			return dst
		}
		p.scope = it.id
		f.restart()
		f.view.begin(&sh.version, &sh.mu)
		f.locate(sh, &p, k)
		if f.view.end() && it.alive() {
			return f.done()
		}
	}
}

func (f *found) locate(sh *shard, p *place, k *index.Key) {
	ref := f.node(sh, p)
	if ref == 0 {
		return
	}
	r := index.Record{Key: *k}
	r.Scope = f.x.rules.Scope(k.Scope)
	tokens := f.x.rules == index.AsMemory
	for rec := f.x.node(ref).high(nodeRecs); rec != 0 && f.view.same(); {
		c := sh.rec(rec)
		if w := c.get(recIndex); uint32(w>>32) == k.Index && (!tokens || uint32(w) == k.Tokens) {
			f.add(c, r)
		}
		rec = c.high(recPeers)
	}
}

// node is findNode for a reader.
func (f *found) node(sh *shard, p *place) uint32 {
	ref := f.x.firstOfHash(sh, &p.hash)
	for i := 1; ref != 0 && f.view.same(); i++ {
		c := f.x.node(ref)
		if isAt(c, p) {
			return ref
		}
		if i == nearNodes {
			return f.x.findFar(sh, p)
		}
		ref = c.high(nodeHash)
	}
	return 0
}

// add appends a record; r has what it shares with others. One whose worker is
// gone is left out, the version has changed then.
func (f *found) add(c cell, r index.Record) {
	if f.x.get(c, &r) {
		f.list = append(f.list, r)
	}
}

// Scan implements index.Reader.
func (x *Index) Scan(ctx context.Context, s *index.Scope, prefix string, dst []index.Record) ([]index.Record, error) {
	if err := x.enter(ctx); err != nil {
		return dst, err
	}
	x.reads[x.reads.stripe()].scans.Add(1)
	return x.leave(dst, x.scan(s, prefix, dst))
}

func (x *Index) scan(s *index.Scope, prefix string, dst []index.Record) []index.Record {
	var parent text
	if !x.find(&parent, prefix) {
		return dst
	}
	f := found{x: x, list: dst, from: len(dst)}
	for {
		it := x.scope(s)
		if it == nil {
			return dst
		}
		hash := x.scanHash(it.id, parent.hash)
		sc := &x.scans[hash>>(64-shardBits)]
		f.restart()
		f.view.begin(&sc.version, &sc.mu)
		f.scan(x.firstOfParent(sc, hash, it.id, &parent), it, prefix)
		if f.view.end() && it.alive() {
			return f.children()
		}
	}
}

// scan adds the records of a list of nodes. Their shards are others'; but who
// changes a node's records makes its scan shard odd as well.
func (f *found) scan(ref uint32, it *item[index.Scope], prefix string) {
	r := index.Record{}
	r.Scope, r.Prefix = it.key, prefix
	for ref != 0 && f.view.same() {
		c := f.x.node(ref)
		r.Group = c.low(nodeKey)
		r.Hash = f.x.text(&f.arena, c, hashMeta(c), hashAt(parentMeta(c)))
		f.peers(ref, c, &r)
		ref = c.high(nodeScan)
	}
}

// peers adds the records of a node; r has what they share.
func (f *found) peers(ref uint32, c cell, r *index.Record) {
	sh := &f.x.shards[ref>>offsetBits]
	for rec := c.high(nodeRecs); rec != 0 && f.view.same(); {
		d := sh.rec(rec)
		f.add(d, *r)
		rec = d.high(recPeers)
	}
}

// ByHash implements index.Reader.
func (x *Index) ByHash(ctx context.Context, hash string, dst []index.Record) ([]index.Record, error) {
	if err := x.enter(ctx); err != nil {
		return dst, err
	}
	return x.leave(dst, x.byHash(hash, dst))
}

func (x *Index) byHash(hash string, dst []index.Record) []index.Record {
	var t text
	if !x.find(&t, hash) {
		return dst
	}
	sh := &x.shards[t.shard()]
	f := found{x: x, list: dst, from: len(dst)}
	for {
		f.restart()
		f.view.begin(&sh.version, &sh.mu)
		f.byHash(x.firstOfHash(sh, &t), hash)
		if f.view.end() {
			return f.done()
		}
	}
}

func (f *found) byHash(ref uint32, hash string) {
	for ref != 0 && f.view.same() {
		c := f.x.node(ref)
		key := c.get(nodeKey)
		if it := f.x.scopes.item(uint32(key >> 32)); it != nil {
			r := index.Record{}
			r.Scope, r.Group, r.Hash = it.key, uint32(key), hash
			r.Prefix = f.x.text(&f.arena, c, parentMeta(c), nodeText)
			f.peers(ref, c, &r)
		}
		ref = c.high(nodeHash)
	}
}

package memory

import (
	"context"
	"fmt"
	"math/bits"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

const (
	// fewRecords of one Put lock the shards that they are in; more lock all. It is
	// also how many records are prepared beside each other: what each needs from
	// memory is asked for before the first is put.
	fewRecords = 64
	// atOnce is how many records at most change in one moment for readers.
	atOnce = 1 << 10
)

// putter is the memory of one Put.
type putter struct {
	x       *Index
	targets [fewRecords]target
	scopes  []*item[index.Scope] // held, like workers and longs
	workers []*item[string]
	longs   []uint64
	// what the record before had, or that of an earlier Put, not held then
	scope  *item[index.Scope]
	worker *item[string]
}

// Put implements index.Writer.
func (x *Index) Put(ctx context.Context, rs []index.Record) error {
	if err := x.enter(ctx); err != nil {
		return err
	}
	for i := range rs {
		if err := rs[i].Check(); err != nil {
			return fmt.Errorf("memory: put record %d: %w", i, err)
		}
	}
	if len(rs) == 0 {
		return nil
	}
	p := x.putters.get()
	p.x = x
	defer p.done()
	l := locks{all, all}
	if len(rs) <= fewRecords {
		l = p.resolve(rs)
	}
	change := index.Change{Kind: index.DidPut, Records: rs}
	made := x.feed.Copy(&change)
	if err := x.enterLocked(l); err != nil {
		return err
	}
	defer x.unlock(l)
	if !x.room(l, len(rs)) && !p.fits(rs) {
		return fmt.Errorf("memory: put %d records: a shard is full: %w", len(rs), kvferry.ErrOutOfMemory)
	}
	switch {
	case len(rs) <= fewRecords:
		x.turn(l)
		p.reach(len(rs))
		p.put(rs)
	case len(rs) <= atOnce:
		x.turn(l)
		p.putMany(rs)
	default:
		p.putMore(rs)
		x.turn(l)
	}
	x.feed.AddCopy(&change, made)
	x.turn(l)
	return nil
}

// put puts few records, which are resolved.
func (p *putter) put(rs []index.Record) {
	for i := range rs {
		p.put1(&p.targets[i], &rs[i])
	}
}

func (p *putter) putMany(rs []index.Record) {
	for len(rs) > 0 {
		few := rs[:min(fewRecords, len(rs))]
		p.resolve(few)
		p.reach(len(few))
		p.put(few)
		rs = rs[len(few):]
	}
}

// putMore puts record by record, so that readers need not wait until the last.
func (p *putter) putMore(rs []index.Record) {
	for len(rs) > 0 {
		few := rs[:min(fewRecords, len(rs))]
		p.resolve(few)
		for i := range few {
			l := p.locks(&p.targets[i])
			p.x.turn(l)
			p.put1(&p.targets[i], &few[i])
			p.x.turn(l)
		}
		rs = rs[len(few):]
	}
}

func (p *putter) locks(t *target) locks {
	scan := p.x.scanHash(t.scope, t.parent.hash)
	return locks{1 << t.shard(), 1 << (scan >> (64 - shardBits))}
}

// resolve finds the targets of few records, holds their scopes and workers,
// and returns what to lock.
func (p *putter) resolve(rs []index.Record) (l locks) {
	x := p.x
	for i := range rs {
		r, t := &rs[i], &p.targets[i]
		if len(p.scopes) == 0 || r.Scope != p.scope.key && x.rules.Scope(r.Scope) != p.scope.key {
			p.holdScope(&r.Scope)
		}
		if len(p.workers) == 0 || r.Worker != p.worker.key {
			p.holdWorker(r.Worker)
		}
		t.scope, t.group, t.worker, t.tier = p.scope.id, r.Group, p.worker.id, r.Tier
		t.index = uint64(r.Index)<<32 | uint64(r.Tokens)
		p.text(&t.parent, r.Prefix)
		p.text(&t.hash, r.Hash)
		few := p.locks(t)
		l.shards |= few.shards
		l.scans |= few.scans
		x.touch(t)
	}
	return l
}

// touch asks for the memory that a record's slots are in.
func (x *Index) touch(t *target) {
	x.shards[t.shard()].hashes.touch(uint32(t.hash.hash))
	h := x.scanHash(t.scope, t.parent.hash)
	x.scans[h>>(64-shardBits)].parents.touch(uint32(h))
}

// reach asks for the memory behind the slots of so many targets, whose shards are
// locked: what is there of each, where it goes, and what it is linked to.
func (p *putter) reach(n int) {
	for i := range p.targets[:n] {
		t := &p.targets[i]
		sh := &p.x.shards[t.shard()]
		sh.nodes.touch(sh.nodes.next)
		if int(t.worker) < len(sh.workers) {
			sh.nodes.touch(sh.workers[t.worker].first)
		}
		if n == 1 {
			break // it is put at once
		}
		q := sh.hashes.probe(uint32(t.hash.hash))
		if ref := q.next(); ref != 0 {
			sh.nodes.touch(ref & offsetMask)
		}
	}
}

func (p *putter) holdScope(scope *index.Scope) {
	x, s := p.x, p.x.rules.Scope(*scope)
	if it := p.scope; it == nil || it.key != s || !it.hold() {
		hash := x.scopeHash(&s)
		if it = x.scopes.hold(&s, hash); it == nil {
			it = x.scopes.make(ownScope(&s), hash)
		}
		p.scope = it
	}
	p.scopes = append(p.scopes, p.scope)
}

func (p *putter) holdWorker(name string) {
	x := p.x
	if it := p.worker; it == nil || it.key != name || !it.hold() {
		hash := x.workerHash(name)
		if it = x.workers.hold(&name, hash); it == nil {
			it = x.workers.make(strings.Clone(name), hash)
		}
		p.worker = it
	}
	p.workers = append(p.workers, p.worker)
}

func (p *putter) text(t *text, s string) {
	if !t.set(s) {
		id := p.x.longs.hold(s)
		p.longs = append(p.longs, id)
		t.setLong(id)
	}
	t.setHash(&p.x.seeds)
}

// put1 puts a record whose shards are locked and odd.
func (p *putter) put1(t *target, r *index.Record) {
	x, sh := p.x, &p.x.shards[t.shard()]
	sh.counts.puts++
	var s spot
	s.node, s.nodeBehind, s.nodeFar = x.findNode(sh, &t.place)
	if s.node != 0 {
		var ref uint32
		if ref, s.behind, s.far = x.findRecord(sh, s.node, t); ref != 0 {
			x.replace(sh, sh.rec(ref), r)
			return
		}
	}
	x.newRecord(sh, t, &s, r)
}

// done lets go of what was held.
func (p *putter) done() {
	x := p.x
	for _, it := range p.scopes {
		x.scopes.release(it, aHold)
	}
	for _, it := range p.workers {
		x.workers.release(it, aHold)
	}
	for _, id := range p.longs {
		x.longs.release(id)
	}
	if cap(p.scopes)+cap(p.workers)+cap(p.longs) > 4*fewRecords {
		p.scopes, p.workers, p.longs = nil, nil, nil
	}
	clear(p.scopes)
	clear(p.workers)
	p.scopes, p.workers, p.longs = p.scopes[:0], p.workers[:0], p.longs[:0]
	p.x = nil
	x.putters.put(p)
}

// fits reports whether every shard can take those of many records that are its own.
func (p *putter) fits(rs []index.Record) bool {
	if len(rs) <= fewRecords {
		return false
	}
	var n [shards]int
	for i := range rs {
		var t text
		p.text(&t, rs[i].Hash)
		n[t.shard()]++
	}
	for i := range n {
		if !p.x.room(locks{shards: 1 << i}, n[i]) {
			return false
		}
	}
	return true
}

// room reports whether every shard can take so many records more.
func (x *Index) room(l locks, n int) bool {
	for s := l.shards; s != 0; s &= s - 1 {
		sh := &x.shards[bits.TrailingZeros64(s)]
		if !sh.nodes.room(n * (classes + 1)) {
			return false
		}
	}
	return true
}

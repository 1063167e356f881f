package memory

import (
	"context"
	"fmt"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

const (
	// fewRecords of one Put lock the shards that they are in; more lock all.
	fewRecords = 64
	// atOnce is how many records at most change in one moment for readers.
	atOnce = 1 << 10
)

// putter is the memory of one Put.
type putter struct {
	x       *Index
	place   place
	scopes  []*item[index.Scope] // held
	workers []*item[string]
	longs   []uint64
	// what the record before had
	scope    index.Scope
	scopeID  uint32
	worker   string
	workerID uint32
}

var putters = sync.Pool{New: func() any { return new(putter) }}

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
	p := putters.Get().(*putter)
	p.x = x
	defer p.done()
	l := p.prepare(rs)
	if err := x.enterLocked(l); err != nil {
		return err
	}
	defer x.unlock(l)
	if !x.room(l, len(rs)) {
		return fmt.Errorf("memory: put %d records: a shard is full: %w", len(rs), kvferry.ErrOutOfMemory)
	}
	if len(rs) <= atOnce {
		x.turn(l)
		for i := range rs {
			p.put(&rs[i], len(rs) > 1)
		}
		x.feed.Add(&index.Change{Kind: index.DidPut, Records: rs})
		x.turn(l)
		return nil
	}
	for i := range rs {
		p.resolve(&rs[i])
		few := p.locks()
		x.turn(few)
		p.put(&rs[i], false)
		x.turn(few)
	}
	x.feed.Add(&index.Change{Kind: index.DidPut, Records: rs})
	return nil
}

// prepare holds all scopes and workers and returns what to lock.
func (p *putter) prepare(rs []index.Record) locks {
	var l locks
	for i := range rs {
		p.hold(&rs[i], i == 0)
		if len(rs) <= fewRecords {
			p.resolve(&rs[i])
			few := p.locks()
			l.shards |= few.shards
			l.scans |= few.scans
		}
	}
	if len(rs) > fewRecords {
		l = locks{all, all}
	}
	return l
}

func (p *putter) locks() locks {
	scan := p.x.scanHash(p.place.scope, p.place.parent.hash)
	return locks{1 << p.place.shard(), 1 << (scan >> (64 - shardBits))}
}

// hold makes a record's scope and worker the putter's.
func (p *putter) hold(r *index.Record, first bool) {
	x := p.x
	if first || r.Scope != p.scope {
		p.scope = r.Scope
		s := x.rules.Scope(r.Scope)
		it := x.scopes.hold(&s, x.scopeHash(&s), ownScope)
		p.scopes = append(p.scopes, it)
		p.scopeID = it.id
	}
	if first || r.Worker != p.worker {
		p.worker = r.Worker
		it := x.workers.hold(&r.Worker, x.workerHash(r.Worker), ownName)
		p.workers = append(p.workers, it)
		p.workerID = it.id
	}
}

// resolve finds a record's place. Its scope and worker are held.
func (p *putter) resolve(r *index.Record) {
	x := p.x
	if r.Scope != p.scope {
		p.scope = r.Scope
		s := x.rules.Scope(r.Scope)
		p.scopeID = x.scopes.find(&s, x.scopeHash(&s)).id
	}
	if r.Worker != p.worker {
		p.worker = r.Worker
		p.workerID = x.workers.find(&r.Worker, x.workerHash(r.Worker)).id
	}
	p.place.scope, p.place.group = p.scopeID, r.Group
	p.text(&p.place.parent, r.Prefix)
	p.text(&p.place.hash, r.Hash)
}

func (p *putter) text(t *text, s string) {
	if !t.set(s) {
		id := p.x.longs.hold(s)
		p.longs = append(p.longs, id)
		t.setLong(id)
	}
	t.setHash(&p.x.seeds)
}

// put puts a record whose shards are locked and odd.
func (p *putter) put(r *index.Record, resolve bool) {
	if resolve {
		p.resolve(r)
	}
	x, sh := p.x, &p.x.shards[p.place.shard()]
	t := target{&p.place, p.workerID, r.Tier, uint64(r.Index)<<32 | uint64(r.Tokens)}
	ref, behind, far := x.findRecord(sh, &t)
	c := sh.rec(ref)
	if ref == 0 {
		c = x.newRecord(sh, &t, behind, far)
	}
	x.fill(sh, c, r)
	sh.counts.puts++
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
	clear(p.scopes)
	clear(p.workers)
	p.scopes, p.workers, p.longs = p.scopes[:0], p.workers[:0], p.longs[:0]
	if cap(p.longs) > fewRecords {
		p.longs = nil
	}
	p.scope, p.worker, p.x = index.Scope{}, "", nil
	putters.Put(p)
}

// room reports whether every shard can take so many records more.
func (x *Index) room(l locks, n int) bool {
	for i := range x.shards {
		sh := &x.shards[i]
		if l.shards>>i&1 == 1 && !(sh.nodes.room(n*(classes+1)) && sh.recs.room(n)) {
			return false
		}
	}
	return true
}

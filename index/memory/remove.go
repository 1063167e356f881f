package memory

import (
	"context"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/feed"
)

// victim is a record that is going to be removed; its doomedBit is set.
type victim struct {
	shard uint32
	ref   uint32
}

// victims are records of shards that are locked.
type victims struct {
	x     *Index
	list  []victim
	scans uint64 // the scan shards of their nodes
	made  feed.Copy
}

// doom adds a record that is not among the victims yet.
func (v *victims) doom(shard, ref uint32) {
	c := v.x.shards[shard].rec(ref)
	flags := c.get(recWorker)
	if flags&doomedBit != 0 {
		return
	}
	c.set(recWorker, flags|doomedBit)
	v.list = append(v.list, victim{shard, ref})
	n := v.x.node(c.high(recNode))
	var t text
	t.load(n, parentMeta(n), nodeText, &v.x.seeds)
	v.scans |= 1 << (v.x.scanHash(n.high(nodeKey), t.hash) >> (64 - shardBits))
}

// drop removes the victims, adds what it did to a count of each shard and to
// the changes, and returns how many there were. The shards of held are locked.
func (v *victims) drop(held uint64, count func(c *counts) *uint64, c *index.Change) int {
	x := v.x
	if len(v.list) == 0 {
		return 0
	}
	scans := locks{scans: v.scans}
	x.lock(scans)
	defer x.unlock(scans)
	l := locks{held, v.scans}
	if len(v.list) <= atOnce {
		x.turn(l)
		v.dropList(v.list, count)
		x.feed.AddCopy(c, v.made)
		x.turn(l)
		return len(v.list)
	}
	for i := 0; i < len(v.list); i += atOnce / 64 {
		x.turn(l)
		v.dropList(v.list[i:min(i+atOnce/64, len(v.list))], count)
		x.turn(l)
	}
	x.feed.AddCopy(c, v.made)
	return len(v.list)
}

func (v *victims) dropList(list []victim, count func(c *counts) *uint64) {
	for _, d := range list {
		sh := &v.x.shards[d.shard]
		v.x.drop(sh, d.ref)
		*count(&sh.counts)++
		sh.shrink()
	}
}

// keptChunks are not given back by a shard that became empty.
const keptChunks = 2

// shrink gives the memory of a shard without records back.
func (sh *shard) shrink() {
	if sh.counts.records == 0 && len(*sh.nodes.dir.Load()) > keptChunks {
		sh.nodes.reset()
	}
}

// find makes t the text of s. It reports false if no record has the string.
func (x *Index) find(t *text, s string) bool {
	if !t.set(s) {
		id := x.longs.find(s)
		if id == 0 {
			return false
		}
		t.setLong(id)
	}
	t.setHash(&x.seeds)
	return true
}

func (t *text) shard() uint32 { return uint32(t.hash >> (64 - shardBits)) }

// Remove implements index.Writer.
func (x *Index) Remove(ctx context.Context, rs []index.Removal) (int, error) {
	if err := x.enter(ctx); err != nil {
		return 0, err
	}
	type sought struct {
		text
		known bool
	}
	var one [1]sought
	texts := one[:]
	if len(rs) > 1 {
		texts = make([]sought, len(rs))
	}
	l := locks{}
	for i := range rs {
		t := &texts[i]
		if t.known = x.find(&t.text, rs[i].Hash); t.known {
			l.shards |= 1 << t.shard()
		}
	}
	c := index.Change{Kind: index.DidRemove, Removals: rs}
	v := victims{x: x, made: x.feed.Copy(&c)}
	if err := x.enterLocked(l); err != nil {
		return 0, err
	}
	defer x.unlock(l)
	for i := range rs {
		if texts[i].known {
			v.sentence(&rs[i], &texts[i].text)
		}
	}
	return v.drop(l.shards, func(c *counts) *uint64 { return &c.removes }, &c), nil
}

// sentence dooms what a removal selects.
func (v *victims) sentence(r *index.Removal, t *text) {
	x := v.x
	worker := x.workers.find(&r.Worker, x.workerHash(r.Worker))
	if worker == nil {
		return
	}
	s, own := x.rules.Scope(r.Scope), int64(-1)
	if !r.AnyAdapter {
		it := x.scopes.find(&s, x.scopeHash(&s))
		if it == nil {
			return
		}
		own = int64(it.id)
	}
	sh := &x.shards[t.shard()]
	one := x.kin(sh, t, &s, worker.id)
	for ref := one; ref != 0; ref = sh.rec(ref).high(recKin) {
		v.ofKin(r, t.shard(), ref, own)
	}
	for ref := one; ref != 0; ref = sh.rec(ref).low(recKin) {
		v.ofKin(r, t.shard(), ref, own)
	}
}

// ofKin dooms a record if a removal selects it among its kin; scope is -1 for
// every adapter.
func (v *victims) ofKin(r *index.Removal, shard, ref uint32, scope int64) {
	c := v.x.shards[shard].rec(ref)
	n := v.x.node(c.high(recNode))
	if (r.Tier == 0 || r.Tier == tierOf(c)) && (!r.OneGroup || r.Group == n.low(nodeKey)) && (scope < 0 || scope == int64(n.high(nodeKey))) {
		v.doom(shard, ref)
	}
}

// Clear implements index.Writer.
func (x *Index) Clear(ctx context.Context) error {
	if err := x.enter(ctx); err != nil {
		return err
	}
	l := locks{all, all}
	if err := x.enterLocked(l); err != nil {
		return err
	}
	defer x.unlock(l)
	n := uint64(0)
	for i := range x.shards {
		c := &x.shards[i].counts
		n += c.records
		c.cleared += c.records
	}
	if n > 0 {
		x.turn(l)
		x.reset()
		x.scopes.clear()
		x.workers.clear()
		x.unannounced.Store(0)
		x.longs.clear()
		x.feed.Add(&index.Change{Kind: index.DidClear})
		x.turn(l)
	}
	return nil
}

// Expire implements index.Writer.
func (x *Index) Expire(ctx context.Context, before uint64) (int, error) {
	if err := x.enter(ctx); err != nil {
		return 0, err
	}
	l := locks{shards: all}
	if err := x.enterLocked(l); err != nil {
		return 0, err
	}
	defer x.unlock(l)
	v := victims{x: x}
	for i := range x.shards {
		if x.shards[i].oldest < before {
			v.expired(uint32(i), before)
		}
	}
	return v.drop(all, func(c *counts) *uint64 { return &c.expired }, &index.Change{Kind: index.DidExpire, Before: before}), nil
}

// expired dooms what expires of a shard and finds the oldest of the rest.
func (v *victims) expired(shard uint32, before uint64) {
	sh := &v.x.shards[shard]
	sh.oldest = ^uint64(0)
	for _, s := range *sh.hashes.slots.Load() {
		for node := uint32(s); node != 0; {
			n := v.x.node(node)
			for ref := n.high(nodeRecs); ref != 0; {
				c := sh.rec(ref)
				if c.get(recWorker)&pinnedBit == 0 && c.low(recNode) == 0 { // else it is in use
					if access := c.get(recAccess); access < before {
						v.doom(shard, ref)
					} else {
						sh.oldest = min(sh.oldest, access)
					}
				}
				ref = c.high(recPeers)
			}
			node = n.high(nodeHash)
		}
	}
}

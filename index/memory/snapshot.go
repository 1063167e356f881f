package memory

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/kvferry/kvferry/index"
)

// block names a node without its shard.
type block struct {
	scope        *item[index.Scope]
	parent, hash string
	group        uint32
}

func (b *block) compare(o *block) int {
	if b.scope != o.scope {
		if c := b.scope.key.Compare(&o.scope.key); c != 0 {
			return c
		}
	}
	return cmp.Or(strings.Compare(b.parent, o.parent), strings.Compare(b.hash, o.hash))
}

// Snapshot implements index.Reader. It notes which blocks there are, puts them
// into order and then looks at each; so it takes memory for their names.
func (x *Index) Snapshot(ctx context.Context, visit func(r *index.Record) error) (uint64, error) {
	if err := x.enter(ctx); err != nil {
		return 0, err
	}
	seq := x.feed.Seq()
	var blocks []block
	for i := range x.shards {
		blocks = x.shards[i].blocks(x, blocks)
	}
	if err := x.enter(ctx); err != nil {
		return seq, err
	}
	slices.SortFunc(blocks, func(a, b block) int { return a.compare(&b) })
	f := found{x: x}
	for len(blocks) > 0 {
		n := 1
		for n < len(blocks) && (x.rules == index.AsHolt || blocks[n].compare(&blocks[0]) == 0) {
			n++
		}
		f.list = f.list[:0]
		for i := range blocks[:n] {
			f.from = len(f.list)
			f.block(&blocks[i])
		}
		if err := x.enter(ctx); err != nil { // closed: less was found than there was
			return seq, err
		}
		index.Sort(f.list)
		for i := range f.list {
			if err := visit(&f.list[i]); err != nil {
				return seq, err
			}
		}
		blocks = blocks[n:]
	}
	return seq, nil
}

// blocks appends the nodes of a shard.
func (sh *shard) blocks(x *Index, list []block) []block {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	a := arena{size: maxArena}
	list = slices.Grow(list, sh.hashes.n)
	for _, s := range *sh.hashes.slots.Load() {
		for ref := uint32(s); ref != 0; {
			c := x.node(ref)
			meta := parentMeta(c)
			list = append(list, block{
				scope: x.scopes.item(c.high(nodeKey)), group: c.low(nodeKey),
				parent: x.text(&a, c, meta, nodeText), hash: x.text(&a, c, hashMeta(c), hashAt(meta)),
			})
			ref = c.high(nodeHash)
		}
	}
	return list
}

// block adds the records that a block has now.
func (f *found) block(b *block) {
	x := f.x
	var p place
	if !x.find(&p.parent, b.parent) || !x.find(&p.hash, b.hash) {
		return
	}
	p.scope, p.group = b.scope.id, b.group
	r := index.Record{}
	r.Scope, r.Prefix, r.Hash, r.Group = b.scope.key, b.parent, b.hash, b.group
	sh := &x.shards[p.shard()]
	for b.scope.alive() {
		f.restart()
		f.view.begin(&sh.version, &sh.mu)
		if ref := f.node(sh, &p); ref != 0 {
			f.peers(ref, x.node(ref), &r)
		}
		if f.view.end() && b.scope.alive() {
			return
		}
	}
	f.restart()
}

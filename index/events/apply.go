package events

import (
	"context"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry/index"
)

// fact is what holds for all blocks of an event.
type fact struct {
	scope        index.Scope
	number       uint16 // of scope
	stored       bool
	tier         index.Tier
	anyTier      bool // no medium was named: removals are of every tier
	anyAdapter   bool // removals are of every adapter
	group        uint32
	oneGroup     bool
	tokens       uint32
	bytes        uint64
	lastAccess   uint64
	adapter      uint16
	adapterKnown bool // the event says which adapter, or that there is none
	chained      bool // each block is behind the one before
	chain        chain
	begin        uint32 // id of the first block's parent; the event has a reference to it
}

// chain is what the next block of an event is behind.
type chain struct {
	parent uint32 // id
	prefix string // its text
	known  bool
	index  uint32 // of the next block
	placed bool   // index is known, not counted from the event's first block
}

// root is the beginning of a prompt.
func (c *chain) root() {
	*c = chain{parent: parentRoot, prefix: index.Root, known: true, placed: true}
}

// fact returns one with what holds for all events of the engine.
func (in *Ingester) fact(stored bool) fact {
	return fact{
		scope:  index.Scope{Model: in.engine.Model, Tokenizer: in.engine.Tokenizer, Tenant: in.engine.Tenant},
		stored: stored, bytes: in.engine.BytesPerBlock, anyAdapter: true,
	}
}

// behind begins a chain behind the block of a key.
func (in *Ingester) behind(w *worker, f *fact, k *key) {
	ks := [1]key{*k}
	w.ledger.meet(ks[:], f.group, true)
	f.begin = w.ledger.intern(&ks[0], f.group)
	f.chain = chain{parent: f.begin, prefix: in.arena.text(k), known: true}
	if f.begin == 0 {
		return
	}
	e := w.ledger.at(f.begin)
	e.refs++ // the event's own, until it ends
	if e.placed || e.tiers != 0 {
		f.chain.index, f.chain.placed = e.index+1, e.placed
	}
}

// skip counts and reports an event whose medium is not known.
func (in *Ingester) skip(f *fact) bool {
	if f.tier == 0 {
		in.count.unknownMediums.Add(1)
	}
	return f.tier == 0
}

// apply stores or removes the blocks of in.keys.
func (in *Ingester) apply(ctx context.Context, w *worker, f *fact) error {
	if err := w.sawGroup(f.group); err != nil {
		return err
	}
	w.ledger.meet(in.keys, f.group, f.stored)
	for i := range in.keys {
		if len(in.puts) >= flushRecords || len(in.removals) >= flushRecords {
			if err := in.Flush(ctx); err != nil {
				return err
			}
		}
		var err error
		if f.stored {
			err = in.store(ctx, w, f, &in.keys[i])
		} else {
			err = in.remove(ctx, w, f, &in.keys[i])
		}
		if err != nil {
			return err
		}
	}
	if f.stored {
		in.count.stored.Add(uint64(len(in.keys)))
	} else {
		in.count.removed.Add(uint64(len(in.keys)))
	}
	return nil
}

func (w *worker) sawGroup(g uint32) error {
	if slices.Contains(w.groups, g) {
		return nil
	}
	if len(w.groups) >= maxGroups {
		return fmt.Errorf("events: %s has more than %d KV groups: %w", w.name, maxGroups, errBatch)
	}
	w.groups = append(w.groups, g)
	return nil
}

// store puts one block. What the event does not say is taken from what the worker
// is known to have of the same block; what it says otherwise than before moves
// the block's other records to the new key.
func (in *Ingester) store(ctx context.Context, w *worker, f *fact, k *key) error {
	l, c := w.ledger, &f.chain
	text := in.arena.text(k)
	id := l.intern(k, f.group)
	if id == 0 { // no room to remember it
		in.unremembered = true
		in.count.unremembered.Add(1)
		in.put(w, f, c.prefix, text, c.index, f.tokens, f.adapter, f.tier)
		c.next(0, text, c.index, c.placed, f.chained)
		return nil
	}
	e := l.at(id)
	parent, position, placed := c.parent, c.index, c.placed
	switch {
	case e.parent != parentUnknown && !c.known:
		parent, position, placed = e.parent, e.index, e.placed
	case e.placed && !placed && e.parent == parent:
		position, placed = e.index, true
	case e.tiers != 0 && !c.known:
		position, placed = e.index, e.placed
	}
	adapter, tokens := f.adapter, f.tokens
	if !f.adapterKnown {
		adapter = e.adapter
	}
	if tokens == 0 {
		tokens = e.tokens
	}
	prefix := c.prefix
	if !c.known {
		prefix = in.prefix(l, parent)
	}
	moved := uint8(0)
	if e.tiers != 0 && (e.parent != parent || e.index != position || e.adapter != adapter) {
		moved = e.tiers &^ mask(f.tier)
		if err := in.forget(ctx, w, f, e, text); err != nil {
			return err
		}
	}
	e.index, e.placed, e.tokens, e.adapter = position, placed, tokens, adapter
	e.tiers |= mask(f.tier) // first: it may be its own parent, and must not be freed with that
	l.setParent(id, parent)
	e.epoch = in.epoch
	for t := index.Tier(1); moved != 0 && t < index.Tiers; t++ {
		if moved&mask(t) != 0 {
			in.put(w, f, prefix, text, position, tokens, adapter, t)
		}
	}
	in.put(w, f, prefix, text, position, tokens, adapter, f.tier)
	if parent == parentUnknown && !c.known {
		in.count.unknownParents.Add(1)
	}
	c.next(id, text, position, placed, f.chained)
	return nil
}

// forget takes away the records of a block whose key changes.
func (in *Ingester) forget(ctx context.Context, w *worker, f *fact, e *entry, text string) error {
	if e.epoch == in.epoch {
		if err := in.Flush(ctx); err != nil {
			return err
		}
	}
	in.removals = append(in.removals, index.Removal{
		Scope: f.scope, AnyAdapter: true, Worker: w.name, Hash: text, OneGroup: true, Group: f.group,
	})
	return nil
}

// next moves on to what is behind a block.
func (c *chain) next(id uint32, text string, position uint32, placed, chained bool) {
	if chained {
		*c = chain{parent: id, prefix: text, known: true, index: position + 1, placed: placed}
		return
	}
	c.index++
}

// prefix returns the text of a parent.
func (in *Ingester) prefix(l *ledger, parent uint32) string {
	switch parent {
	case parentUnknown:
		return ""
	case parentRoot:
		return index.Root
	}
	k := l.key(parent)
	return in.arena.text(&k)
}

func (in *Ingester) put(w *worker, f *fact, prefix, text string, position, tokens uint32, adapter uint16, t index.Tier) {
	in.puts = append(in.puts, index.Record{})
	r := &in.puts[len(in.puts)-1]
	r.Scope = f.scope
	r.Adapter = w.adapters[adapter]
	r.Prefix, r.Hash, r.Index, r.Group, r.Tokens = prefix, text, position, f.group, tokens
	r.Worker, r.Tier, r.Bytes, r.LastAccess = w.name, t, f.bytes, f.lastAccess
}

// remove takes one block away, from one tier if the event names one.
func (in *Ingester) remove(ctx context.Context, w *worker, f *fact, k *key) error {
	r := index.Removal{
		Scope: f.scope, AnyAdapter: f.anyAdapter, Worker: w.name, Hash: in.arena.text(k), OneGroup: f.oneGroup, Group: f.group,
	}
	gone := ^uint8(0)
	if !f.anyTier {
		r.Tier, gone = f.tier, mask(f.tier)
	}
	groups := w.groups
	if f.oneGroup {
		groups = []uint32{f.group}
	}
	ids := make([]uint32, 0, 4)
	for _, g := range groups {
		if !f.oneGroup {
			k.sum = w.ledger.sum(k, g)
		}
		id := w.ledger.find(k, g)
		// A put that is held back must not come behind this removal. Whether there
		// is one of a block that could not be remembered is not known.
		if id != 0 && w.ledger.at(id).epoch == in.epoch || id == 0 && in.unremembered {
			if err := in.Flush(ctx); err != nil {
				return err
			}
		}
		if id != 0 {
			ids = append(ids, id)
		}
	}
	in.removals = append(in.removals, r)
	for _, id := range ids {
		e := w.ledger.at(id)
		if !f.anyAdapter && w.adapters[e.adapter] != f.scope.Adapter {
			continue
		}
		e.tiers &^= gone
		w.ledger.drop(id)
	}
	return nil
}

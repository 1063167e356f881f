package art

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// check walks everything and compares what is said twice.
func (x *state) check() error {
	if err := errors.Join(x.blocks.checkTree(), x.hashes.checkTree()); err != nil {
		return err
	}
	var sum counts
	oldest := uint64(math.MaxUint64)
	scopes, workers := map[uint32]uint64{}, map[uint32]uint64{}
	elements := map[uint32]map[ref]bool{}
	var err error
	blocks := 0
	x.blocks.walk(x.blocks.root, func(b ref) bool {
		blocks++
		scopes[scopeID(x.keyOf(b))]++
		hs := x.holders(x.block(b))
		if len(hs) == 0 {
			err = errors.New("a block without holders")
		}
		for i := range hs {
			h := &hs[i]
			w := x.workers.at(h.worker)
			sum.blocks++
			sum.bytes += h.bytes
			workers[h.worker]++
			if w.unconfirmed && h.tier.Volatile() {
				sum.staleBlocks++
				sum.staleBytes += h.bytes
			}
			if h.expires(math.MaxUint64) {
				oldest = min(oldest, h.last)
			}
			if len(hs) > 1 && x.summaries(x.block(b))[i] != h.summary() {
				err = fmt.Errorf("the summary of holder %d is another's", i)
			}
			if elements[h.worker] == nil {
				elements[h.worker] = map[ref]bool{}
			}
			elements[h.worker][b] = true
			if j, ok := x.seek(hs, h.worker, h.tier); !ok || j != i {
				err = fmt.Errorf("holder %d is found at %d", i, j)
			}
		}
		return err == nil
	})
	hashed := 0
	x.hashes.walk(x.hashes.root, func(ref) bool { hashed++; return true })
	if hashed != blocks {
		err = errors.Join(err, fmt.Errorf("%d blocks, %d by hash", blocks, hashed))
	}
	if sum != x.count || oldest < x.oldest {
		err = errors.Join(err, fmt.Errorf("counted %+v, oldest %d; kept %+v, %d", sum, oldest, x.count, x.oldest))
	}
	err = errors.Join(err, x.checkHints(blocks))
	for id, s := range x.scopes.all {
		if s != nil && (s.blocks != scopes[uint32(id)] || x.scopes.ids[s.Scope] != uint32(id)) {
			err = errors.Join(err, fmt.Errorf("scope %d has %d blocks, not %d", id, scopes[uint32(id)], s.blocks))
		}
	}
	for id, w := range x.workers.all {
		if w != nil {
			err = errors.Join(err, x.checkList(uint32(id), w, elements[uint32(id)], workers[uint32(id)]))
		}
	}
	return err
}

// checkHints: each is in its bucket, and leads to the only block of a scope and
// prefix.
func (x *state) checkHints(blocks int) error {
	h := &x.hints
	if h.blocks != uint64(blocks) || uint64(h.buckets)*blocksEach < h.blocks {
		return fmt.Errorf("%d buckets for %d blocks, of which there are %d", h.buckets, h.blocks, blocks)
	}
	alike := map[string]int{} // blocks by scope and prefix
	all := map[ref]bool{}
	x.blocks.walk(x.blocks.root, func(b ref) bool {
		alike[string(x.keyOf(b)[:x.block(b).hashAt])]++
		all[b] = true
		return true
	})
	for i := range h.buckets {
		for _, e := range h.at(i) {
			tag, b := uint32(e>>32), ref(e)
			switch {
			case e == 0:
			case !all[b]:
				return fmt.Errorf("a hint at %x, which is no block", b)
			case !x.plain(b) || x.tagOf(b) != tag || h.bucketOf(tag) != h.at(i):
				return fmt.Errorf("a hint at %x in bucket %d of %d", b, i, h.buckets)
			case alike[string(x.keyOf(b)[:x.block(b).hashAt])] != 1:
				return fmt.Errorf("a hint at one of several, %q", x.keyOf(b))
			}
		}
	}
	return nil
}

func (x *state) checkList(id uint32, w *worker, want map[ref]bool, records uint64) error {
	if w.blocks != records {
		return fmt.Errorf("worker %d has %d records, not %d", id, records, w.blocks)
	}
	before, n := ref(0), 0
	for b := w.first; b != 0; n++ {
		if !want[b] || n > len(want) {
			return fmt.Errorf("the list of worker %d has %x", id, b)
		}
		hs := x.holders(x.block(b))
		i, _ := x.span(hs, id)
		if hs[i].before != before {
			return fmt.Errorf("the list of worker %d is broken at %x", id, b)
		}
		before, b = b, hs[i].after
	}
	if n != len(want) {
		return fmt.Errorf("the list of worker %d has %d of %d", id, n, len(want))
	}
	return nil
}

// checkTree looks at every node: kinds fit numbers, bytes are in order, paths are
// those of the blocks below.
func (t *tree) checkTree() error {
	if t.root == 0 {
		return nil
	}
	_, err := t.checkNode(t.root, nil)
	return err
}

// checkNode returns how many children there are, and that all keys begin with at.
func (t *tree) checkNode(r ref, at []byte) (kinds map[uint8]int, err error) {
	kinds = map[uint8]int{}
	if r&leafBit != 0 {
		if key := bytes.Clone(t.key(r)); !bytes.HasPrefix(key, at) {
			return kinds, fmt.Errorf("key %x is behind %x", key, at)
		}
		return kinds, nil
	}
	h := t.head(r)
	kinds[h.kind]++
	least := map[uint8]uint16{kind4: 2, kind16: shrink16 + 1, kind48: shrink48 + 1, kind256: shrink256 + 1}[h.kind]
	most := map[uint8]uint16{kind4: 4, kind16: 16, kind48: 48, kind256: 256}[h.kind]
	if h.n < least || h.n > most {
		return kinds, fmt.Errorf("a node of kind %d with %d children", h.kind, h.n)
	}
	path := bytes.Clone(t.key(t.least(r))[len(at):][:h.plen])
	if !bytes.HasPrefix(path, h.path[:min(h.plen, inlineBytes)]) {
		return kinds, fmt.Errorf("path %x is %x in the node", path, h.path)
	}
	at = append(bytes.Clone(at), path...)
	n := uint16(0)
	for c, b := next(h, 0); c != 0; c, b = next(h, b+1) {
		n++
		if p := child(h, byte(b)); p == nil || *p != c {
			return kinds, fmt.Errorf("child %d is not found", b)
		}
		below, err := t.checkNode(c, append(bytes.Clone(at), byte(b)))
		if err != nil {
			return kinds, err
		}
		for k, m := range below {
			kinds[k] += m
		}
	}
	if n != h.n {
		return kinds, fmt.Errorf("%d children, not %d", n, h.n)
	}
	return kinds, nil
}

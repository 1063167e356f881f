package synthetic

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

// The constants that keep a page's K and V apart, as ProcessFork defines them.
const (
	saltK = 0x0000CACECAFECAFE
	saltV = 0xC0DEC0DEC0DEC0DE
)

// Populate fills pages 0 to n-1 with ProcessFork's bytes for seed and adds its
// sequence: id "seq-seed-" and the seed in 16 hexadecimal digits, pages 0 to
// n-1, the last one half full. A part k or v gets the original's bytes; parts
// of other kinds, which the original does not have, get bytes of their own.
//
// As in the original, an earlier Populate's pages from n on and its sequences
// stay, and pages below n change under them. Unlike there, a sequence with the
// same id is replaced, and pages in use are never allocated again. More pages
// than the capacity are ErrOutOfMemory; a paused engine refuses with
// ErrInvalid, because its pages are promised to be stable.
func (e *Engine) Populate(n int, seed uint64) error {
	return e.populate(n, seed, func(dst []byte, id pager.PageID) {
		for i, p := range e.meta.Parts {
			fill(dst[:p.Bytes], seed^uint64(id)^salt(i, p.Kind))
			dst = dst[p.Bytes:]
		}
	})
}

// salt returns what is XOR-ed into the seed of part i.
func salt(i int, kind pager.PartKind) uint64 {
	switch kind {
	case pager.PartK:
		return saltK
	case pager.PartV:
		return saltV
	}
	return saltK ^ uint64(i+1)<<56
}

// fill writes ProcessFork's SplitMix64 variant for x: the state advances once
// before the first output, so the stream is one step later than the textbook's.
func fill(dst []byte, x uint64) {
	x += gamma
	for len(dst) > 0 {
		x += gamma
		z := mix(x)
		if len(dst) < 8 {
			var tail [8]byte
			binary.LittleEndian.PutUint64(tail[:], z)
			copy(dst, tail[:])
			return
		}
		binary.LittleEndian.PutUint64(dst, z)
		dst = dst[8:]
	}
}

// gamma is the step of SplitMix64.
const gamma = 0x9E3779B97F4A7C15

// mix is SplitMix64's output function.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// populate fills pages 0 to n-1, several at a time, and adds their sequence.
func (e *Engine) populate(n int, seed uint64, page func(dst []byte, id pager.PageID)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return fmt.Errorf("synthetic: populate: %w", kvferry.ErrClosed)
	case e.paused:
		return fmt.Errorf("synthetic: populate a paused engine: %w", kvferry.ErrInvalid)
	case n < 0:
		return fmt.Errorf("synthetic: populate %d pages: %w", n, kvferry.ErrInvalid)
	case n > e.slab.capacity:
		return fmt.Errorf("synthetic: populate %d pages, the capacity is %d: %w", n, e.slab.capacity, kvferry.ErrOutOfMemory)
	}
	for i := range n {
		if err := e.slab.grow(pager.PageID(i)); err != nil {
			return err
		}
	}
	parallel(n, func(i int) {
		c, j := e.slab.find(pager.PageID(i))
		page(e.slab.page(c, j), pager.PageID(i))
		c.gens[j]++
	})
	seq := pager.LogicalSeq{
		ID:             fmt.Sprintf("seq-seed-%016x", seed),
		Pages:          make([]pager.PageID, n),
		FillInLastPage: e.meta.PageTokens / 2,
	}
	for i := range n {
		seq.Pages[i] = pager.PageID(i)
		c, j := e.slab.find(pager.PageID(i))
		if c.states[j] == free {
			e.used++
		}
		c.states[j] = full
	}
	e.next = max(e.next, n)
	e.seqs = slices.DeleteFunc(e.seqs, func(s pager.LogicalSeq) bool { return s.ID == seq.ID })
	e.seqs = append(e.seqs, seq)
	return nil
}

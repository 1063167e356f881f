package engine

import (
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
)

// loan is what a restore has to do with a page.
type loan uint8

const (
	loanNone loan = iota
	loanOpen      // allocated, not written
	loanFull      // allocated and written
	// loanLent: installed in a sequence, and no pause has ended since. If the
	// installation is taken back, the page is the restore's again.
	loanLent
)

// blocks is the page allocator. A page is free unless sequences refer to it or
// a restore has it on loan.
type blocks struct {
	refs  []int32 // mentions in page tables
	loans []loan
	gens  []uint64 // changes with every allocation, release and write
	free  []uint32 // a stack
}

func newBlocks(n int) *blocks {
	b := &blocks{refs: make([]int32, n), loans: make([]loan, n), gens: make([]uint64, n), free: make([]uint32, n)}
	for i := range b.free {
		b.free[i] = uint32(n - 1 - i)
	}
	return b
}

// take returns a free page with one reference. Admission has made sure that
// there is one.
func (b *blocks) take() uint32 {
	p := b.pop()
	b.refs[p] = 1
	return p
}

// pop removes a page from the free list.
func (b *blocks) pop() uint32 {
	if len(b.free) == 0 {
		panic("engine: a page was promised and is not there")
	}
	p := b.free[len(b.free)-1]
	b.free = b.free[:len(b.free)-1]
	b.gens[p]++
	return p
}

// put returns a page to the free list.
func (b *blocks) put(p uint32) {
	b.gens[p]++
	b.free = append(b.free, p)
}

// exists reports whether p is a page that is not free.
func (b *blocks) exists(p uint32) bool {
	return int(p) < len(b.refs) && (b.refs[p] > 0 || b.loans[p] != loanNone)
}

// occupied reports whether p holds valid data.
func (b *blocks) occupied(p uint32) bool {
	return b.exists(p) && b.loans[p] != loanOpen
}

// ref adds references to pages that exist; pages on loan are lent with them.
func (b *blocks) ref(pages []uint32) {
	for _, p := range pages {
		b.refs[p]++
		if b.loans[p] != loanNone {
			b.loans[p] = loanLent
		}
	}
}

// unref drops references. Pages that lose their last one are free again, or
// the restore's that lent them.
func (b *blocks) unref(pages []uint32) {
	for _, p := range pages {
		if b.refs[p]--; b.refs[p] > 0 {
			continue
		}
		if b.loans[p] == loanLent {
			b.loans[p] = loanFull
			continue
		}
		b.put(p)
	}
}

// settle makes what was lent the sequences' for good.
func (b *blocks) settle() {
	for p, l := range b.loans {
		if l == loanLent {
			b.loans[p] = loanNone
		}
	}
}

// lend takes n free pages for a restore.
func (b *blocks) lend(n int) []uint32 {
	ids := make([]uint32, n)
	for i := range ids {
		ids[i] = b.pop()
		b.loans[ids[i]] = loanOpen
	}
	return ids
}

// release ends the loan of pages; all or none. Those that no sequence refers to
// are free again.
func (b *blocks) release(ids []uint32) error {
	seen := make(map[uint32]bool, len(ids))
	for _, p := range ids {
		if int(p) >= len(b.loans) || b.loans[p] == loanNone || seen[p] {
			return fmt.Errorf("engine: release of page %d, which is not on loan: %w", p, kvferry.ErrNotFound)
		}
		seen[p] = true
	}
	for _, p := range ids {
		if b.loans[p] = loanNone; b.refs[p] == 0 {
			b.put(p)
		}
	}
	return nil
}

// lendThese takes the given free pages for a restore; all or none.
func (b *blocks) lendThese(pages []uint32) error {
	want := make(map[uint32]bool, len(pages))
	for _, p := range pages {
		switch {
		case int(p) >= len(b.refs):
			return fmt.Errorf("engine: reserve page %d of %d: %w", p, len(b.refs), kvferry.ErrNotFound)
		case b.exists(p) || want[p]:
			return fmt.Errorf("engine: reserve page %d, which is in use: %w", p, kvferry.ErrExists)
		}
		want[p] = true
	}
	b.free = slices.DeleteFunc(b.free, func(p uint32) bool { return want[p] })
	for _, p := range pages {
		b.gens[p]++
		b.loans[p] = loanOpen
	}
	return nil
}

package manifest

import (
	"slices"
	"strings"

	"github.com/kvferry/kvferry/pager"
)

// Number numbers the pages of a capture: by first appearance in the sequences
// in order of their ids, then the occupied pages that no sequence holds,
// ascending. order[n] is the engine's index of page n; sequences are seqs in
// order of their ids, on page numbers, and share no memory with seqs.
//
// The same cache gets the same numbers whatever the engine's indices are, so
// that a fork shares the page tables that did not change. A page that occurs
// twice in occupied, a repeated sequence id and a sequence that names a page
// which is not occupied are ErrInvalid.
func Number(occupied []pager.PageID, seqs []pager.LogicalSeq) (order []pager.PageID, sequences []Sequence, err error) {
	n := numbering{order: make([]pager.PageID, 0, len(occupied))}
	if err := n.occupy(occupied); err != nil {
		return nil, nil, err
	}
	references := 0
	for i := range seqs {
		references += len(seqs[i].Pages)
	}
	if references > MaxReferences {
		return nil, nil, invalid("%d pages named by sequences, want at most %d", references, MaxReferences)
	}
	arena := make([]uint32, 0, references)
	sorted := slices.Clone(seqs)
	slices.SortStableFunc(sorted, func(a, b pager.LogicalSeq) int { return strings.Compare(a.ID, b.ID) })
	sequences = make([]Sequence, len(sorted))
	for i, s := range sorted {
		if i > 0 && s.ID == sorted[i-1].ID {
			return nil, nil, invalid("sequence id %q occurs twice", s.ID)
		}
		first := len(arena)
		for _, id := range s.Pages {
			p, ok := n.number(id)
			if !ok {
				return nil, nil, invalid("sequence %q names page %d, which is not occupied", s.ID, id)
			}
			arena = append(arena, p)
		}
		sequences[i] = Sequence{ID: s.ID, Pages: arena[first:len(arena):len(arena)], FillInLastPage: s.FillInLastPage}
	}
	n.rest()
	return n.order, sequences, nil
}

// numbering gives numbers to pages. A page's slot is its rank among the
// occupied pages.
type numbering struct {
	occupied []pager.PageID // ascending
	// dense holds 1 + slot by engine index, 0 where no page is; nil where the
	// indices are too far apart, and slots are found by binary search.
	dense []uint32
	given []uint32 // 1 + number by slot, 0 while there is none
	order []pager.PageID
}

func (n *numbering) occupy(occupied []pager.PageID) error {
	if len(occupied) > MaxPages {
		return invalid("%d occupied pages, want at most %d", len(occupied), MaxPages)
	}
	if !ascending(occupied) {
		if id, ok := repeat(occupied); ok {
			return invalid("page %d is occupied twice", id)
		}
		occupied = slices.Clone(occupied)
		slices.Sort(occupied)
	}
	n.occupied = occupied
	n.given = make([]uint32, len(occupied))
	if len(occupied) == 0 {
		return nil
	}
	const sparse = 8 // indices per page beyond which a direct table wastes memory
	if top := int64(occupied[len(occupied)-1]); top < sparse*int64(len(occupied))+4096 {
		n.dense = make([]uint32, top+1)
		for slot, id := range occupied {
			n.dense[id] = uint32(slot) + 1
		}
	}
	return nil
}

func (n *numbering) slot(id pager.PageID) (int, bool) {
	if n.dense == nil {
		return slices.BinarySearch(n.occupied, id)
	}
	if int64(id) >= int64(len(n.dense)) || n.dense[id] == 0 {
		return 0, false
	}
	return int(n.dense[id]) - 1, true
}

// number returns the page's number and gives it the next one if it has none.
func (n *numbering) number(id pager.PageID) (uint32, bool) {
	slot, ok := n.slot(id)
	if !ok {
		return 0, false
	}
	if n.given[slot] == 0 {
		n.order = append(n.order, id)
		n.given[slot] = uint32(len(n.order))
	}
	return n.given[slot] - 1, true
}

// rest numbers the pages that have no number yet.
func (n *numbering) rest() {
	for slot, id := range n.occupied {
		if n.given[slot] == 0 {
			n.order = append(n.order, id)
		}
	}
}

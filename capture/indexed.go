package capture

import (
	"slices"

	"github.com/kvferry/kvferry/pager"
)

// indexed finds the numbers of a snapshot's pages by their engine indices.
// While it is asked the engine stands still.
type indexed struct {
	dense  []uint32 // 1 + number by engine index, 0 where no page is
	sorted []uint64 // engine index and number, where the indices lie too far apart
}

// indexPages indexes the pages of a group; without indices it finds none.
func indexPages(ids []pager.PageID) indexed {
	if len(ids) == 0 {
		return indexed{}
	}
	const sparse = 8 // indices per page beyond which a direct table wastes memory
	if top := int64(slices.Max(ids)); top < sparse*int64(len(ids))+4096 {
		x := indexed{dense: make([]uint32, top+1)}
		for n, id := range ids {
			x.dense[id] = uint32(n) + 1
		}
		return x
	}
	x := indexed{sorted: make([]uint64, len(ids))}
	for n, id := range ids {
		x.sorted[n] = uint64(id)<<32 | uint64(n)
	}
	slices.Sort(x.sorted)
	return x
}

// number returns the number of the page that was at id.
func (x *indexed) number(id pager.PageID) (int, bool) {
	if x.sorted == nil {
		if int64(id) >= int64(len(x.dense)) || x.dense[id] == 0 {
			return 0, false
		}
		return int(x.dense[id]) - 1, true
	}
	at, _ := slices.BinarySearch(x.sorted, uint64(id)<<32)
	if at == len(x.sorted) || pager.PageID(x.sorted[at]>>32) != id {
		return 0, false
	}
	return int(uint32(x.sorted[at])), true
}

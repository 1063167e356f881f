package gpu

import "github.com/kvferry/kvferry/pager"

// maxAges bounds the memory of an ages.
const maxAges = 1 << 20

// ages remembers which work touched each page last. Pages of large caches share
// entries; then a work may wait for one that it need not wait for.
type ages struct{ last []uint64 }

func newAges(pages int) ages {
	n := 1
	for n < pages && n < maxAges {
		n *= 2
	}
	return ages{make([]uint64, n)}
}

// latest returns the newest seq that touched one of ids; 0 if none did.
func (a ages) latest(ids []pager.PageID) uint64 {
	newest := uint64(0)
	for _, id := range ids {
		newest = max(newest, a.last[int(id)&(len(a.last)-1)])
	}
	return newest
}

// touch notes that seq, larger than every one before, touches ids. It reports
// whether a page may be among them twice.
func (a ages) touch(ids []pager.PageID, seq uint64) (repeats bool) {
	for _, id := range ids {
		at := &a.last[int(id)&(len(a.last)-1)]
		repeats = repeats || *at == seq
		*at = seq
	}
	return repeats
}

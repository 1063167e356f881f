package memory

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/kvferry/kvferry/index"
)

// rank is where a record is in a list, and how its hash begins.
type rank struct {
	begin uint64
	at    uint32
}

type ranks struct{ list []rank }

var ranksPool pool[ranks]

const (
	// manyRecords are put into order by how their hashes begin: a record is long,
	// and so is Compare.
	manyRecords = 16
	// keptRanks are kept for the next to sort.
	keptRanks = 1 << 14
)

// sortChildren puts records of one scope and prefix into the order of Compare.
func sortChildren(rs []index.Record) {
	if len(rs) < manyRecords {
		index.Sort(rs)
		return
	}
	p := ranksPool.get()
	list := slices.Grow(p.list[:0], len(rs))
	for i := range rs {
		list = append(list, rank{begin(rs[i].Hash), uint32(i)})
	}
	slices.SortFunc(list, func(a, b rank) int {
		if a.begin != b.begin {
			return cmp.Compare(a.begin, b.begin)
		}
		return index.Compare(&rs[a.at], &rs[b.at])
	})
	arrange(rs, list)
	if p.list = list; cap(list) > keptRanks {
		p.list = nil
	}
	ranksPool.put(p)
}

// begin returns the first eight bytes of a string, so that numbers are ordered as
// strings are, as far as they differ.
func begin(s string) uint64 {
	var b [8]byte
	copy(b[:], s)
	return binary.BigEndian.Uint64(b[:])
}

// arrange puts each record where the list has it, circle by circle.
func arrange(rs []index.Record, list []rank) {
	for i := range list {
		if list[i].at == uint32(i) {
			continue
		}
		first, to := rs[i], i
		for from := int(list[i].at); from != i; from = int(list[to].at) {
			rs[to] = rs[from]
			list[to].at = uint32(to)
			to = from
		}
		rs[to] = first
		list[to].at = uint32(to)
	}
}

package memory

import (
	"context"
	"sync/atomic"
	"unsafe"

	"github.com/kvferry/kvferry/index"
)

// readCounts counts calls of readers, which share no cache line: each goroutine
// counts in the stripe of its stack's address.
type readCounts [32]struct {
	scans, locates, matches atomic.Uint64
	_                       [40]byte
}

func (r *readCounts) stripe() int {
	var here byte
	at := uintptr(unsafe.Pointer(&here)) //nolint:gosec // an address is only a number here
	return int(uint32(at>>11)*2654435769>>16) % len(r)
}

// Metrics implements index.Keeper.
func (x *Index) Metrics(ctx context.Context) (index.Metrics, error) {
	if err := x.enter(ctx); err != nil {
		return index.Metrics{}, err
	}
	l := locks{shards: all}
	if err := x.enterLocked(l); err != nil {
		return index.Metrics{}, err
	}
	defer x.unlock(l)
	m := index.Metrics{Seq: x.feed.Seq(), Workers: x.countWorkers()}
	for i := range x.shards {
		c := &x.shards[i].counts
		m.ResidentBlocks += c.records
		m.ResidentBytes += c.bytes
		m.Puts += c.puts
		m.Removes += c.removes
		m.Cleared += c.cleared
		m.Expired += c.expired
	}
	for i := range x.reads {
		m.PrefixScans += x.reads[i].scans.Load()
		m.Locates += x.reads[i].locates.Load()
		m.Matches += x.reads[i].matches.Load()
	}
	return m, nil
}

// MemoryBytes returns how much memory the slabs and tables take. The heap has more:
// what is left of the newest block, and tables that were outgrown, as long as
// something else of their block is in use.
func (x *Index) MemoryBytes() int {
	l := locks{all, all}
	x.lock(l)
	defer x.unlock(l)
	n := int(unsafe.Sizeof(*x))
	for i := range x.shards {
		sh := &x.shards[i]
		n += sh.nodes.bytes() + cap(sh.workers)*8
		n += sh.hashes.bytes() + sh.far.bytes() + sh.kin.bytes() + sh.exact.bytes()
		n += x.scans[i].parents.bytes()
	}
	return n
}

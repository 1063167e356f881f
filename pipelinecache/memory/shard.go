package memory

import (
	"math"
	"math/bits"
	"sync"

	"github.com/kvferry/kvferry/pipelinecache"
)

// limits are those of a shard. The rule of a 0 is that of admit.
type limits struct{ entries, bytes uint64 }

func (l limits) admit(artifact []byte) bool {
	return l.entries > 0 && l.bytes > 0 && uint64(len(artifact)) <= l.bytes
}

// reason tells which limits such a shard exceeds; 0 is none.
func (l limits) reason(entries, bytes uint64) Reason {
	switch {
	case entries > l.entries && bytes > l.bytes:
		return EntryAndByteLimit
	case entries > l.entries:
		return EntryLimit
	case bytes > l.bytes:
		return ByteLimit
	}
	return 0
}

// shard is one part of the cache. Its first cache line has what each get changes,
// its second what gets only read, so that cores which share a shard hand one
// line of it to each other, and one or two of the links.
type shard struct {
	mu           sync.Mutex
	clock        uint64
	hits, misses uint64
	bytes, count uint64
	puts         uint64
	rejected     uint64

	// index finds entries. entries and links go together, and their first is
	// none: links[0] closes the ring in the order of use, its next being the
	// newest and its prev the oldest.
	index   index
	links   []link
	entries []entry

	free         uint32 // the first of unused entries, which are linked by next
	evictions    uint64
	evictedBytes uint64
	report       EvictionReport // the latest; without a reason there is none

	_ [56]byte // keep neighbours' locks on other pairs of cache lines
}

// entry is an artifact. It fills a cache line, and gets only read it.
type entry struct {
	key      pipelinecache.Fingerprint
	artifact []byte

	_ [8]byte
}

// link lies beside the entries, because its neighbours' are needed without them.
type link struct {
	prev, next uint32
	lastUsed   uint64 // the clock when the entry was put or last hit
}

func (sh *shard) getLocked(f *pipelinecache.Fingerprint, hash uint32) ([]byte, bool) {
	increment(&sh.clock)
	i := sh.index.find(sh.entries, f, hash)
	if i == 0 {
		increment(&sh.misses)
		return nil, false
	}
	increment(&sh.hits)
	sh.useLocked(i)
	return sh.entries[i].artifact, true
}

// useLocked makes an entry the newest.
func (sh *shard) useLocked(i uint32) {
	sh.links[i].lastUsed = sh.clock
	if sh.links[0].next != i {
		sh.unlinkLocked(i)
		sh.linkLocked(i)
	}
}

func (sh *shard) unlinkLocked(i uint32) {
	l := sh.links[i]
	sh.links[l.prev].next = l.next
	sh.links[l.next].prev = l.prev
}

func (sh *shard) linkLocked(i uint32) {
	newest := sh.links[0].next
	sh.links[i] = link{prev: 0, next: newest, lastUsed: sh.clock}
	sh.links[newest].prev = i
	sh.links[0].next = i
}

// putLocked keeps an artifact that the limits admit. A new one takes its place
// only once there is room: it is never what has to go.
func (sh *shard) putLocked(s *Store, f *pipelinecache.Fingerprint, hash uint32, artifact []byte) {
	increment(&sh.clock)
	increment(&sh.puts)
	size := uint64(len(artifact))
	if i := sh.index.find(sh.entries, f, hash); i != 0 {
		sh.bytes += size - uint64(len(sh.entries[i].artifact)) // wraps around and back
		sh.entries[i].artifact = artifact
		sh.useLocked(i)
		sh.evictLocked(s, 0, 0)
		return
	}
	sh.evictLocked(s, 1, size)
	i := sh.takeLocked()
	sh.entries[i] = entry{key: *f, artifact: artifact}
	sh.linkLocked(i)
	sh.index.add(hash, i, int(sh.count)+1)
	sh.count++
	sh.bytes += size
}

// takeLocked returns an unused entry.
func (sh *shard) takeLocked() uint32 {
	if i := sh.free; i != 0 {
		sh.free = sh.links[i].next
		return i
	}
	if len(sh.entries) == 0 {
		sh.entries, sh.links = append(sh.entries, entry{}), append(sh.links, link{})
	}
	sh.entries, sh.links = append(sh.entries, entry{}), append(sh.links, link{})
	return uint32(len(sh.entries) - 1)
}

// evictLocked removes the oldest until there is room for so many more entries
// and bytes, and reports it.
func (sh *shard) evictLocked(s *Store, entries, bytes uint64) {
	r := EvictionReport{Reason: s.limits.reason(sh.count+entries, sh.bytes+bytes)}
	if r.Reason == 0 {
		return
	}
	for s.limits.reason(sh.count+entries, sh.bytes+bytes) != 0 {
		oldest := sh.links[0].prev
		e := &sh.entries[oldest]
		r.Entries++
		r.Bytes += uint64(len(e.artifact))
		r.MaxAgeTicks = max(r.MaxAgeTicks, sh.clock-sh.links[oldest].lastUsed)
		sh.removeLocked(oldest, s.hash(&e.key))
	}
	sh.evictedLocked(r)
}

// rejectLocked counts a put that is refused, and removes what it would have
// replaced.
func (sh *shard) rejectLocked(f *pipelinecache.Fingerprint, hash uint32) {
	increment(&sh.rejected)
	i := sh.index.find(sh.entries, f, hash)
	if i == 0 {
		return
	}
	increment(&sh.clock)
	e := &sh.entries[i]
	r := EvictionReport{Entries: 1, Bytes: uint64(len(e.artifact)), MaxAgeTicks: sh.clock - sh.links[i].lastUsed, Reason: RejectedPut}
	sh.removeLocked(i, hash)
	sh.evictedLocked(r)
}

func (sh *shard) removeLocked(i, hash uint32) {
	sh.index.remove(hash, i)
	sh.unlinkLocked(i)
	sh.bytes -= uint64(len(sh.entries[i].artifact))
	sh.count--
	sh.entries[i] = entry{}
	sh.links[i] = link{next: sh.free}
	sh.free = i
}

func (sh *shard) evictedLocked(r EvictionReport) {
	sh.report = r
	sh.evictions = saturate(sh.evictions, r.Entries)
	sh.evictedBytes = saturate(sh.evictedBytes, r.Bytes)
}

func increment(n *uint64) {
	if *n != math.MaxUint64 {
		*n++
	}
}

func saturate(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return math.MaxUint64
	}
	return sum
}

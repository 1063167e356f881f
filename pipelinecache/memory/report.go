package memory

import "github.com/kvferry/kvferry/pipelinecache"

// Reason is why artifacts were thrown out. Its zero is none.
type Reason uint8

// The reasons: what a shard exceeded before the first artifact went, or a put
// that was refused.
const (
	EntryLimit Reason = iota + 1
	ByteLimit
	EntryAndByteLimit
	RejectedPut
)

// String returns the reason's name.
func (r Reason) String() string {
	names := [...]string{"none", "EntryLimit", "ByteLimit", "EntryAndByteLimit", "RejectedPut"}
	if int(r) < len(names) {
		return names[r]
	}
	return "invalid"
}

// EvictionReport says what a put threw out of a shard.
type EvictionReport struct {
	Shard uint8
	// Entries and Bytes are how many went.
	Entries, Bytes uint64
	// MaxAgeTicks is how long ago, by the shard's clock, the oldest of them was
	// put or hit.
	MaxAgeTicks uint64
	Reason      Reason
}

// EvictionReports returns the latest report of each shard that has one, in the
// shards' order.
func (s *Store) EvictionReports() []EvictionReport {
	var reports []EvictionReport
	for i := range s.shards {
		r := s.shards[i].latest()
		if r.Reason != 0 {
			r.Shard = uint8(i)
			reports = append(reports, r)
		}
	}
	return reports
}

func (sh *shard) latest() EvictionReport {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.report
}

// Metrics implements pipelinecache.Store. Each shard's counts are those of one
// moment, but not all shards' of the same. No count wraps around: it stays at the
// greatest number that there is.
func (s *Store) Metrics() pipelinecache.Metrics {
	var sum pipelinecache.Metrics
	for i := range s.shards {
		if m := s.shards[i].metrics(); m != (pipelinecache.Metrics{}) { // most of a small cache
			sum = sum.Add(m)
		}
	}
	return sum
}

func (sh *shard) metrics() pipelinecache.Metrics {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return pipelinecache.Metrics{
		Lookups: saturate(sh.hits, sh.misses), Hits: sh.hits, Misses: sh.misses,
		Puts: sh.puts, RejectedPuts: sh.rejected,
		Evictions: sh.evictions, EvictedBytes: sh.evictedBytes,
		CachedBytes: sh.bytes, Entries: sh.count,
	}
}

package memory_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/memory"
)

// model is one shard as upstream's words have it: a list without order, looked
// through for the least clock.
type model struct {
	entries, bytes int
	clock          int
	kept           []kept
	metrics        pipelinecache.Metrics
	report         memory.EvictionReport
}

type kept struct {
	f          pipelinecache.Fingerprint
	size, used int
}

func (m *model) find(f pipelinecache.Fingerprint) int {
	return slices.IndexFunc(m.kept, func(k kept) bool { return k.f == f })
}

func (m *model) total() (n int) {
	for _, k := range m.kept {
		n += k.size
	}
	return n
}

func (m *model) get(f pipelinecache.Fingerprint) (size int, hit bool) {
	m.clock++
	m.metrics.Lookups++
	i := m.find(f)
	if i < 0 {
		m.metrics.Misses++
		return 0, false
	}
	m.metrics.Hits++
	m.kept[i].used = m.clock
	return m.kept[i].size, true
}

func (m *model) put(f pipelinecache.Fingerprint, size int) {
	i := m.find(f)
	if size > m.bytes {
		m.metrics.RejectedPuts++
		if i >= 0 {
			m.clock++
			m.report = memory.EvictionReport{Reason: memory.RejectedPut}
			m.evict(i)
		}
		return
	}
	if i >= 0 {
		m.kept = slices.Delete(m.kept, i, i+1)
	}
	m.clock++
	m.metrics.Puts++
	m.kept = append(m.kept, kept{f, size, m.clock})
	tooMany, tooLong := len(m.kept) > m.entries, m.total() > m.bytes
	switch {
	case tooMany && tooLong:
		m.report = memory.EvictionReport{Reason: memory.EntryAndByteLimit}
	case tooMany:
		m.report = memory.EvictionReport{Reason: memory.EntryLimit}
	case tooLong:
		m.report = memory.EvictionReport{Reason: memory.ByteLimit}
	}
	for len(m.kept) > m.entries || m.total() > m.bytes {
		least := 0
		for i, k := range m.kept {
			if k.used < m.kept[least].used {
				least = i
			}
		}
		m.evict(least)
	}
}

func (m *model) evict(i int) {
	k := m.kept[i]
	m.report.Entries++
	m.report.Bytes += uint64(k.size)
	m.report.MaxAgeTicks = max(m.report.MaxAgeTicks, uint64(m.clock-k.used))
	m.metrics.Evictions++
	m.metrics.EvictedBytes += uint64(k.size)
	m.kept = slices.Delete(m.kept, i, i+1)
}

// TestModel compares a shard with the model, operation by operation, with room
// for few and for many.
func TestModel(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ entries, bytes, keys, longest int }{
		{1, 10, 3, 12}, {2, 40, 6, 42}, {5, 30, 40, 20}, {100, 1000, 255, 30}, {64, 1 << 20, 255, 100}, {200, 300, 255, 310},
	} {
		const seed = 1
		r := rand.New(rand.NewPCG(seed, uint64(c.entries)))
		s := open(t, memory.Options{ShardEntries: c.entries, ShardBytes: int64(c.bytes)})
		m := &model{entries: c.entries, bytes: c.bytes}
		for i := range 1000 {
			f := key(0, byte(r.IntN(c.keys)))
			if r.IntN(2) == 0 {
				size, hit := m.get(f)
				got, err := s.GetShared(t.Context(), f)
				require.Equal(t, hit, err == nil, "%+v operation %d", c, i)
				require.Len(t, got, size)
			} else {
				size := r.IntN(c.longest)
				m.put(f, size)
				_ = s.Put(t.Context(), f, make([]byte, size)) // the metrics say what came of it
			}
			m.metrics.Entries, m.metrics.CachedBytes = uint64(len(m.kept)), uint64(m.total())
			require.Equal(t, m.metrics, s.Metrics(), "%+v operation %d", c, i)
			if m.report.Reason != 0 {
				require.Equal(t, []memory.EvictionReport{m.report}, s.EvictionReports(), "%+v operation %d", c, i)
			}
		}
		require.NotZero(t, m.metrics.Evictions)
	}
}

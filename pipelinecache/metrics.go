package pipelinecache

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/kvferry/kvferry"
)

// Metrics counts what a store did, each what it knows: a disk without a budget
// has no evictions, bytes and entries, a layered store the sums of its layers.
type Metrics struct {
	Lookups, Hits, Misses   uint64
	Puts                    uint64 // accepted
	RejectedPuts            uint64
	Evictions, EvictedBytes uint64 // entries, and their bytes
	Flushes, FlushErrors    uint64 // attempts, and those that failed
	CachedBytes, Entries    uint64 // now
}

// fields lists the counts in their order, with the names that errors use.
func (m *Metrics) fields() [11]struct {
	name  string
	value *uint64
} {
	type field = struct {
		name  string
		value *uint64
	}
	return [11]field{
		{"lookups", &m.Lookups}, {"hits", &m.Hits}, {"misses", &m.Misses}, {"puts", &m.Puts}, {"rejected puts", &m.RejectedPuts},
		{"evictions", &m.Evictions}, {"evicted bytes", &m.EvictedBytes}, {"flushes", &m.Flushes}, {"flush errors", &m.FlushErrors},
		{"cached bytes", &m.CachedBytes}, {"entries", &m.Entries},
	}
}

// Add returns the sum, each count at most the greatest number that there is.
func (m Metrics) Add(o Metrics) Metrics {
	sums, _ := m.sum(o)
	return sums
}

// CheckedAdd is Add; the first count that exceeds the greatest number that there
// is, is ErrInvalid, by name.
func (m Metrics) CheckedAdd(o Metrics) (Metrics, error) {
	sums, over := m.sum(o)
	if over != "" {
		return Metrics{}, fmt.Errorf("pipelinecache: the sum of %s exceeds 64 bits: take the metrics of fewer stores: %w", over, kvferry.ErrInvalid)
	}
	return sums, nil
}

func (m Metrics) sum(o Metrics) (sums Metrics, over string) {
	sums = m
	add := o.fields()
	for i, f := range sums.fields() {
		n, carry := bits.Add64(*f.value, *add[i].value, 0)
		if carry != 0 {
			n = math.MaxUint64
			if over == "" {
				over = f.name
			}
		}
		*f.value = n
	}
	return sums, over
}

// HitRatePPM returns the hits among a million lookups, rounded down, exact for
// all counts; 0 without lookups. More hits than lookups, which no store
// counts, can exceed 32 bits: that is ErrInvalid.
func (m Metrics) HitRatePPM() (uint32, error) {
	if m.Lookups == 0 {
		return 0, nil
	}
	hi, lo := bits.Mul64(m.Hits, 1_000_000)
	if hi < m.Lookups {
		if ppm, _ := bits.Div64(hi, lo, m.Lookups); ppm <= math.MaxUint32 {
			return uint32(ppm), nil
		}
	}
	return 0, fmt.Errorf("pipelinecache: hit_rate_ppm of %d hits and %d lookups exceeds 32 bits: %w", m.Hits, m.Lookups, kvferry.ErrInvalid)
}

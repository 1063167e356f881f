package pipelinecache_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
)

const most = math.MaxUint64

// numbers returns metrics whose fields are from, from+1 and so on.
func numbers(from uint64) pipelinecache.Metrics {
	var m pipelinecache.Metrics
	v := reflect.ValueOf(&m).Elem()
	for i := range v.NumField() {
		v.Field(i).SetUint(from + uint64(i))
	}
	return m
}

// TestUpstreamMetrics holds what vyre-runtime's tests of metrics expect. There,
// a product beyond 64 bits is an error; here the rate is exact for all counts.
func TestUpstreamMetrics(t *testing.T) {
	t.Parallel()
	t.Run("hit_rate_ppm_exact", func(t *testing.T) {
		for hits := range uint64(1025) {
			ppm, err := pipelinecache.Metrics{Lookups: 2048, Hits: hits}.HitRatePPM()
			require.NoError(t, err)
			require.Equal(t, uint32(hits*1_000_000/2048), ppm)
		}
		ppm, err := pipelinecache.Metrics{Hits: 5}.HitRatePPM()
		require.NoError(t, err)
		require.Zero(t, ppm, "without lookups")
	})
	t.Run("fallible_aggregation_reports_cached_bytes", func(t *testing.T) {
		_, err := pipelinecache.Metrics{CachedBytes: most}.CheckedAdd(pipelinecache.Metrics{CachedBytes: 1})
		require.ErrorIs(t, err, kvferry.ErrInvalid)
		require.Contains(t, err.Error(), "cached bytes")
	})
	t.Run("saturating_aggregation", func(t *testing.T) {
		sum := pipelinecache.Metrics{CachedBytes: most, Hits: 3}.Add(pipelinecache.Metrics{CachedBytes: 1, Hits: 4, Puts: 5})
		require.Equal(t, pipelinecache.Metrics{CachedBytes: most, Hits: 7, Puts: 5}, sum)
	})
	t.Run("counter_add", func(t *testing.T) {
		require.Equal(t, uint64(42), pipelinecache.Metrics{Lookups: 41}.Add(pipelinecache.Metrics{Lookups: 1}).Lookups)
	})
	t.Run("counter_overflow_keeps_the_maximum", func(t *testing.T) {
		require.Equal(t, uint64(most), pipelinecache.Metrics{Lookups: most}.Add(pipelinecache.Metrics{Lookups: 1}).Lookups)
	})
	t.Run("hit_rate_ppm_overflow", func(t *testing.T) {
		_, err := pipelinecache.Metrics{Hits: most, Lookups: 1}.HitRatePPM()
		require.ErrorIs(t, err, kvferry.ErrInvalid)
		require.Contains(t, err.Error(), "hit_rate_ppm")
	})
}

// TestAdd adds fields that are all different, and overflows each alone.
func TestAdd(t *testing.T) {
	t.Parallel()
	a, b, want := numbers(1), numbers(100), numbers(0)
	v := reflect.ValueOf(&want).Elem()
	require.Equal(t, 11, v.NumField())
	for i := range v.NumField() {
		v.Field(i).SetUint(uint64(101 + 2*i))
	}
	require.Equal(t, want, a.Add(b))
	sum, err := a.CheckedAdd(b)
	require.NoError(t, err)
	require.Equal(t, want, sum)
	require.Equal(t, numbers(1), a, "a sum changes no summand")

	names := []string{
		"lookups", "hits", "misses", "puts", "rejected puts", "evictions", "evicted bytes",
		"flushes", "flush errors", "cached bytes", "entries",
	}
	for i, name := range names {
		big := a
		reflect.ValueOf(&big).Elem().Field(i).SetUint(most - 99)
		sum, err := big.CheckedAdd(b)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
		require.Contains(t, err.Error(), "the sum of "+name+" exceeds")
		require.Zero(t, sum)
		saturated := want
		reflect.ValueOf(&saturated).Elem().Field(i).SetUint(most)
		require.Equal(t, saturated, big.Add(b))
	}
	_, err = numbers(most - 10).CheckedAdd(b)
	require.ErrorContains(t, err, "the sum of lookups exceeds", "the first of them")
}

// TestHitRatePPM compares with arithmetic without limits.
func TestHitRatePPM(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	counts := []uint64{0, 1, 2, 3, 999_999, 1_000_000, 18_446_744_073_709, 18_446_744_073_710, 1 << 62, 1 << 63, most - 1, most}
	for range 200 {
		counts = append(counts, r.Uint64()>>r.IntN(64))
	}
	n := func(x uint64) *big.Int { return new(big.Int).SetUint64(x) }
	refused := 0
	for _, lookups := range counts {
		for _, hits := range counts {
			got, err := pipelinecache.Metrics{Lookups: lookups, Hits: hits}.HitRatePPM()
			want := new(big.Int)
			if lookups != 0 {
				want.Div(want.Mul(n(hits), n(1_000_000)), n(lookups))
			}
			if want.Cmp(n(math.MaxUint32)) > 0 {
				require.ErrorIs(t, err, kvferry.ErrInvalid, "%d of %d", hits, lookups)
				require.Less(t, lookups, hits)
				refused++
				continue
			}
			require.NoError(t, err, "%d of %d", hits, lookups)
			require.Equal(t, want.Uint64(), uint64(got), "%d of %d", hits, lookups)
		}
	}
	require.NotZero(t, refused)
}

package kernels

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
)

const somewhere = cuda.Ptr(1 << 40)

func TestRunsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		page int64
		runs []Run
	}{
		"no runs":                      {10, nil},
		"negative page":                {-1, nil},
		"page too long":                {math.MaxInt32 + 1, []Run{{Address: somewhere, Bytes: math.MaxInt32 + 1, Count: 1}}},
		"no address":                   {10, []Run{{Bytes: 10, Count: 1}}},
		"no bytes":                     {10, []Run{{Address: somewhere, Bytes: 10, Count: 1}, {Address: somewhere, Count: 1}}},
		"no fragments":                 {10, []Run{{Address: somewhere, Bytes: 10}}},
		"negative bytes":               {10, []Run{{Address: somewhere, Bytes: -10, Count: 1}}},
		"negative canonical":           {10, []Run{{Address: somewhere, Canonical: -1, Bytes: 10, Count: 1}}},
		"negative page stride":         {10, []Run{{Address: somewhere, PageStride: -1, Bytes: 10, Count: 1}}},
		"negative local stride":        {10, []Run{{Address: somewhere, LocalStride: -5, CanonicalStride: 5, Bytes: 5, Count: 2}}},
		"negative canonical stride":    {10, []Run{{Address: somewhere, LocalStride: 5, CanonicalStride: -5, Canonical: 5, Bytes: 5, Count: 2}}},
		"too long":                     {10, []Run{{Address: somewhere, Bytes: 11, Count: 1}}},
		"too many":                     {10, []Run{{Address: somewhere, LocalStride: 5, CanonicalStride: 5, Bytes: 5, Count: 3}}},
		"ends beyond":                  {10, []Run{{Address: somewhere, Canonical: 1, Bytes: 10, Count: 1}}},
		"stride ends beyond":           {10, []Run{{Address: somewhere, LocalStride: 5, CanonicalStride: 6, Bytes: 5, Count: 2}}},
		"canonical stride overflows":   {10, []Run{{Address: somewhere, LocalStride: 5, CanonicalStride: math.MaxInt64, Bytes: 3, Count: 3}}},
		"count overflows":              {10, []Run{{Address: somewhere, Bytes: 1, Count: math.MaxInt64}}},
		"address overflows":            {10, []Run{{Address: math.MaxUint64 - 3, Bytes: 10, Count: 1}}},
		"local stride overflows":       {10, []Run{{Address: somewhere, LocalStride: math.MaxInt64, CanonicalStride: 5, Bytes: 5, Count: 2}}},
		"local stride overflows twice": {12, []Run{{Address: somewhere, LocalStride: math.MaxInt64, CanonicalStride: 3, Bytes: 3, Count: 4}}},
		"twice":                        {10, []Run{{Address: somewhere, Bytes: 6, Count: 1}, {Address: somewhere, Canonical: 4, Bytes: 6, Count: 1}}},
		"fragments twice":              {10, []Run{{Address: somewhere, LocalStride: 5, Bytes: 5, Count: 2}}},
		"hole":                         {10, []Run{{Address: somewhere, Bytes: 4, Count: 1}, {Address: somewhere, Canonical: 6, Bytes: 4, Count: 1}}},
		"begins late":                  {10, []Run{{Address: somewhere, Canonical: 1, Bytes: 9, Count: 1}}},
		"ends early":                   {10, []Run{{Address: somewhere, Bytes: 9, Count: 1}}},
		"fragments beyond number":      {maxFragments + 1, []Run{{Address: somewhere, LocalStride: 2, CanonicalStride: 1, Bytes: 1, Count: maxFragments + 1}}},
	} {
		_, _, err := planRuns(c.runs, c.page)
		require.ErrorIs(t, err, kvferry.ErrInvalid, name)
		require.LessOrEqual(t, len(err.Error()), 300, name)
		_, err = new(Set).NewRuns(c.runs, c.page)
		require.ErrorIs(t, err, kvferry.ErrInvalid, name)
	}
}

// TestEmptyPages need no device memory, and no launch.
func TestEmptyPages(t *testing.T) {
	r, err := new(Set).NewRuns(nil, 0)
	require.NoError(t, err)
	var q cuda.Submission
	require.NoError(t, r.Gather(&q, Pages{Count: 3}))
	require.NoError(t, r.Scatter(&q, Pages{Count: 3}))
	require.Zero(t, q.Len())
	require.True(t, r.InPlace([]Part{{0, 0}}))
	require.NoError(t, r.Close())
}

// TestUnitsCover: the units of any runs are their bytes, each once, in pieces
// that a warp can copy.
func TestUnitsCover(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 100 {
		r := Run{
			Address: somewhere + cuda.Ptr(rng.IntN(32)), PageStride: 16 * rng.Int64N(1<<20),
			Canonical: rng.Int64N(64), Bytes: 1 + rng.Int64N(1<<rng.IntN(15)), Count: 1 + rng.Int64N(1<<rng.IntN(5)),
		}
		r.LocalStride = r.Bytes + rng.Int64N(2)*rng.Int64N(100)
		r.CanonicalStride = r.Bytes + rng.Int64N(2)*rng.Int64N(100)
		page := r.Canonical + r.Count*r.CanonicalStride
		us := unitsOf([]Run{r}, page)
		at := map[int64]uint64{} // canonical to address
		for _, u := range us {
			require.LessOrEqual(t, int64(u.bytes)*int64(u.count), int64(unitBytes))
			require.Equal(t, r.PageStride, u.pageStride)
			require.Zero(t, uint64(u.align)&^31)
			if u.count > 1 {
				require.Zero(t, (u.address|uint64(u.pageStride|u.localStride|u.canonical|u.canonicalStride)|uint64(u.bytes))%uint64(u.align))
			}
			for i := range int64(u.count) {
				for b := range int64(u.bytes) {
					at[u.canonical+i*u.canonicalStride+b] = u.address + uint64(i*u.localStride+b)
				}
			}
		}
		require.Len(t, at, int(r.Bytes*r.Count), "%+v", r)
		for i := range r.Count {
			for _, b := range []int64{0, r.Bytes / 2, r.Bytes - 1} {
				require.Equal(t, uint64(r.Address)+uint64(i*r.LocalStride+b), at[r.Canonical+i*r.CanonicalStride+b], "%+v", r)
			}
		}
	}
}

// TestUnits holds how pages of usual forms are cut.
func TestUnits(t *testing.T) {
	for name, c := range map[string]struct {
		page int64
		run  Run
		want int
	}{
		"a long run":                {4 << 20, Run{Address: somewhere, Bytes: 4 << 20, Count: 1}, 1024},
		"neighbours are one":        {8192, Run{Address: somewhere, LocalStride: 512, CanonicalStride: 512, Bytes: 512, Count: 16}, 2},
		"8 KiB":                     {8192, Run{Address: somewhere, Bytes: 8192, Count: 1}, 2},
		"8 KiB at an odd address":   {8192, Run{Address: somewhere + 1, Bytes: 8192, Count: 1}, 3},
		"heads of 128 bytes":        {16384, Run{Address: somewhere, LocalStride: 128, CanonicalStride: 1024, Bytes: 128, Count: 16}, 1},
		"rows of 3000 bytes":        {9000, Run{Address: somewhere, LocalStride: 4096, CanonicalStride: 3000, Bytes: 3000, Count: 3}, 3},
		"bytes":                     {9000, Run{Address: somewhere, LocalStride: 2, CanonicalStride: 1, Bytes: 1, Count: 9000}, 3},
		"the longest page":          {math.MaxInt32, Run{Address: somewhere, Bytes: math.MaxInt32, Count: 1}, mostPieces},
		"one that is a little long": {unitBytes*mostPieces + 1, Run{Address: somewhere, Bytes: unitBytes*mostPieces + 1, Count: 1}, mostPieces + 1},
	} {
		require.Len(t, unitsOf([]Run{c.run}, c.page), c.want, name)
	}
}

// TestFragments: neighbours are one fragment only if they stay neighbours in
// every page.
func TestFragments(t *testing.T) {
	for _, c := range []struct {
		page, stride int64
		want         int
	}{{2048, 4096, 1}, {2048, 8192, 2}} {
		fs, err := fragmentsOf([]Run{
			{Address: somewhere + 1024, PageStride: c.stride, Canonical: 1024, Bytes: 1024, Count: 1},
			{Address: somewhere, PageStride: 4096, Bytes: 1024, Count: 1},
		}, c.page)
		require.NoError(t, err)
		require.Len(t, fs, c.want)
	}
}

func TestAlignment(t *testing.T) {
	require.EqualValues(t, 16, alignment())
	require.EqualValues(t, 16, alignment(0, 32, 48))
	require.EqualValues(t, 8, alignment(16, 24))
	require.EqualValues(t, 4, alignment(16, 24, 12))
	require.EqualValues(t, 2, alignment(6))
	require.EqualValues(t, 1, alignment(16, 17))
}

func TestInPlace(t *testing.T) {
	run := func(at, canonical, bytes, pageStride int64) Run {
		return Run{Address: somewhere + cuda.Ptr(at), Canonical: canonical, Bytes: bytes, Count: 1, PageStride: pageStride}
	}
	for name, c := range map[string]struct {
		page  int64
		runs  []Run
		parts []Part
		want  bool
	}{
		"one piece":                      {5000, []Run{run(0, 0, 5000, 16)}, []Part{{0, 5000}}, true},
		"no parts":                       {5000, []Run{run(1, 0, 5000, 1)}, nil, true},
		"whole chunks":                   {5000, []Run{run(8192, 0, 2048, 16), run(16, 2048, 2952, 32)}, []Part{{0, 5000}}, true},
		"two parts":                      {5000, []Run{run(8192, 0, 2500, 16), run(16, 2500, 2500, 32)}, []Part{{0, 2500}, {2500, 2500}}, true},
		"neighbours count as one":        {5000, []Run{run(16, 0, 100, 16), run(116, 100, 4900, 16)}, []Part{{0, 5000}}, true},
		"a part begins within":           {5000, []Run{run(0, 0, 5000, 16)}, []Part{{32, 4000}}, true},
		"empty part at the end":          {5000, []Run{run(0, 0, 5000, 16)}, []Part{{0, 5000}, {5000, 0}}, true},
		"a part begins at an odd place":  {5000, []Run{run(0, 0, 5000, 16)}, []Part{{33, 4000}}, false},
		"a fragment within a chunk ends": {5000, []Run{run(8192, 0, 2047, 16), run(16, 2047, 2953, 32)}, []Part{{0, 5000}}, false},
		"odd address":                    {5000, []Run{run(8, 0, 5000, 16)}, []Part{{0, 5000}}, false},
		"odd page stride":                {5000, []Run{run(0, 0, 5000, 5000)}, []Part{{0, 5000}}, false},
		"beyond the page":                {5000, []Run{run(0, 0, 5000, 16)}, []Part{{0, 5001}}, false},
		"other fragments do not matter":  {5000, []Run{run(1, 0, 1000, 1), run(1600, 1000, 4000, 16)}, []Part{{1000, 4000}}, true},
	} {
		r, _, err := planRuns(c.runs, c.page)
		require.NoError(t, err, name)
		require.Equal(t, c.want, r.InPlace(c.parts), name)
	}
}

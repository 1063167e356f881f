package codec

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/codec/planes"
)

// TestNearest holds the short list against sorting all.
func TestNearest(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 40 {
		type offer struct {
			x   *set
			far int
		}
		var all []offer
		var near nearest
		for range n {
			o := offer{new(set), r.IntN(8)}
			all = append(all, o)
			near.offer(o.x, o.far)
		}
		slices.SortStableFunc(all, func(a, b offer) int { return cmp.Compare(a.far, b.far) })
		require.Equal(t, min(n, tried), near.n)
		for i := range near.n {
			require.Same(t, all[i].x, near.sets[i], "of %d, place %d", n, i)
		}
	}
}

// TestFewAreTried: of many sets with profiles an encoder tries some, of those
// without all.
func TestFewAreTried(t *testing.T) {
	t.Parallel()
	s := planes.Shape{Segments: 1, Rows: 16, Cols: 8}
	blob := make([]byte, s.Bytes())
	tu := new(Tuning)
	var e Encoder
	for i := range 3 * tried {
		require.NoError(t, tu.Add(string(rune('a'+i)), s, make([]planes.Params, 1), blob))
	}
	require.NotNil(t, e.candidates(tu, tu.find(len(blob)), blob))
	require.Len(t, e.tries, tried)
	for i := range 3 {
		require.NoError(t, tu.Add(string(rune('A'+i)), s, make([]planes.Params, 1)))
	}
	require.NotNil(t, e.candidates(tu, tu.find(len(blob)), blob))
	require.Len(t, e.tries, tried+3)
}

// TestStride: every row and channel is met.
func TestStride(t *testing.T) {
	t.Parallel()
	for _, prime := range []int{7, 11} {
		for n := 1; n < 200; n++ {
			met := map[int]bool{}
			for at := 0; !met[at]; at = (at + stride(prime, n)) % n {
				met[at] = true
			}
			require.Len(t, met, n, "%d of %d", stride(prime, n), n)
		}
	}
}

// TestProfile: profiles are read within blobs of every shape, do not see empty
// rows, and are far from nothing they know nothing of.
func TestProfile(t *testing.T) {
	t.Parallel()
	for _, s := range []planes.Shape{{Segments: 1, Rows: 1, Cols: 1}, {Segments: 3, Rows: 2, Cols: 7}, {Segments: 1, Rows: 16, Cols: 8}, {Segments: 40, Rows: 33, Cols: 129}} {
		blob := make([]byte, s.Bytes())
		require.Zero(t, profileOf(s, blob))
		for i := range blob {
			blob[i] = []byte{0x80, 0x3f}[i%2] // ones
		}
		want := profile{}
		for i := range want {
			want[i] = 16 * 127
		}
		require.Equal(t, want, profileOf(s, blob))
		require.Equal(t, want, profileOf(s, make([]byte, s.Bytes()), blob))
		for i := range blob {
			if i/2/s.Cols%s.Rows > s.Rows/2 {
				blob[i] = 0
			}
		}
		require.Equal(t, want, profileOf(s, blob))
	}
	var nothing profile
	require.Equal(t, math.MaxInt, nothing.distance(&profile{1, 2}))
	require.Equal(t, 8*3, (&profile{5, 0, 9}).distance(&profile{2, 4}))
}

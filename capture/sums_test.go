package capture

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/staging"
)

// TestSums: whatever the sizes of parts, each has its own digest, in the order
// of the pages; and small ones are hashed together.
func TestSums(t *testing.T) {
	for _, c := range []struct {
		sizes []int
		first int // parts that are hashed for the first digest
	}{
		{[]int{2048, 2048}, 10},
		{[]int{10 << 10, 8 << 10}, 7},
		{[]int{15 << 10}, 4},
		{[]int{16 << 10, 1000}, 2}, // the third is no small one
		{[]int{1000, 16 << 10}, 1},
		{[]int{200 << 10, 200 << 10}, 1},
	} {
		var parts []pager.Part
		size := 0
		for _, n := range c.sizes {
			parts = append(parts, pager.Part{Kind: pager.PartK, Bytes: n})
			size += n
		}
		ring, err := staging.NewRing(staging.Options{FrameBytes: size, ExtentBytes: 5 * size, Extents: 2})
		require.NoError(t, err)
		ext := ring.TryAcquire()
		var frames []*staging.Frame
		noise := rand.NewChaCha8([32]byte{byte(size)})
		for i := range 5 {
			f := ext.Frame(i)
			_, _ = noise.Read(f.Bytes()[:size])
			frames = append(frames, f)
		}
		h, err := digest.NewHasher(digest.BLAKE3, nil)
		require.NoError(t, err)
		s := &sums{hasher: h}
		for range 2 {
			s.begin(frames, parts)
			first := 0
			for _, f := range frames {
				rest := f.Bytes()
				for _, p := range parts {
					require.Equal(t, h.Sum(rest[:p.Bytes]), s.next(), "%v", c.sizes)
					if first == 0 {
						first = len(s.digests)
					}
					rest = rest[p.Bytes:]
				}
			}
			require.Equal(t, c.first, first, "%v", c.sizes)
			require.Empty(t, s.frames)
		}
		for _, f := range frames {
			f.Release()
		}
		ext.Release()
		require.NoError(t, ring.Close())
	}
}

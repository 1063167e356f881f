package table

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMemory: a blob takes at most 48 bytes, everything counted, from a
// million blobs on.
func TestMemory(t *testing.T) {
	last := uint64(1_100_000)
	if testing.Short() {
		last = 1_000_000
	}
	tab := newTable(t)
	for i := range last {
		_, _, err := tab.Put(numbered(i), MakePlace(1, 64, 64))
		require.NoError(t, err)
		if i >= 999_999 && i%5_000 == 4_999 {
			require.Less(t, float64(tab.MemoryBytes())/float64(i+1), 48.0, "%d blobs", i+1)
		}
	}
	b := tab.saved(t)
	tab.Close()
	again, lost := load(t, b, sameSlots(2), 2)
	require.Zero(t, lost)
	require.Less(t, float64(again.MemoryBytes())/float64(last), 48.0)
}

// TestGetAllocates: looking up allocates nothing.
func TestGetAllocates(t *testing.T) {
	tab, r := newTable(t), seeded(t)
	tab.fill(t, r, 1000)
	d := randomDigest(r)
	_, _, err := tab.Put(d, MakePlace(1, 64, 64))
	require.NoError(t, err)
	other := randomDigest(r)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		tab.Get(d)
		tab.Get(other)
		tab.Touch(d, 3)
		tab.Age(d)
		tab.Set(d, Marked, true)
		tab.Delete(other)
		tab.DeleteIf(other, 0)
	}))
}

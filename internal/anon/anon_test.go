package anon

import (
	"math"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
)

// mapped tells whether this system has mmap.
const mapped = runtime.GOOS != "windows" && runtime.GOOS != "plan9" && runtime.GOOS != "js" && runtime.GOOS != "wasip1"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMap(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 4095, 4096, 4097, 3 << 20, 2*touchBytes + 1} {
		mem, err := Map(n)
		require.NoError(t, err)
		require.NotNil(t, mem)
		require.Len(t, mem, n)
		Touch(mem)
		for i := 0; i < n; i += 997 {
			require.Zero(t, mem[i])
		}
		if n > 0 {
			mem[0], mem[n-1] = 1, 2
		}
		require.NoError(t, Unmap(mem))
	}
}

func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	for _, n := range []int{-1, math.MinInt} {
		_, err := Map(n)
		require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	}
	if runtime.GOOS == "linux" {
		_, err := Map(math.MaxInt &^ 0xffff)
		require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	}
}

// TestHeap: the memory is not the garbage collector's.
func TestHeap(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	mem, err := Map(64 << 20)
	require.NoError(t, err)
	Touch(mem)
	runtime.ReadMemStats(&after)
	require.NoError(t, Unmap(mem))
	if mapped {
		require.Less(t, after.HeapAlloc, before.HeapAlloc+(32<<20))
	}
}

// TestHuge: memory stays what it is, wherever it begins and ends.
func TestHuge(t *testing.T) {
	t.Parallel()
	words := make([]uint64, 1<<20+3)
	for i := range words {
		words[i] = uint64(i)
	}
	for _, part := range [][]uint64{nil, words[:0], words[:1], words[3:511], words[1:514], words[5:], words} {
		Huge(part)
	}
	for i := range words {
		if words[i] != uint64(i) {
			t.Fatal(i)
		}
	}
}

// TestUnmapOfOthers: memory that was not mapped is an error, not a crash.
func TestUnmapOfOthers(t *testing.T) {
	t.Parallel()
	mem, err := Map(8192)
	require.NoError(t, err)
	if mapped {
		require.Error(t, Unmap(mem[4096:]))
	}
	require.NoError(t, Unmap(mem))
}

//go:build !race

package traces

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/bench/harness"
)

// One goroutine plays here, so the race detector has nothing to find.

func TestBuiltInTrace(t *testing.T) {
	c, err := Load(builtIn)
	require.NoError(t, err)
	require.Equal(t, "mooncake-conversation", c.Name)
	s := c.Shape()
	require.Equal(t, [3]int{12031, 288500, 182790}, [3]int{s.Requests, s.Refs, s.Blocks})
	require.InDelta(t, 0.3664, s.Again, 0.0001)
	// The shares that others got, by programs of their own.
	for _, want := range []struct {
		capacity     int
		lru, optimum float64
	}{{3000, 0.0650, 0.2945}, {10000, 0.2112, 0.3664}, {30000, 0.3257, 0.3664}} {
		p, err := Play(c, newLRU(want.capacity))
		require.NoError(t, err)
		require.InDelta(t, want.lru, p.HitShare(), 0.0001)
		require.LessOrEqual(t, p.Leading, p.Hits)
		require.InDelta(t, want.optimum, float64(Optimum(c, want.capacity))/float64(len(c.Refs)), 0.0001)
	}
}

func TestSyntheticTrace(t *testing.T) {
	a, b := Synthetic(1, 3000), Synthetic(1, 3000)
	require.Equal(t, a, b)
	require.NotEqual(t, a.Refs[:1000], Synthetic(2, 3000).Refs[:1000])
	s := a.Shape()
	require.Equal(t, 3000, s.Requests)
	require.InDelta(t, 0.4, s.Again, 0.1)
	require.Greater(t, s.Distance, 1000)
	// What comes first of a block has what was there before in front of it.
	parent := make(map[uint64]uint64)
	for r := range a.Requests {
		for i := 1; i < len(r); i++ {
			p, ok := parent[r[i]]
			require.True(t, !ok || p == r[i-1])
			parent[r[i]] = r[i-1]
		}
	}
}

func TestLRUAgainstSlice(t *testing.T) {
	c := Synthetic(3, 300)
	for _, capacity := range []int{1, 7, 500} {
		var recent []uint64 // the last one used last
		hits := 0
		for _, b := range c.Refs {
			at := -1
			for i, x := range recent {
				if x == b {
					at = i
				}
			}
			if at >= 0 {
				hits++
				recent = append(recent[:at], recent[at+1:]...)
			} else if len(recent) == capacity {
				recent = recent[1:]
			}
			recent = append(recent, b)
		}
		p, err := Play(c, newLRU(capacity))
		require.NoError(t, err)
		require.Equal(t, hits, p.Hits)
	}
	require.Error(t, func() error { l := newLRU(1); return firstError(l.Put(1), l.Put(1)) }())
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestSuiteWithoutPeers(t *testing.T) {
	e, s := env(t)
	e.Models = filepath.Dir(builtIn) // has the trace
	e.Rounds = 1
	require.NoError(t, Suite().Run(t.Context(), e, s))
	require.Equal(t, []string{"caches: not installed; see make bench-peers"}, s.Missing)
	require.Len(t, s.Tables[0].Rows, 2)
	require.Equal(t, harness.Goal{AtLeast: gap}, figures(s)["op=gap/data=mooncake-conversation/capacity=300/cache=kvferry"].Goal)
}

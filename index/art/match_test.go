package art_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/art"
	"github.com/kvferry/kvferry/index/indextest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// TestMatchOfRuns: long prompts of which many blocks side by side have the same
// holders, in one tier or several, with gaps, other groups and parents that are not
// known, match as in the model.
func TestMatchOfRuns(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		dice := rand.New(rand.NewPCG(seed, 11))
		x, m := open(t, vfs.NewDisk(), art.Options{}), indextest.NewModel(index.Options{})
		const blocks, workers = 40, 6
		for w := range workers {
			for range 1 + dice.IntN(3) {
				from, tier := dice.IntN(2)*dice.IntN(blocks), index.Tier(1+dice.IntN(5))
				var rs []index.Record
				for i := from; i < from+dice.IntN(blocks-from)+1; i++ {
					r := benchRecord(fmt.Sprint("h", i-1), fmt.Sprint("h", i), i)
					if i == 0 {
						r.Prefix = index.Root
					}
					if dice.IntN(30) == 0 {
						r.Prefix = "" // not known
					}
					if dice.IntN(40) == 0 {
						r.Group = 1
					}
					if dice.IntN(40) == 0 {
						continue
					}
					r.Worker, r.Tier = fmt.Sprint("w", w), tier
					rs = append(rs, r)
				}
				require.NoError(t, x.Put(t.Context(), rs))
				require.NoError(t, m.Put(t.Context(), rs))
			}
		}
		q := &index.Query{Scope: benchScope}
		for i := range blocks {
			q.Hashes = append(q.Hashes, fmt.Sprint("h", i))
		}
		for _, q.Workers = range [][]string{nil, {"w1", "w3"}} {
			want, err := m.Match(t.Context(), q, nil)
			require.NoError(t, err)
			got, err := x.Match(t.Context(), q, nil)
			require.NoError(t, err)
			require.Equal(t, want, got, "seed %d", seed)
		}
		require.NoError(t, x.Close())
	}
}

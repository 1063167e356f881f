package memory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// TestSortChildren: records come in the order of Compare, whatever their hashes
// begin with.
func TestSortChildren(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{0, 1, manyRecords - 1, manyRecords, 100, 1000} {
		for _, form := range []string{"%d", "%08x", "same-beginning-%d", "\x00%c", "%.0s"} {
			rs := make([]index.Record, n)
			for i := range rs {
				rs[i].Hash = fmt.Sprintf(form, r.IntN(4*n))
				if r.IntN(8) == 0 {
					rs[i].Hash = strings.Repeat("\x00", r.IntN(10))
				}
				rs[i].Index, rs[i].Worker = r.Uint32N(3), fmt.Sprint(r.IntN(3))
			}
			want := slices.Clone(rs)
			index.Sort(want)
			sortChildren(rs)
			require.Len(t, rs, len(want))
			for i := range rs {
				require.Zero(t, index.Compare(&want[i], &rs[i]), "%s %d", form, i)
			}
		}
	}
}

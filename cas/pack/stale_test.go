package pack

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/internal/vfs"
)

// TestChecksBesideACollection lets another process collect, which moves and
// drops packs, before each operation of a check and a scrub.
func TestChecksBesideACollection(t *testing.T) {
	t.Parallel()
	r := buildRuin(t, true)
	r.drop(t)
	step := 5
	if faultSoak() {
		step = 1
	}
	counts := 0
	for _, rebase := range []bool{false, true} {
		for k, more := 0, true; more; k += step {
			d := r.disk.Snapshot()
			o := ruinOptions(nil)
			o.ReadOnly = true
			var n atomic.Int64
			o.fs = vfs.WithFaults(d.Process(), func(string, string) error {
				if n.Add(1) == int64(k+1) {
					r.collectElsewhere(t, d, rebase)
				}
				return nil
			})
			s, err := Open("ruin", o)
			require.NoError(t, err)
			require.Empty(t, problems(t, s), "operation %d", k)
			require.NoError(t, s.Close())
			more = n.Load() > int64(k)
			counts++
		}
	}
	t.Logf("%d collections beside a check", counts)
}

// drop makes most of the store garbage.
func (r *ruin) drop(t *testing.T) {
	t.Helper()
	s, err := Open("ruin", ruinOptions(r.disk.Process()))
	require.NoError(t, err)
	for _, e := range r.entries[:2] {
		require.NoError(t, s.Catalog().Drop(t.Context(), e.Root))
	}
	require.NoError(t, s.Close())
}

func (r *ruin) collectElsewhere(t *testing.T, d *vfs.Disk, rebase bool) {
	t.Helper()
	s, err := Open("ruin", ruinOptions(d.Process()))
	require.NoError(t, err)
	report, err := s.Collect(t.Context(), cas.CollectOptions{References: r.references})
	require.NoError(t, err)
	require.NotZero(t, report.MovedBytes)
	if rebase {
		require.NoError(t, s.checkpoint(t.Context()))
		require.NoError(t, s.checkpoint(t.Context()))
	}
	for _, d := range r.refs[r.entries[2].Root] {
		_, err := s.Has(t.Context(), d)
		require.NoError(t, err)
	}
	require.NoError(t, s.Close())
}

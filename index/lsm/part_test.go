package lsm_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/lsm"
)

// TestParts: a large removal is several batches, and wherever it ends the counts
// are those of the records.
func TestParts(t *testing.T) {
	t.Parallel()
	const n = 60
	for name, remove := range map[string]func(x *lsm.Index) error{
		"remove": func(x *lsm.Index) error {
			_, err := x.Remove(t.Context(), []index.Removal{{Scope: record("").Scope, Worker: "w", Hash: "b"}})
			return err
		},
		"clear worker": func(x *lsm.Index) error { _, err := x.ClearWorker(t.Context(), "w"); return err },
		"expire":       func(x *lsm.Index) error { _, err := x.Expire(t.Context(), 100); return err },
		"announce":     func(x *lsm.Index) error { return x.Announce(t.Context(), "w", 2) },
	} {
		t.Run(name, func(t *testing.T) {
			var ends []*vfs.MemFS
			var watching atomic.Bool
			fs := vfs.NewCrashableMem()
			x := open(t, hook(fs, func(_ int, op errorfs.Op) error {
				if watching.Load() && strings.HasSuffix(op.Path, ".log") {
					ends = append(ends, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 2))}))
				}
				return nil
			}), index.Options{})
			var rs []index.Record
			for i := range n {
				r := record("b")
				r.Prefix, r.Index, r.Tier, r.Bytes = fmt.Sprint("p", i), uint32(i), index.HBM, uint64(i)
				rs = append(rs, r)
			}
			require.NoError(t, x.Announce(t.Context(), "w", 1))
			require.NoError(t, x.Put(t.Context(), append(rs, record("of another tier"))))
			x.SetPartBytes(1000)
			watching.Store(true)
			require.NoError(t, remove(x))
			watching.Store(false)
			require.NoError(t, x.Close())
			within := 0
			for _, fs := range append(ends, fs) {
				if left := counted(t, fs); left > 1 && left < n {
					within++
				}
			}
			require.Greater(t, within, 2)
		})
	}
}

// counted requires that the counts are right, and returns the records.
func counted(t *testing.T, fs vfs.FS) int {
	t.Helper()
	x := open(t, fs, index.Options{})
	m, err := x.Metrics(t.Context())
	require.NoError(t, err)
	stale := m.StaleBlocks
	var n, bytes uint64
	ws, err := x.Workers(t.Context())
	require.NoError(t, err)
	for _, w := range ws {
		if w.Incarnation != 0 {
			require.NoError(t, x.Announce(t.Context(), w.Name, w.Incarnation)) // nothing is stale
		}
	}
	_, err = x.Snapshot(t.Context(), func(r *index.Record) error { n, bytes = n+1, bytes+r.Bytes; return nil })
	require.NoError(t, err)
	m, err = x.Metrics(t.Context())
	require.NoError(t, err)
	require.Equal(t, []uint64{n, bytes}, []uint64{m.ResidentBlocks, m.ResidentBytes})
	require.LessOrEqual(t, stale, n)
	require.NoError(t, x.Close())
	return int(n)
}

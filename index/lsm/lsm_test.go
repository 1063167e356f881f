package lsm_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/indextest"
	"github.com/kvferry/kvferry/index/lsm"
)

// small makes tables in memory so small that tests have them written and merged.
func small(fs vfs.FS, o index.Options) lsm.Options {
	return lsm.Options{Options: o, FS: fs, CacheBytes: 1 << 20, MemTableBytes: 64 << 10}
}

func open(t testing.TB, fs vfs.FS, o index.Options) *lsm.Index {
	t.Helper()
	x, err := lsm.Open(t.Context(), "index", small(fs, o))
	require.NoError(t, err)
	t.Cleanup(func() { _ = x.Close() }) // the test may have closed it, and asked why not
	return x
}

// homes knows which file system an index is on.
type homes struct {
	mu sync.Mutex
	of map[index.Index]*vfs.MemFS
}

func (h *homes) open(t testing.TB, fs *vfs.MemFS, o index.Options) index.Index {
	x := open(t, fs, o)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of[x] = fs
	return x
}

func (h *homes) fs(x index.Index) *vfs.MemFS {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of[x]
}

// again opens what x has open.
func (h *homes) again(t testing.TB, x index.Index, o index.Options) error {
	_, err := lsm.Open(t.Context(), "index", small(h.fs(x), o))
	return err
}

func config() indextest.Config {
	h := &homes{of: map[index.Index]*vfs.MemFS{}}
	return indextest.Config{
		Open: func(t testing.TB, o index.Options) index.Index { return h.open(t, vfs.NewCrashableMem(), o) },
		Reopen: func(t testing.TB, x index.Index, o index.Options) index.Index {
			require.NoError(t, x.Close())
			return h.open(t, h.fs(x), o)
		},
		Crash: func(t testing.TB, x index.Index, o index.Options) index.Index {
			left := vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(1, 2))}
			return h.open(t, h.fs(x).CrashClone(left), o)
		},
		Again: h.again,
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	indextest.Run(t, config())
}

package fsdir_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/fsdir"
	"github.com/kvferry/kvferry/index/indextest"
	"github.com/kvferry/kvferry/internal/vfs"
)

func open(t testing.TB, d *vfs.Disk) *fsdir.Index {
	t.Helper()
	x, err := fsdir.Open(t.Context(), "", fsdir.Options{FS: d.Process()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = x.Close() }) // the test may have closed it, and asked why not
	return x
}

// unsynced leaves synchronising be: a Disk is slow at it with many files, and
// where it matters other tests do not.
type unsynced struct{ vfs.FS }

func (u unsynced) SyncDir(name string) error {
	_, err := u.Stat(name)
	return err
}

func (u unsynced) Open(name string, how vfs.Mode) (vfs.File, error) {
	f, err := u.FS.Open(name, how)
	return unsyncedFile{f}, err
}

type unsyncedFile struct{ vfs.File }

func (unsyncedFile) Sync() error { return nil }

// homes knows which disk an index is on.
type homes struct {
	mu sync.Mutex
	of map[index.Index]*vfs.Disk
}

func (h *homes) open(t testing.TB, d *vfs.Disk, o index.Options) index.Index {
	x, err := fsdir.Open(t.Context(), "", fsdir.Options{Options: o, FS: unsynced{d.Process()}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = x.Close() }) // the test may have closed it
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of[x] = d
	return x
}

func (h *homes) disk(x index.Index) *vfs.Disk {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of[x]
}

func config() indextest.Config {
	h := &homes{of: map[index.Index]*vfs.Disk{}}
	return indextest.Config{
		Open: func(t testing.TB, o index.Options) index.Index { return h.open(t, vfs.NewDisk(), o) },
		Reopen: func(t testing.TB, x index.Index, o index.Options) index.Index {
			require.NoError(t, x.Close())
			return h.open(t, h.disk(x), o)
		},
		// What a power failure leaves of several writes may be a part of each, so that
		// TestCrash looks at that, record by record.
		Crash: func(t testing.TB, x index.Index, o index.Options) index.Index {
			return h.open(t, h.disk(x).Snapshot(), o)
		},
		Again: func(t testing.TB, x index.Index, o index.Options) error {
			_, err := fsdir.Open(t.Context(), "", fsdir.Options{Options: o, FS: h.disk(x).Process()})
			return err
		},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	indextest.Run(t, config())
}

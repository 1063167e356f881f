package disk_test

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/disk"
)

// fileBytes is the length of the files in these tests.
const fileBytes = 138

func put100(t testing.TB, s *disk.Store, i int) {
	t.Helper()
	put(t, s, key(i), noise(uint64(i), 100))
}

// requireKept fails unless exactly these of the keys 0 to 19 have a file.
func requireKept(t testing.TB, root string, want ...int) {
	t.Helper()
	kept := []int{}
	for i := range 20 {
		if _, err := os.Lstat(file(root, key(i))); err == nil {
			kept = append(kept, i)
		}
	}
	require.Equal(t, want, kept)
}

// age makes a file look as if it was last written and used so many hours ago.
func age(t testing.TB, path string, hours int) {
	t.Helper()
	at := time.Now().Add(-time.Duration(hours) * time.Hour)
	require.NoError(t, os.Chtimes(path, at, at))
}

func TestBudgetRemovesLeastRecentlyUsed(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, disk.Options{BudgetBytes: 3*fileBytes + 1})
	put100(t, s, 0)
	put100(t, s, 1)
	put100(t, s, 2)
	requireHas(t, s, key(0), noise(0, 100))
	put100(t, s, 3)
	requireKept(t, root, 0, 2, 3)
	put100(t, s, 2) // a replacement
	put100(t, s, 4)
	requireKept(t, root, 2, 3, 4)
	require.Equal(t, pipelinecache.Metrics{
		Lookups: 1, Hits: 1, Puts: 6, Evictions: 2, EvictedBytes: 2 * fileBytes, CachedBytes: 3 * fileBytes, Entries: 3,
	}, s.Metrics())
	put(t, s, key(5), noise(5, 300)) // takes all of it
	requireKept(t, root, 5)
	require.Equal(t, uint64(5), s.Metrics().Evictions)
}

// TestBudgetRejects: what never fits is refused, and nobody else has to go.
func TestBudgetRejects(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, disk.Options{BudgetBytes: 2 * fileBytes})
	put100(t, s, 0)
	put100(t, s, 1)
	require.ErrorIs(t, s.Put(t.Context(), key(0), noise(0, 2*fileBytes)), kvferry.ErrQuota)
	requireKept(t, root, 1)
	require.ErrorIs(t, s.Put(t.Context(), key(7), noise(0, 2*fileBytes)), kvferry.ErrQuota)
	require.Equal(t, pipelinecache.Metrics{
		Puts: 2, RejectedPuts: 2, Evictions: 1, EvictedBytes: fileBytes, CachedBytes: fileBytes, Entries: 1,
	}, s.Metrics())
}

// TestBudgetOrderOutlivesProcess: the times of the files are the order that the
// next process starts from, reads included.
func TestBudgetOrderOutlivesProcess(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, disk.Options{})
	for i := range 4 {
		put100(t, s, i)
		age(t, file(root, key(i)), 20-i)
	}
	b := open(t, root, disk.Options{BudgetBytes: 4 * fileBytes})
	require.Equal(t, uint64(4), b.Metrics().Entries)
	requireHas(t, b, key(0), noise(0, 100))
	info, err := os.Stat(file(root, key(0)))
	require.NoError(t, err)
	require.Less(t, info.ModTime(), time.Now().Add(-time.Hour), "a read is no change")
	c := open(t, root, disk.Options{BudgetBytes: 3 * fileBytes}) // fits at once
	requireKept(t, root, 0, 2, 3)
	require.Equal(t, uint64(1), c.Metrics().Evictions)
	put100(t, c, 4)
	requireKept(t, root, 0, 3, 4)
}

// TestHitsRenewAccessTime once an hour, for file systems that do not; a put does
// not need it.
func TestHitsRenewAccessTime(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	times := &disk.Times{Used: map[string]time.Time{}}
	s, err := disk.OpenFSTimes(d.Process(), disk.Options{BudgetBytes: 4 * fileBytes}, times)
	require.NoError(t, err)
	put100(t, s, 0)
	put100(t, s, 1)
	requireHas(t, s, key(0), noise(0, 100))
	require.Zero(t, times.Sets, "their files are new")

	name := key(1).String() + ".bin"
	times.Used[name] = time.Now().Add(time.Hour) // what the system says is later than the change
	later, err := disk.OpenFSTimes(d.Process(), disk.Options{BudgetBytes: 4 * fileBytes}, times)
	require.NoError(t, err)
	requireHas(t, later, key(1), noise(1, 100))
	require.Zero(t, times.Sets, "it was renewed within the hour")

	plain, err := disk.OpenFS(d.Process(), disk.Options{})
	require.NoError(t, err)
	put100(t, plain, 2) // behind the back of the other two
	for range 3 {
		requireHas(t, later, key(2), noise(2, 100))
	}
	require.Equal(t, 1, times.Sets)
	require.Less(t, time.Since(times.Used[key(2).String()+".bin"]), time.Hour)
}

// TestBudgetNoticesOthers: files that other processes put count, those that they
// used stay, those that they removed are forgotten.
func TestBudgetNoticesOthers(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s, other := open(t, root, disk.Options{BudgetBytes: 5 * fileBytes}), open(t, root, disk.Options{})
	for i := range 3 {
		put100(t, s, i)
	}
	put100(t, other, 3)
	requireHas(t, s, key(3), noise(3, 100))
	require.Equal(t, uint64(4), s.Metrics().Entries, "a hit notices a file")
	require.NoError(t, os.Remove(file(root, key(3))))
	requireMiss(t, s, key(3), kvferry.ErrNotFound)
	require.Equal(t, uint64(3), s.Metrics().Entries, "a miss notices that one is gone")

	later := time.Now().Add(time.Minute) // another process read it since
	require.NoError(t, os.Chtimes(file(root, key(0)), later, time.Time{}))
	put100(t, s, 4)
	put100(t, s, 5)
	put100(t, s, 6)
	requireKept(t, root, 0, 2, 4, 5, 6)

	for i := 10; i < 14; i++ {
		put100(t, other, i)
		age(t, file(root, key(i)), 30)
	}
	for range 20 { // sooner or later the directory is listed
		put100(t, s, 6)
	}
	requireKept(t, root, 0, 2, 4, 5, 6)
	require.Equal(t, uint64(5), s.Metrics().Entries)
	require.Equal(t, uint64(5*fileBytes), s.Metrics().CachedBytes)
}

// TestBudgetKeepsWhatWasPut, even if others used everything else since.
func TestBudgetKeepsWhatWasPut(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, disk.Options{BudgetBytes: 2 * fileBytes})
	put100(t, s, 0)
	put100(t, s, 1)
	for i := range 2 {
		require.NoError(t, os.Chtimes(file(root, key(i)), time.Now().Add(time.Duration(i+1)*time.Minute), time.Time{}))
	}
	put100(t, s, 2)
	requireKept(t, root, 1, 2)
	require.Equal(t, uint64(2), s.Metrics().Entries)
}

// TestBudgetPassesOver: what cannot be removed stays, and others go instead.
func TestBudgetPassesOver(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	s, err := disk.OpenFS(vfs.WithFaults(d.Process(), func(op, path string) error {
		if op == "unlink" && strings.HasPrefix(path, key(0).String()) {
			return syscall.EPERM
		}
		return nil
	}), disk.Options{BudgetBytes: 3 * fileBytes})
	require.NoError(t, err)
	for i := range 6 {
		put100(t, s, i)
	}
	requireHas(t, s, key(0), noise(0, 100))
	requireHas(t, s, key(5), noise(5, 100))
	require.Equal(t, uint64(3), s.Metrics().Entries)
}

// TestBudgetIndexAgreesWithDirectory does random things beside another store
// and compares what the index says with the directory.
func TestBudgetIndexAgreesWithDirectory(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, disk.Options{BudgetBytes: 40 * 1024})
	dice := newDice(t)
	for range 2000 {
		k := key(dice.IntN(60))
		switch dice.IntN(10) {
		case 0, 1, 2, 3, 4:
			put(t, s, k, noise(dice.Uint64(), dice.IntN(3000)))
		case 5:
			require.NoError(t, removeIfThere(file(root, k)))
			_, err := s.Get(t.Context(), k)
			require.Error(t, err)
		case 6:
			require.NoError(t, os.WriteFile(file(root, k), noise(dice.Uint64(), dice.IntN(100)), 0o600))
			_, err := s.Get(t.Context(), k)
			require.Error(t, err)
		default:
			_, err := s.Get(t.Context(), k)
			require.True(t, err == nil || strings.Contains(err.Error(), "not found"), "%v", err)
		}
		var bytes, entries uint64
		all, err := s.List(t.Context())
		require.NoError(t, err)
		for _, e := range all {
			require.Equal(t, disk.Artifact, e.Kind)
			bytes, entries = bytes+uint64(e.Bytes), entries+1
		}
		m := s.Metrics()
		require.Equal(t, entries, m.Entries)
		require.Equal(t, bytes, m.CachedBytes)
		require.LessOrEqual(t, bytes, uint64(40*1024))
	}
	require.Positive(t, s.Metrics().Evictions)
}

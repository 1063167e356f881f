package lsm_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/crashtest"
	"github.com/kvferry/kvferry/index/lsm"
)

// is reports whether err is one of some errors.
func is(err error, some ...error) bool {
	for _, one := range some {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

func record(hash string) index.Record {
	return index.Record{
		Key:    index.Key{Scope: index.Scope{Model: "m", Tokenizer: "t", Tenant: "a"}, Prefix: index.Root, Hash: hash, Tokens: 16},
		Worker: "w", Tier: index.LocalSSD, Bytes: 5, LastAccess: 7,
	}
}

// TestPoisoned: after a write of the log failed nothing more is written, and
// reading goes on.
func TestPoisoned(t *testing.T) {
	t.Parallel()
	var failing atomic.Bool
	fs := vfs.NewMem()
	x := open(t, hook(fs, func(_ int, op errorfs.Op) error {
		if failing.Load() && strings.HasSuffix(op.Path, ".log") {
			return syscall.ENOSPC
		}
		return nil
	}), index.Options{})
	r := record("b0")
	require.NoError(t, x.Put(t.Context(), []index.Record{r}))
	require.NoError(t, x.Flush(t.Context()))
	failing.Store(true)
	require.ErrorIs(t, x.Put(t.Context(), []index.Record{record("b1")}), kvferry.ErrNoSpace)
	failing.Store(false)
	require.ErrorIs(t, x.Put(t.Context(), []index.Record{record("b2")}), kvferry.ErrPoisoned)
	require.ErrorIs(t, x.Flush(t.Context()), kvferry.ErrPoisoned)
	got, err := x.Locate(t.Context(), &r.Key, nil)
	require.NoError(t, err)
	require.Equal(t, []index.Record{r}, got)
	require.ErrorIs(t, x.Close(), kvferry.ErrPoisoned)
	require.NoError(t, x.Close())

	x = open(t, fs, index.Options{})
	got, err = x.Locate(t.Context(), &r.Key, nil)
	require.NoError(t, err)
	require.Equal(t, []index.Record{r}, got)
	require.NoError(t, x.Put(t.Context(), []index.Record{record("b2")}))
}

// TestBackground: a table that cannot be written in the background stops writes.
func TestBackground(t *testing.T) {
	t.Parallel()
	x := open(t, hook(vfs.NewMem(), func(_ int, op errorfs.Op) error {
		if strings.HasSuffix(op.Path, ".sst") {
			return syscall.EIO
		}
		return nil
	}), index.Options{})
	var err error
	for i := 0; err == nil; i++ {
		require.Less(t, i, 1<<20)
		err = x.Put(t.Context(), []index.Record{record(strings.Repeat("x", i%1000))})
	}
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorIs(t, x.Put(t.Context(), []index.Record{record("b")}), kvferry.ErrPoisoned)
	require.ErrorIs(t, x.Close(), kvferry.ErrPoisoned)
}

// filled returns a file system with an index of flushed records in tables and log.
func filled(t *testing.T) (*vfs.MemFS, map[index.Record]bool) {
	t.Helper()
	fs, all := vfs.NewCrashableMem(), map[index.Record]bool{}
	for round := range 3 {
		x := open(t, fs, index.Options{}) // the log of the round before becomes a table
		for i := range 20 {
			r := record(strings.Repeat("x", i) + string(rune('a'+round)))
			all[r] = true
			require.NoError(t, x.Put(t.Context(), []index.Record{r}))
		}
		require.NoError(t, x.Close())
	}
	return fs, all
}

// tableEnd is how long a table's format and magic are.
const tableEnd = 12

// TestFlipped: a bit that is another one, in any byte of any file: what was flushed
// is there, or somebody is told; never a wrong record.
func TestFlipped(t *testing.T) {
	t.Parallel()
	fs, all := filled(t)
	every := int64(crashtest.Every(13))
	names, err := fs.List("index")
	require.NoError(t, err)
	looked := 0
	for _, name := range names {
		if strings.HasPrefix(name, "OPTIONS") || name == "LOCK" || strings.HasPrefix(name, "marker") {
			continue // text that nothing depends on, and names without content
		}
		info, err := fs.Stat("index/" + name)
		require.NoError(t, err)
		for at := int64(0); at < info.Size(); at++ {
			if at%every > 0 && at < info.Size()-tableEnd { // behind which nothing has a checksum
				continue
			}
			looked++
			clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
			flip(t, clone, "index/"+name, at)
			told, err := readAll(t, clone, all, fmt.Sprintf("%s at %d", name, at))
			if err == nil && !told {
				continue
			}
			require.True(t, told, "%s at %d: %v", name, at, err)
		}
	}
	require.Greater(t, looked, 1300/int(every))
}

func flip(t *testing.T, fs vfs.FS, name string, at int64) {
	t.Helper()
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	require.NoError(t, err)
	b[0] ^= 1 << (at % 8)
	_, err = f.WriteAt(b[:], at)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// readAll reports whether somebody was told of damage. If not, all records are
// there.
func readAll(t *testing.T, fs vfs.FS, all map[index.Record]bool, where string) (told bool, err error) {
	t.Helper()
	x, err := lsm.Open(t.Context(), "index", small(fs, index.Options{}))
	if err != nil {
		return is(err, kvferry.ErrCorrupt, kvferry.ErrInvalid, kvferry.ErrUnsupported), err
	}
	found := 0
	_, err = x.Snapshot(t.Context(), func(r *index.Record) error {
		require.True(t, all[*r], "%+v", r)
		found++
		return nil
	})
	require.True(t, err == nil || is(err, kvferry.ErrCorrupt), "%v", err)
	closed := x.Close()
	if err == nil {
		require.Equal(t, len(all), found, where)
	}
	return is(errors.Join(err, closed), kvferry.ErrCorrupt), err
}

package lsm_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
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

// bulk is how many records the scenario puts at once: a few tables in memory
// full.
const bulk = 150

// scenario runs on a file system with a ledger of its own.
func scenario(t *testing.T, fs vfs.FS, l *crashtest.Ledger) error {
	t.Helper()
	x, err := lsm.Open(t.Context(), "index", small(fs, index.Options{}))
	if err != nil {
		return err
	}
	s := crashtest.Scenario{Index: x, Ledger: l, Bulk: bulk}
	if err = s.Run(); err != nil {
		_ = x.Close() // the first error is the one that counts
	}
	return err
}

// reopened requires that a file system opens without help, and holds what the
// ledger allows.
func reopened(t *testing.T, fs vfs.FS, l *crashtest.Ledger, end crashtest.After) {
	t.Helper()
	for range 2 { // what the first opening did must not be its last
		x := open(t, fs, index.Options{})
		l.Check(t, x, end)
		require.NoError(t, x.Close())
	}
}

// hook calls f before each operation on a file system that changes something.
func hook(fs vfs.FS, f func(k int, op errorfs.Op) error) vfs.FS {
	var mu sync.Mutex
	k := 0
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		k++
		return f(k, op)
	}))
}

// TestCrash: the power fails, or the process ends, before each operation on the
// file system.
func TestCrash(t *testing.T) {
	t.Parallel()
	every := crashtest.Every(4)
	type end struct {
		name  string
		fs    *vfs.MemFS
		l     *crashtest.Ledger
		after crashtest.After
	}
	var ends []end
	fs, l := vfs.NewCrashableMem(), crashtest.NewLedger()
	count := 0
	require.NoError(t, scenario(t, hook(fs, func(k int, op errorfs.Op) error {
		count = k
		if k%every != 0 {
			return nil
		}
		percent := [...]int{0, 50, 100}[k/every%3]
		e := end{name: fmt.Sprintf("%d: %v %s, %d%% left", k, op.Kind, op.Path, percent), after: crashtest.Crash}
		if percent == 100 {
			e.after = crashtest.Kill
		}
		e.l = l.Frozen(func() {
			e.fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(k), 0))})
		})
		ends = append(ends, e)
		return nil
	}), l))
	require.Greater(t, count, 100)
	for _, e := range ends {
		t.Run(e.name, func(t *testing.T) { reopened(t, e.fs, e.l, e.after) })
	}
	reopened(t, fs, l, crashtest.Kill)
}

// TestFaults: operation k on the file system fails, for every k, and all behind it
// or it alone. The scenario ends with that error, unless it was too late for that,
// and what is there then is what may be.
func TestFaults(t *testing.T) {
	t.Parallel()
	every := crashtest.Every(5)
	for at := 1; ; at += every {
		fs, l := vfs.NewMem(), crashtest.NewLedger()
		fired := ""
		err := scenario(t, hook(fs, func(k int, op errorfs.Op) error {
			if k < at || k > at && at%2 == 0 {
				return nil
			}
			if fired == "" {
				fired = fmt.Sprintf("%d: %v %s", k, op.Kind, op.Path)
			}
			return syscall.ENOSPC
		}), l)
		if fired == "" {
			require.NoError(t, err)
			require.Greater(t, at, 100)
			break
		}
		t.Run(fired, func(t *testing.T) {
			if err != nil {
				require.True(t, is(err, kvferry.ErrNoSpace, kvferry.ErrPoisoned, syscall.ENOSPC), "%v", err)
			}
			reopened(t, fs, l, crashtest.Crash)
		})
	}
}

package fsdir_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index/fsdir"
	"github.com/kvferry/kvferry/index/internal/crashtest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// scenario runs on a disk with a ledger of its own.
func scenario(t *testing.T, fs vfs.FS, bulk int) (*crashtest.Ledger, func() error) {
	t.Helper()
	l := crashtest.NewLedger()
	l.Parts = true // of a Put each record is a file
	return l, func() error {
		x, err := fsdir.Open(t.Context(), "", fsdir.Options{FS: fs})
		if err != nil {
			return err
		}
		s := crashtest.Scenario{Index: x, Ledger: l, Bulk: bulk}
		err = s.Run()
		if err != nil {
			_ = x.Close() // the first error is the one that counts
		}
		return err
	}
}

// reopened requires that a disk opens without help, holds what the ledger allows
// and has no damage.
func reopened(t *testing.T, d *vfs.Disk, l *crashtest.Ledger, end crashtest.After) {
	t.Helper()
	for range 2 { // what the first opening did must not be its last
		x := open(t, d)
		l.Check(t, x, end)
		require.NoError(t, x.Check(t.Context()))
		require.NoError(t, x.Close())
	}
}

// TestCrash: the power fails, or the process ends, before each operation on the
// file system.
func TestCrash(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	l, run := scenario(t, d.Process(), 6)
	k := 0
	every := crashtest.Every(4)
	d.Before(func(op, path string) {
		k++
		at := fmt.Sprintf("%d: %s %s", k, op, path)
		for i, mode := range []vfs.CrashMode{vfs.LoseAll, vfs.KeepAll, vfs.Random, vfs.Garbage} {
			if (k+i)%every != 0 {
				continue
			}
			var crashed *vfs.Disk
			frozen := l.Frozen(func() { crashed = d.Crash(vfs.CrashOptions{Seed: uint64(k), Mode: mode}) })
			t.Run(fmt.Sprintf("mode %d at %s", mode, at), func(t *testing.T) { reopened(t, crashed, frozen, crashtest.Crash) })
		}
		if k%every == 0 {
			var killed *vfs.Disk
			frozen := l.Frozen(func() { killed = d.Snapshot() })
			t.Run("killed at "+at, func(t *testing.T) { reopened(t, killed, frozen, crashtest.Kill) })
		}
	})
	require.NoError(t, run())
	d.Before(nil)
	require.Greater(t, k, 300)
	reopened(t, d, l, crashtest.Kill)
}

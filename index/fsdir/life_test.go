package fsdir_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/fsdir"
	"github.com/kvferry/kvferry/internal/fault"
	"github.com/kvferry/kvferry/internal/vfs"
)

// TestNamesLikeSuffixes: what records say may look like the ends that files have.
func TestNamesLikeSuffixes(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	var want []index.Record
	for _, end := range []string{"", ".new", ".json", ".json.new"} {
		var rs [4]index.Record
		for i := range rs {
			rs[i] = record("b0")
		}
		rs[0].Tenant, rs[1].Prefix, rs[2].Hash, rs[3].Worker = "acme"+end, "h"+end, "h"+end, "w"+end
		rs[3].Adapter = index.Named("x" + end)
		want = append(want, rs[:]...)
	}
	index.Sort(want)
	x := open(t, d)
	require.NoError(t, x.Put(t.Context(), want))
	require.NoError(t, x.Announce(t.Context(), "w.json.new", 7))
	require.NoError(t, x.Close())
	x = open(t, d)
	var got []index.Record
	_, err := x.Snapshot(t.Context(), func(r *index.Record) error {
		got = append(got, *r)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.NoError(t, x.Check(t.Context()))
}

// left requires what is there after a second life of an index that ends with a
// Flush and a Close, and the power failure behind it.
func left(t *testing.T, d *vfs.Disk, n int, more ...index.Record) {
	t.Helper()
	x := open(t, d)
	require.Equal(t, n, count(t, x))
	if len(more) > 0 {
		require.NoError(t, x.Put(t.Context(), more))
	}
	require.NoError(t, x.Flush(t.Context()))
	require.NoError(t, x.Close())
	x = open(t, d.Crash(vfs.CrashOptions{Mode: vfs.LoseAll}))
	require.Equal(t, n+len(more), count(t, x))
	require.NoError(t, x.Check(t.Context()))
}

// TestFlushOfTheNextLife: what a process that was killed had changed is durable
// when a Flush of the next one returns.
func TestFlushOfTheNextLife(t *testing.T) {
	t.Parallel()
	put := func(t *testing.T, x *fsdir.Index, hash string) {
		require.NoError(t, x.Put(t.Context(), []index.Record{record(hash)}))
	}
	life := func(t *testing.T) (*vfs.Disk, *vfs.Process, *fsdir.Index) {
		d := vfs.NewDisk()
		require.NoError(t, open(t, d).Close()) // its directories are durable
		p := d.Process()
		x, err := fsdir.Open(t.Context(), "", fsdir.Options{FS: p})
		require.NoError(t, err)
		t.Cleanup(func() { _ = x.Close() }) // of a process that is gone
		return d, p, x
	}
	t.Run("a record is removed", func(t *testing.T) {
		d, p, x := life(t)
		put(t, x, "b0")
		put(t, x, "b1")
		require.NoError(t, x.Flush(t.Context()))
		r := record("b0")
		_, err := x.Remove(t.Context(), []index.Removal{{Scope: r.Scope, Worker: r.Worker, Hash: r.Hash}})
		require.NoError(t, err)
		p.Kill()
		left(t, d, 1)
	})
	t.Run("files have their names", func(t *testing.T) {
		d, p, x := life(t)
		put(t, x, "b0")
		require.NoError(t, x.Flush(t.Context()))
		put(t, x, "b1")
		d.Before(func(op, _ string) {
			if op == "fsyncdir" {
				p.Kill()
			}
		})
		require.Error(t, x.Flush(t.Context()))
		d.Before(nil)
		left(t, d, 2)
	})
	t.Run("directories are made", func(t *testing.T) {
		d, p, x := life(t)
		put(t, x, "b0")
		p.Kill()
		left(t, d, 1, record("b1"))
	})
}

// TestFileThatWasNotSynchronised: a file whose synchronisation failed is written
// anew by the next process, whose Flush could not make it durable otherwise.
func TestFileThatWasNotSynchronised(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	faults := &fault.Injector{}
	faults.Only(func(op, path string) bool { return op == "fsync" && strings.HasSuffix(path, ".new") })
	x, err := fsdir.Open(t.Context(), "", fsdir.Options{FS: vfs.WithFaults(d.Process(), faults.Hook)})
	require.NoError(t, err)
	require.NoError(t, x.Put(t.Context(), []index.Record{record("b0")}))
	faults.Reset()
	faults.Fail(0, syscall.EIO)
	require.ErrorIs(t, x.Flush(t.Context()), syscall.EIO)
	require.ErrorIs(t, x.Close(), kvferry.ErrPoisoned)
	left(t, d, 1)
}

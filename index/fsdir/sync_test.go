package fsdir_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/fsdir"
	"github.com/kvferry/kvferry/internal/fault"
	"github.com/kvferry/kvferry/internal/vfs"
)

// TestFailedWriteIsNotSeen: of a write that must be durable and is not, nothing is
// to be seen.
func TestFailedWriteIsNotSeen(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(x *fsdir.Index) error{
		"put": func(x *fsdir.Index) error { return x.Put(t.Context(), []index.Record{record("b1")}) },
		"put by a silent worker": func(x *fsdir.Index) error {
			r := record("b1")
			r.Tier = index.HBM
			return x.Put(t.Context(), []index.Record{r})
		},
		"remove": func(x *fsdir.Index) error {
			_, err := x.Remove(t.Context(), []index.Removal{{Scope: record("").Scope, Worker: "w", Hash: "b0"}})
			return err
		},
		"clear":       func(x *fsdir.Index) error { return x.Clear(t.Context()) },
		"expire":      func(x *fsdir.Index) error { _, err := x.Expire(t.Context(), 100); return err },
		"new worker":  func(x *fsdir.Index) error { return x.Announce(t.Context(), "other", 1) },
		"same worker": func(x *fsdir.Index) error { return x.Announce(t.Context(), "w", 9) },
	} {
		for k := range 2 {
			for _, op := range []string{"fsync", "fsyncdir"} {
				t.Run(fmt.Sprint(name, " ", op, " ", k), func(t *testing.T) { notSeen(t, write, op, k) })
			}
		}
	}
}

func notSeen(t *testing.T, write func(x *fsdir.Index) error, op string, k int) {
	t.Helper()
	d := vfs.NewDisk()
	x := open(t, d)
	rs := []index.Record{record("b0"), record("b0")}
	rs[1].Tier = index.HBM
	require.NoError(t, x.Put(t.Context(), rs))
	require.NoError(t, x.Announce(t.Context(), "w", 8))
	require.NoError(t, x.Close())

	faults := &fault.Injector{}
	x, err := fsdir.Open(t.Context(), "", fsdir.Options{Sync: true, FS: vfs.WithFaults(d.Process(), faults.Hook)})
	require.NoError(t, err)
	look := func() (rs []index.Record, ws []index.Worker, m index.Metrics) {
		_, err := x.Snapshot(t.Context(), func(r *index.Record) error { rs = append(rs, *r); return nil })
		require.NoError(t, err)
		ws, err = x.Workers(t.Context())
		require.NoError(t, err)
		m, err = x.Metrics(t.Context())
		require.NoError(t, err)
		m.BytesWritten = 0
		return rs, ws, m
	}
	rs0, ws0, m0 := look()
	faults.Reset()
	faults.Only(func(o, _ string) bool { return o == op })
	faults.Fail(k, syscall.EIO)
	err = write(x)
	if len(faults.Fired()) == 0 { // the write does not do so so often
		require.NoError(t, err)
		faults.Reset()
		require.NoError(t, x.Close())
		return
	}
	require.ErrorIs(t, err, syscall.EIO)
	rs1, ws1, m1 := look()
	require.Equal(t, rs0, rs1)
	require.Equal(t, ws0, ws1)
	require.Equal(t, m0, m1)
	require.ErrorIs(t, write(x), kvferry.ErrPoisoned)
	require.ErrorIs(t, x.Close(), kvferry.ErrPoisoned)
}

// TestNumbersAreReserved: without room for the note that numbers are reserved
// there is no change, however often it is tried.
func TestNumbersAreReserved(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	faults := &fault.Injector{}
	x, err := fsdir.Open(t.Context(), "", fsdir.Options{FS: vfs.WithFaults(d.Process(), faults.Hook)})
	require.NoError(t, err)
	x.SpendNumbers()
	for range 3 {
		faults.Reset()
		faults.Only(func(op, path string) bool { return op == "rename" && path == "sequence.json" })
		faults.Fail(0, syscall.ENOSPC)
		require.ErrorIs(t, x.Put(t.Context(), []index.Record{record("b0")}), kvferry.ErrNoSpace)
	}
	require.NoError(t, x.Put(t.Context(), []index.Record{record("b0")}))
	require.NoError(t, x.Close())
}

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

// TestForgotten: of workers that went so many are known, and those that have
// records. What a forgotten one put is nobody's when it announces itself.
func TestForgotten(t *testing.T) {
	t.Parallel()
	const most = 8
	d := vfs.NewDisk()
	x := open(t, d)
	x.SetMaxIdle(most)
	busy := record("b0")
	busy.Worker, busy.Tier = "busy", index.HBM
	require.NoError(t, x.Put(t.Context(), []index.Record{busy}))
	require.NoError(t, x.Announce(t.Context(), "busy", 7))
	for i := range 10 * most {
		require.NoError(t, x.Announce(t.Context(), fmt.Sprint("pod", i), 1))
		ws, err := x.Workers(t.Context())
		require.NoError(t, err)
		require.LessOrEqual(t, len(ws), most+2)
		require.Equal(t, index.Worker{Name: "busy", Incarnation: 7, Blocks: 1}, ws[0])
		require.Contains(t, ws, index.Worker{Name: fmt.Sprint("pod", i), Incarnation: 1})
	}
	again := func() {
		r := busy
		r.Worker = "pod0"
		require.NoError(t, x.Put(t.Context(), []index.Record{r}))
		require.NoError(t, x.Announce(t.Context(), "pod0", 2))
		require.Equal(t, 1, count(t, x))
	}
	again()
	before, err := x.Workers(t.Context())
	require.NoError(t, err)
	require.NoError(t, x.Close())

	x = open(t, d)
	require.NoError(t, x.Announce(t.Context(), "busy", 7))
	after, err := x.Workers(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, after, "the files are those of the workers that are known")
	require.NoError(t, x.Check(t.Context()))
}

// TestFlushOfMany: with many files at a time all is durable, or an error is told
// and no more written.
func TestFlushOfMany(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	x := open(t, d)
	var rs []index.Record
	for i := range 300 {
		r := record(fmt.Sprint("b", i))
		r.Prefix = fmt.Sprint("p", i)
		rs = append(rs, r)
	}
	require.NoError(t, x.Put(t.Context(), rs))
	require.NoError(t, x.Flush(t.Context()))
	require.Equal(t, len(rs), count(t, open(t, d.Crash(vfs.CrashOptions{Mode: vfs.LoseAll}))))
	require.NoError(t, x.Close())

	faults := &fault.Injector{}
	x, err := fsdir.Open(t.Context(), "", fsdir.Options{FS: vfs.WithFaults(vfs.NewDisk().Process(), faults.Hook)})
	require.NoError(t, err)
	require.NoError(t, x.Put(t.Context(), rs))
	faults.Reset()
	faults.Only(func(op, _ string) bool { return op == "fsync" })
	faults.Fail(200, syscall.EIO)
	require.ErrorIs(t, x.Flush(t.Context()), syscall.EIO)
	require.ErrorIs(t, x.Flush(t.Context()), kvferry.ErrPoisoned)
	require.ErrorIs(t, x.Close(), kvferry.ErrPoisoned)
}

// TestSequenceIsDamaged: the opening says what mends it, and what does lets no
// number be used twice.
func TestSequenceIsDamaged(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	x := open(t, d)
	require.NoError(t, x.Put(t.Context(), []index.Record{record("b0")}))
	require.NoError(t, x.Close())
	fs := d.Process()
	f, err := fs.Open("sequence.json", vfs.ReadWrite)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("?"), 2)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, err = fsdir.Open(t.Context(), "", fsdir.Options{FS: d.Process()})
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	require.ErrorContains(t, err, "sequence.json")
	require.ErrorContains(t, err, "remove it")
	require.NoError(t, fs.Remove("sequence.json"))
	x = open(t, d)
	require.Equal(t, 1, count(t, x))
	m, err := x.Metrics(t.Context())
	require.NoError(t, err)
	require.Greater(t, m.Seq, uint64(1<<50))
	for _, err := range x.Watch(t.Context(), 1) {
		require.ErrorIs(t, err, kvferry.ErrExpired)
		break
	}
	require.NoError(t, x.Put(t.Context(), []index.Record{record("b1")}))
	require.NoError(t, x.Close())
	again, err := open(t, d).Metrics(t.Context())
	require.NoError(t, err)
	require.Equal(t, m.Seq+1, again.Seq)
	m, err = open(t, vfs.NewDisk()).Metrics(t.Context())
	require.NoError(t, err)
	require.Zero(t, m.Seq, "of a new one")
}

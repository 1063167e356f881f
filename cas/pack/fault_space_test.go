package pack

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/internal/vfs"
)

// TestFaultFullDisk fills disks of many sizes until nothing fits, looks that all
// that was committed is there, and makes room without any.
func TestFaultFullDisk(t *testing.T) {
	t.Parallel()
	step := int64(160 << 10)
	if faultSoak() {
		step = 4 << 10
	}
	disks, failed := 0, 0
	for capacity := int64(0); capacity < 1<<20; capacity += step {
		t.Run(fmt.Sprint(capacity>>10), func(t *testing.T) {
			disks++
			if !fillOnce(t, capacity) {
				failed++
			}
		})
	}
	t.Logf("%d disks filled up, %d of them too small for a store", disks, failed)
}

func fillOnce(t *testing.T, capacity int64) bool {
	w := newFaultWorld(t)
	w.disk.SetCapacity(capacity)
	ctx := context.Background()
	s, err := Open("disk", w.options(w.disk.Process()))
	if err != nil {
		require.ErrorIs(t, err, kvferry.ErrNoSpace)
		w.disk.SetCapacity(1 << 30)
		w.verify(w.disk.Crash(vfs.CrashOptions{}), "too small for a store")
		return false
	}
	w.s = s
	n := w.fill(ctx, capacity)
	w.errs = nil
	w.readAll(ctx, s)
	require.Empty(t, w.errs)
	for kind, there := range w.there {
		if there {
			w.drop(ctx, s, kind)
		}
	}
	require.Empty(t, w.errs, "%d bytes, %d snapshots: drop", capacity, n)
	w.collect(ctx, s)
	require.Empty(t, w.errs, "%d bytes, %d snapshots: collect", capacity, n)
	if n > 1 { // the room of two is enough for one more
		w.capture(ctx, s, "full-0", 8, nil)
		require.Empty(t, w.errs, "%d bytes, %d snapshots: go on", capacity, n)
	}
	require.NoError(t, w.close())
	w.disk.SetCapacity(1 << 30)
	w.verify(w.disk.Crash(vfs.CrashOptions{}), "at the end")
	return n > 0
}

// TestFaultFullDiskOfSmallBlobs collects more blobs than the log has room to
// name at a time, on a disk without any other room.
func TestFaultFullDiskOfSmallBlobs(t *testing.T) {
	t.Parallel()
	const blobs = 30_000
	w := newFaultWorld(t)
	o := w.options(w.disk.Process())
	o.PackBytes = 1 << 20
	s, err := Open("disk", o)
	require.NoError(t, err)
	w.s = s
	ctx := t.Context()
	sess, err := s.Begin(ctx, cas.SessionOptions{})
	require.NoError(t, err)
	for i := range blobs {
		p := []byte(fmt.Sprint("small ", i))
		_, err := sess.Put(ctx, faultSum(p), p)
		require.NoError(t, err)
	}
	require.NoError(t, sess.Flush(ctx))
	require.NoError(t, sess.Abort(ctx))
	w.capture(ctx, s, "stays", 6, nil, "stays")
	require.NoError(t, w.close())

	const huge = 1 << 30
	w.disk.SetCapacity(huge)
	free, err := w.disk.Process().FreeBytes()
	require.NoError(t, err)
	w.disk.SetCapacity(huge - free)
	s, err = Open("disk", w.options(w.disk.Process()))
	require.NoError(t, err)
	w.s = s
	r, err := s.Collect(ctx, cas.CollectOptions{References: w.references})
	require.NoError(t, err)
	require.EqualValues(t, blobs, r.Deleted)
	st, err := s.Stats(ctx)
	require.NoError(t, err)
	require.Less(t, st.DiskBytes, int64(6<<20), "of %d bytes of records", r.DeletedBytes)
	w.wholeIn(s, "collected")
	w.disk.SetCapacity(1 << 30)
	require.NoError(t, w.close())
	w.verify(w.disk.Crash(vfs.CrashOptions{}), "at the end")
}

// fill commits snapshots, and puts into the cache, until neither fits, and then
// takes what room is left. It returns how many snapshots there are.
func (w *faultWorld) fill(ctx context.Context, capacity int64) int {
	n, fits := 0, true
	for ; fits; n++ {
		w.errs = nil
		w.capture(ctx, w.s, fmt.Sprintf("full-%d", n), 8, nil, fmt.Sprintf("full-%d", n))
		for _, err := range w.errs {
			require.ErrorIs(w.t, err, kvferry.ErrNoSpace)
			fits = false
		}
		require.Less(w.t, int64(n), capacity)
	}
	sess, err := w.s.Begin(ctx, cas.SessionOptions{})
	for i := 0; err == nil; i++ { // one that is still open holds something of its own
		var p []byte
		p, _ = w.content("rest", i)
		_, err = sess.Put(ctx, faultSum(p[:500]), p[:500])
	}
	require.ErrorIs(w.t, err, kvferry.ErrNoSpace)
	if sess != nil {
		require.NoError(w.t, sess.Abort(ctx))
	}
	p := w.disk.Process()
	f, err := p.Open("rest", vfs.Create)
	for off := int64(0); err == nil; off += vfs.BlockBytes {
		_, err = f.WriteAt(make([]byte, vfs.BlockBytes), off)
	}
	free, err := p.FreeBytes()
	require.NoError(w.t, err)
	require.Zero(w.t, free)
	return n - 1
}

package packfile_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
)

// TestNoAllocations: a lane and a reader that are warm allocate nothing for a
// record, whether it is read from the file or from a buffer. Not parallel:
// AllocsPerRun counts every goroutine's.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("allocations cannot be counted under the race detector")
	}
	f := makeDir(t, "")
	o := options(f, true)
	o.PackBytes, o.BufferBytes = 256<<20, 4<<20
	l := openLane(t, o)
	b := blobOf(1, 10_000)
	frame := b.frame()
	ctx, n := t.Context(), int64(len(b.rec))
	fill := func(dst []byte) { packfile.PutRecord(dst, b.d, written, &frame) }
	spots := make([]packfile.Spot, 0, 2000)
	failed := false
	put := func() {
		s, err := l.Append(ctx, n, fill)
		spots = append(spots, s)
		failed = failed || err != nil
	}
	put()
	require.Zero(t, testing.AllocsPerRun(500, put), "Append")
	buf := make([]byte, n)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		failed = failed || !l.ReadBuffered(spots[len(spots)-1], buf)
	}), "ReadBuffered")
	require.NoError(t, b.check(buf))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		failed = failed || l.Check(spots[0]) != nil
	}), "Check")
	require.NoError(t, l.Sync(ctx))

	r := openReader(t, f, true)
	i := 0
	require.Zero(t, testing.AllocsPerRun(500, func() {
		err := r.Read(ctx, spots[i], func(rec []byte) error { return packfile.CheckStored(rec, b.d) })
		failed = failed || err != nil
		i++
	}), "Read")
	require.False(t, failed)
	l.ReleaseAll(spots)
}

package packfile_test

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/internal/fault"
	"github.com/kvferry/kvferry/internal/vfs"
)

// story is a run of a lane over several packs, with what came of it.
type story struct {
	losses
	plot []blob // what it stores

	mu    sync.Mutex
	acked []blob // durable, as far as the lane tells
	errs  []error
}

// newStory returns a story with blobs of all sizes.
func newStory() *story {
	var s story
	for i, n := range append(manySizes(30, 50_000), 700_000, 10, 300_000) {
		s.plot = append(s.plot, blobOf(uint64(i), n))
	}
	return &s
}

// again returns the same story, not told yet.
func (s *story) again() *story { return &story{plot: s.plot} }

func (s *story) note(err error) {
	if err != nil {
		s.errs = append(s.errs, err)
	}
}

// durable returns what was acknowledged so far.
func (s *story) durable() []blob {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked
}

// tell appends the blobs, makes them durable now and then, and goes on after
// whatever error.
func (s *story) tell(t testing.TB, f vfs.FS, direct bool) {
	s.from = map[uint64]int64{}
	o := options(f, direct)
	o.PackBytes, o.BufferBytes, o.Lost = 600<<10, 16<<10, s.lost
	l := packfile.NewLane(o)
	var waiting []blob
	for i, b := range s.plot {
		if err := b.put(t, l); err != nil {
			s.note(err)
		} else {
			waiting = append(waiting, b)
		}
		switch i % 8 {
		case 3, 6:
			err := l.Sync(t.Context())
			s.note(err)
			waiting = s.settle(l, waiting, err)
		case 7:
			s.note(l.Seal(t.Context()))
		}
	}
	s.note(l.Close(t.Context()))
}

// settle acknowledges what a Sync that returned err leaves durable.
func (s *story) settle(l *packfile.Lane, waiting []blob, err error) []blob {
	if err != nil && !errors.Is(err, kvferry.ErrPoisoned) {
		return waiting
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range waiting {
		if l.Check(b.at) == nil {
			s.acked = append(s.acked, b)
		}
	}
	return nil
}

// TestFaults fails each operation of a story in turn, until it runs clean: what
// was acknowledged is there after a power failure, and every error is told.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		for _, direct := range []bool{false, true} {
			t.Run(fmt.Sprintf("error=%v/direct=%v", errno, direct), func(t *testing.T) {
				t.Parallel()
				s := newStory()
				for k := 0; ; k++ {
					if fired := faultAt(t, s.again(), k, errno, direct); fired == nil {
						require.Greater(t, k, 60)
						t.Logf("%d operations", k)
						break
					}
				}
			})
		}
	}
}

func faultAt(t *testing.T, s *story, k int, errno syscall.Errno, direct bool) []string {
	d := makeDisk(t)
	var inj fault.Injector
	inj.Fail(k, errno)
	s.tell(t, vfs.WithFaults(d.Process(), inj.Hook), direct)
	fired := inj.Fired()
	if len(fired) > 0 {
		requireTold(t, s, errno, fired[0])
	} else {
		require.Empty(t, s.errs)
		require.Empty(t, s.from)
	}
	for _, mode := range []vfs.CrashMode{vfs.LoseAll, vfs.Random}[:1+k%2] {
		requireStored(t, openReader(t, d.Crash(vfs.CrashOptions{Mode: mode, Seed: uint64(k)}).Process(), direct), s.acked...)
	}
	require.Greater(t, len(s.acked), 10, "%v", fired)
	return fired
}

// requireTold tells whether an error that was injected has surfaced.
func requireTold(t *testing.T, s *story, errno syscall.Errno, fired string) {
	t.Helper()
	var op, path string
	_, err := fmt.Sscan(fired, &op, &path)
	require.NoError(t, err)
	if errno == syscall.ENOSPC && op == "allocate" && len(s.errs) == 0 {
		return // there was room for what was needed
	}
	require.NotEmpty(t, s.errs, fired)
	poisoned := false
	for _, err := range s.errs {
		require.ErrorIs(t, err, errno, fired)
		poisoned = poisoned || errors.Is(err, kvferry.ErrPoisoned)
		if errno == syscall.ENOSPC && op != "truncate" && op != "close" && op != "unlink" {
			require.ErrorIs(t, err, kvferry.ErrNoSpace, fired)
		}
	}
	loses := op == "write" || op == "fsync" || op == "fsyncdir"
	require.Equal(t, loses, poisoned, fired)
	require.Equal(t, loses, len(s.from) == 1, fired)
}

// TestFailedSyncIsNotTriedAgain has a synchronisation fail, which makes the
// system forget what it did not write: no later one may vouch for it.
func TestFailedSyncIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	d := makeDisk(t)
	var inj fault.Injector
	inj.Only(func(op, _ string) bool { return op == "fsync" })
	inj.Fail(1, syscall.EIO)
	o := options(vfs.WithFaults(d.Process(), inj.Hook), false)
	var told losses
	told.from = map[uint64]int64{}
	o.Lost = told.lost
	l := openLane(t, o)
	a, b, c := blobOf(1, 1000), blobOf(2, 2000), blobOf(3, 3000)
	require.NoError(t, a.put(t, l))
	require.NoError(t, l.Sync(t.Context()))
	require.NoError(t, b.put(t, l))
	err := l.Sync(t.Context())
	require.ErrorIs(t, err, kvferry.ErrPoisoned)
	require.ErrorIs(t, err, syscall.EIO)
	require.NoError(t, l.Check(a.at))
	require.ErrorIs(t, l.Check(b.at), syscall.EIO)
	require.Equal(t, map[uint64]int64{a.at.Pack: 8192}, told.from)
	require.True(t, told.has(b.at))
	_, _, ok := l.Active()
	require.False(t, ok)

	require.NoError(t, l.Sync(t.Context()), "the error is told once")
	require.NoError(t, c.put(t, l))
	require.NotEqual(t, b.at.Pack, c.at.Pack)
	require.NoError(t, l.Sync(t.Context()))
	require.Equal(t, []string{"fsync " + packfile.Path(1)}, inj.Fired())
	require.Equal(t, 3, inj.Count(), "and the first pack is not synchronised again")
	requireStored(t, openReader(t, d.Crash(vfs.CrashOptions{}).Process(), false), a, c)
	require.NoError(t, l.Close(t.Context()))
}

// TestFullDisk fills a disk: Append says so, nothing is lost, and there is room
// again when something was removed.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, direct := range []bool{false, true} {
		d := makeDisk(t)
		f := d.Process()
		d.SetCapacity(1 << 20)
		o := options(f, direct)
		o.PackBytes = 300 << 10
		l := openLane(t, o)
		var blobs []blob
		var err error
		for i := 0; err == nil; i++ {
			b := blobOf(uint64(i), 30_000)
			if err = b.put(t, l); err == nil {
				blobs = append(blobs, b)
			}
			require.Less(t, i, 100)
		}
		require.ErrorIs(t, err, kvferry.ErrNoSpace)
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.NotErrorIs(t, err, kvferry.ErrPoisoned)
		require.NoError(t, l.Sync(t.Context()))
		require.Greater(t, len(blobs), 25)
		r := openReader(t, f, direct)
		requireStored(t, r, blobs...)

		require.NoError(t, l.AwaitClosing(t.Context())) // an open file keeps its room
		r.Forget(blobs[0].at.Pack)
		require.NoError(t, f.Remove(packfile.Path(blobs[0].at.Pack)))
		l.ReleaseAll(spotsIn(blobs[0].at.Pack, blobs))
		b := blobOf(99, 30_000)
		require.NoError(t, b.put(t, l))
		require.NoError(t, l.Close(t.Context()))
		requireStored(t, r, b)
	}
}

// TestCloseGivesUp closes a lane with a context that has ended: what is not
// written yet stays so, nobody waits, and Close says it.
func TestCloseGivesUp(t *testing.T) {
	t.Parallel()
	f := makeDisk(t).Process()
	l := packfile.NewLane(options(f, false))
	b := blobOf(1, 1000)
	require.NoError(t, b.put(t, l))
	ctx, cancel := contextThatEnded(t)
	defer cancel()
	require.ErrorIs(t, l.Sync(ctx), ctx.Err())
	require.NoError(t, l.Sync(t.Context()))
	c := blobOf(2, 1000)
	require.NoError(t, c.put(t, l))
	err := l.Close(ctx)
	if err != nil { // the end of ctx may be seen after the write
		require.ErrorIs(t, err, ctx.Err())
	}
	requireStored(t, openReader(t, f, false), b)
}

// TestFlushTellsOnce poisons a pack of a lane that is only flushed.
func TestFlushTellsOnce(t *testing.T) {
	t.Parallel()
	d := makeDisk(t)
	var inj fault.Injector
	inj.Only(func(op, _ string) bool { return op == "write" })
	inj.Fail(0, syscall.EIO)
	l := openLane(t, options(vfs.WithFaults(d.Process(), inj.Hook), true))
	a, b := blobOf(1, 1000), blobOf(2, 2000)
	require.NoError(t, a.put(t, l))
	require.ErrorIs(t, l.Flush(t.Context()), kvferry.ErrPoisoned)
	require.False(t, l.ReadBuffered(a.at, make([]byte, a.at.Bytes)))
	require.NoError(t, b.put(t, l))
	require.NoError(t, l.Flush(t.Context()))
	requireStored(t, openReader(t, d.Process(), true), b)
	require.Error(t, l.Check(a.at))
	require.NoError(t, l.Close(t.Context()))
}

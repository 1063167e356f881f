package art_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/art"
	"github.com/kvferry/kvferry/index/internal/crashtest"
	"github.com/kvferry/kvferry/internal/fault"
	"github.com/kvferry/kvferry/internal/vfs"
)

// crashes are what a power failure may leave, some of it by chance.
func crashes(k int) []vfs.CrashOptions {
	seed := uint64(k) * 10
	all := []vfs.CrashOptions{{Mode: vfs.LoseAll}, {Mode: vfs.KeepAll}}
	count := uint64(1)
	if soak() {
		count = 8
	}
	for i := range count {
		all = append(all, vfs.CrashOptions{Mode: vfs.Random, Seed: seed + i}, vfs.CrashOptions{Mode: vfs.Garbage, Seed: seed + i})
	}
	return all
}

// hooked calls f before each operation on d, one at a time, with its number.
func hooked(d *vfs.Disk, f func(k int, what string)) {
	var mu sync.Mutex
	k := 0
	d.Before(func(op, path string) {
		mu.Lock()
		defer mu.Unlock()
		f(k, fmt.Sprintf("operation %d, %s %s", k, op, path))
		k++
	})
}

func (s *story) run(ctx context.Context, fs vfs.FS, sync bool, all []doing) error {
	o := plain(small)
	o.FS, o.Sync = fs, sync
	x, err := art.Open(ctx, "disk", o)
	if err != nil {
		return err
	}
	err = s.tell(ctx, x, all, sync)
	return errors.Join(err, x.Close())
}

func steps() int {
	if soak() {
		return 400
	}
	return 90
}

func TestPowerFailsAtEveryOperation(t *testing.T) {
	t.Parallel()
	for _, sync := range []bool{false, true} {
		t.Run(fmt.Sprint("sync=", sync), func(t *testing.T) {
			t.Parallel()
			d := vfs.NewDisk()
			var s story
			var failures []error
			count, every := 0, crashtest.Every(1)
			hooked(d, func(k int, what string) {
				if k%every != 0 {
					return
				}
				for _, c := range crashes(k) {
					count++
					if err := s.crash(t.Context(), d, c); err != nil {
						failures = append(failures, fmt.Errorf("%s, %+v: %w", what, c, err))
					}
				}
			})
			require.NoError(t, s.run(t.Context(), d.Process(), sync, calls(1, steps())))
			d.Before(nil)
			require.NoError(t, first(failures))
			t.Logf("%d crashes", count)
		})
	}
}

func first(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%d failures, the first: %w", len(errs), errs[0])
}

// TestAProcessIsKilledAtEveryOperation: what was acknowledged is there, flushed or
// not, and stays when the power fails later, or after the next process flushed.
func TestAProcessIsKilledAtEveryOperation(t *testing.T) {
	t.Parallel()
	kill := func(at int, when func(n int, what string) bool) (killed bool) {
		d := vfs.NewDisk()
		p := d.Process()
		where := ""
		hooked(d, func(n int, what string) {
			if where == "" && when(n, what) {
				where = what
				p.Kill()
			}
		})
		var s story
		_ = s.run(t.Context(), p, false, calls(2, steps())) // the dead complain
		d.Before(nil)
		if where == "" {
			return false
		}
		for _, c := range crashes(at) {
			require.NoError(t, s.crash(t.Context(), d, c), where)
		}
		require.NoError(t, secondLife(t, d, crashes(at)), where)
		require.NoError(t, s.check(t.Context(), d, s.acked), where)
		return true
	}
	for k := 0; kill(k, func(n int, _ string) bool { return n == k }); k += crashtest.Every(3) {
	}
	// And at each that makes names durable, whose number in a life is not always the same.
	kills := 0
	for j := 0; ; j += crashtest.Every(1) {
		met := 0
		if !kill(j, func(_ int, what string) bool {
			if strings.Contains(what, "fsyncdir") {
				met++
			}
			return met == j+1
		}) {
			break
		}
		kills++
	}
	require.Positive(t, kills)
}

// secondLife opens what a process left, flushes a change, and is off when the
// power fails: everything that was there is then.
func secondLife(t *testing.T, d *vfs.Disk, all []vfs.CrashOptions) error {
	d = d.Snapshot()
	o := plain(art.Options{}) // no other log hides that the one that it found is not durable
	o.FS = d.Process()
	x, err := art.Open(t.Context(), "disk", o)
	if err != nil {
		return err
	}
	defer func() { _ = x.Close() }()
	if err := errors.Join(x.Put(t.Context(), []index.Record{benchRecord("second", "life", 0)}), x.Flush(t.Context())); err != nil {
		return err
	}
	want, err := picture(t, x)
	if err != nil {
		return err
	}
	for _, c := range all {
		got, _, err := outcome(t, d.Crash(c))
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("after %+v there is %s, not %s", c, got, want)
		}
	}
	return nil
}

// TestEveryOperationFails: whoever asked is told, but of what only makes room, and
// nothing that was acknowledged is lost.
func TestEveryOperationFails(t *testing.T) {
	t.Parallel()
	for start, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		t.Run(cause.Error(), func(t *testing.T) {
			t.Parallel()
			stride := crashtest.Every(2)
			for k := start; ; k += stride {
				d := vfs.NewDisk()
				var i fault.Injector
				i.Fail(k, cause)
				var s story
				var mu sync.Mutex
				named, inUse := map[string]bool{}, false // logs; that one failed
				err := s.run(t.Context(), vfs.WithFaults(d.Process(), func(op, path string) error {
					err := i.Hook(op, path)
					mu.Lock()
					defer mu.Unlock()
					named[path] = named[path] || op == "rename" && err == nil
					inUse = inUse || err != nil && named[strings.TrimSuffix(path, ".new")]
					return err
				}), false, calls(3, steps()))
				fired := strings.Join(i.Fired(), ", ")
				if fired == "" {
					require.NoError(t, err)
					t.Logf("%d operations", k)
					return
				}
				if err == nil {
					requireHarmless(t, fired, inUse, cause)
				} else {
					require.ErrorIs(t, err, cause, fired)
				}
				for _, c := range crashes(k) {
					require.NoError(t, s.crash(t.Context(), d, c), "operation %d, %s, %+v", k, fired, c)
				}
				require.NoError(t, s.check(t.Context(), d, s.acked), "operation %d, %s", k, fired)
			}
		})
	}
}

// requireHarmless is for failures that nobody has to be told of: those of a
// snapshot, of a log that would have followed, of closing, removing and listing,
// and of a mark that finds no room. A log is known by the name that it was made
// with.
func requireHarmless(t *testing.T, fired string, inUse bool, cause error) {
	t.Helper()
	op, path, _ := strings.Cut(fired, " ")
	switch {
	case op == "unlink", op == "close", op == "readdir", op == "fsyncdir", strings.Contains(path, ".snapshot"):
	case strings.Contains(path, ".log") && !inUse:
	case op == "write" && errors.Is(cause, syscall.ENOSPC):
	default:
		require.Fail(t, "nobody was told", fired)
	}
}

// TestAFailedSyncStopsWriting: what a failed fsync leaves on the disk is not
// taken for durable by the next process.
func TestAFailedSyncStopsWriting(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	var i fault.Injector
	i.Only(func(op, path string) bool { return op == "fsync" && strings.Contains(path, ".log") })
	o := plain(art.Options{})
	o.FS = vfs.WithFaults(d.Process(), i.Hook)
	x, err := art.Open(t.Context(), "disk", o)
	require.NoError(t, err)
	r := benchRecord("p", "h", 0)
	require.NoError(t, x.Put(t.Context(), []index.Record{r}))
	i.Reset()
	i.Fail(0, syscall.EIO)
	require.ErrorIs(t, x.Flush(t.Context()), kvferry.ErrPoisoned)
	require.ErrorIs(t, x.Flush(t.Context()), kvferry.ErrPoisoned)
	require.ErrorIs(t, x.Put(t.Context(), []index.Record{r}), kvferry.ErrPoisoned)
	_, err = x.Remove(t.Context(), nil)
	require.ErrorIs(t, err, syscall.EIO)
	got, err := x.Scan(t.Context(), &benchScope, "p", nil)
	require.NoError(t, err, "reading goes on")
	require.Len(t, got, 1)
	require.ErrorIs(t, x.Close(), kvferry.ErrPoisoned)

	again := open(t, d, plain(art.Options{}))
	require.NoError(t, again.Flush(t.Context()))
	after := open(t, d.Crash(vfs.CrashOptions{}), plain(art.Options{}))
	got, err = after.Scan(t.Context(), &benchScope, "p", nil)
	require.NoError(t, err)
	require.Equal(t, []index.Record{r}, got)
}

// TestAFullDisk: what finds no room is not there, and the index goes on.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	x := open(t, d, plain(art.Options{}))
	d.SetCapacity(64 << 10)
	var err error
	n := 0
	for ; err == nil; n++ {
		r := benchRecord("p", fmt.Sprint(n), n)
		err = x.Put(t.Context(), []index.Record{r})
	}
	require.ErrorIs(t, err, kvferry.ErrNoSpace)
	require.NotErrorIs(t, err, kvferry.ErrPoisoned)
	got, err := x.Scan(t.Context(), &benchScope, "p", nil)
	require.NoError(t, err)
	require.Len(t, got, n-1)
	d.SetCapacity(1 << 20)
	require.NoError(t, x.Put(t.Context(), []index.Record{benchRecord("p", "more", 0)}))
	require.NoError(t, x.Close())
	again := open(t, d, plain(art.Options{}))
	got, err = again.Scan(t.Context(), &benchScope, "p", nil)
	require.NoError(t, err)
	require.Len(t, got, n)
}

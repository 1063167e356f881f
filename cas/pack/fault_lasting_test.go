package pack

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
)

// TestFaultLasting lets the disk refuse every change from operation k on until
// it is mended after the scenario. A store that met it then works or says why
// not, and closes.
func TestFaultLasting(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct {
		cause    error
		sentinel error
		only     func(op, path string) bool
	}{
		{syscall.EIO, nil, func(string, string) bool { return true }},
		{syscall.EIO, nil, changes},
		{syscall.ENOSPC, kvferry.ErrNoSpace, grows},
		{syscall.EROFS, kvferry.ErrReadOnly, changes},
	} {
		every := 2*faultEvery + 1
		if faultSoak() {
			every = 3
		}
		runs, stopped := 0, 0
		for k := 0; ; k += every {
			met, poisoned := lastingOnce(t, k, kind.cause, kind.sentinel, kind.only)
			if !met {
				break
			}
			runs++
			if poisoned {
				stopped++
			}
		}
		t.Logf("%v: %d disks failed; %d stores went on after they were mended, %d said why not", kind.cause, runs, runs-stopped, stopped)
	}
}

func lastingOnce(t *testing.T, k int, cause, sentinel error, only func(op, path string) bool) (met, poisoned bool) {
	w := newFaultWorld(t)
	w.alone = true
	var n atomic.Int64
	var mended atomic.Bool
	w.fs = vfs.WithFaults(w.disk.Process(), func(op, path string) error {
		if !mended.Load() && only(op, path) && n.Add(1) > int64(k) {
			return cause
		}
		return nil
	})
	ctx := context.Background()
	what := fmt.Sprintf("%v from operation %d on", cause, k)
	var told []error
	w.run(ctx, func(_ string, errs []error) { told = append(told, errs...) })
	if n.Load() <= int64(k) {
		mended.Store(true)
		require.NoError(t, w.close())
		return false, false
	}
	w.verify(w.disk.Crash(vfs.CrashOptions{}), what)
	mended.Store(true)
	if w.s != nil {
		w.errs = nil
		w.capture(ctx, w.s, "probe", 8, nil, "probe")
		for _, err := range w.errs {
			require.ErrorIs(t, err, kvferry.ErrPoisoned, what)
			poisoned = true
		}
		w.errs = nil
		w.readAll(ctx, w.s)
		require.Empty(t, w.errs, what)
	}
	if err := w.close(); err != nil {
		told = append(told, err)
	}
	good := false
	for _, err := range told {
		good = good || errors.Is(err, cause) && (sentinel == nil || errors.Is(err, sentinel))
	}
	require.True(t, good || len(told) == 0, "%s: %v", what, told)
	w.verify(w.disk.Crash(vfs.CrashOptions{}), what+", mended")
	return true, poisoned
}

package pack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/fault"
	"github.com/kvferry/kvferry/internal/vfs"
)

// faultSoak tells whether the long forms are wanted.
func faultSoak() bool { return os.Getenv("KVFERRY_SOAK") != "" && os.Getenv("KVFERRY_SOAK") != "0" }

// faultEvery is how many operations are left out between two that fail, in the
// short form.
const faultEvery = 29

// changes tells the operations that a full disk or a read-only one refuses.
func changes(op, _ string) bool {
	return slices.Contains([]string{"create", "mkdir", "unlink", "rename", "write", "truncate", "allocate", "fsync", "fsyncdir"}, op)
}

// grows tells the operations that need room.
func grows(op, path string) bool {
	return changes(op, path) && op != "unlink" && op != "fsync" && op != "fsyncdir"
}

// faultKinds are the errors of the sweep, and what they are called.
var faultKinds = []struct {
	cause    error
	sentinel error
	only     func(op, path string) bool
}{
	{syscall.EIO, nil, nil},
	{syscall.ENOSPC, kvferry.ErrNoSpace, grows},
	{syscall.EROFS, kvferry.ErrReadOnly, func(op, path string) bool { return grows(op, path) || op == "unlink" }},
}

// TestFaultScenario goes through the scenario without a fault.
func TestFaultScenario(t *testing.T) {
	t.Parallel()
	w := newFaultWorld(t)
	w.fs = w.disk.Process()
	w.run(context.Background(), func(step string, errs []error) {
		require.Empty(t, errs, step)
		w.verify(w.disk.Crash(vfs.CrashOptions{}), "after "+step)
	})
	require.NoError(t, w.close())
	w.verify(w.disk.Crash(vfs.CrashOptions{}), "at the end")
}

// TestFaultSweep fails each operation of the scenario in turn.
func TestFaultSweep(t *testing.T) {
	t.Parallel()
	for _, kind := range faultKinds {
		t.Run(kind.cause.Error(), func(t *testing.T) {
			t.Parallel()
			every := faultEvery
			if faultSoak() {
				every = 1
			}
			faults, silent := 0, map[string]int{}
			for k := 0; ; k += every {
				var r faultRun
				t.Run(strconv.Itoa(k), func(t *testing.T) {
					r = faultRun{k: k, fired: "?"}
					r = sweepOnce(t, k, kind.cause, kind.only)
					if len(r.told) > 0 {
						wantCause(t, r, kind.cause, kind.sentinel)
					}
				})
				if r.fired == "" {
					break
				}
				faults++
				if len(r.told) == 0 {
					silent[pathless(r.fired)]++
				}
			}
			t.Logf("%d faults, one in %d operations; silent: %v", faults, every, silent)
			for _, what := range slices.Sorted(maps.Keys(silent)) {
				require.Contains(t, faultHarmless, what, "%s failed and nobody heard it", what)
			}
		})
	}
}

// faultRun is what came of a scenario with a fault.
type faultRun struct {
	k     int
	fired string // the operation that failed
	step  string // during which it did
	told  []error
}

// sweepOnce fails operation k.
func sweepOnce(t *testing.T, k int, cause error, only func(op, path string) bool) (r faultRun) {
	var inj fault.Injector
	inj.Only(only)
	inj.Fail(k, cause)
	w := newFaultWorld(t)
	w.fs = vfs.WithFaults(w.disk.Process(), inj.Hook)
	r.k = k
	ctx := context.Background()
	heard := func(step string, errs []error) {
		r.told = append(r.told, errs...)
		if fired := inj.Fired(); len(fired) > 0 && r.fired == "" {
			r.fired, r.step = fired[0], step
			w.verify(w.disk.Crash(vfs.CrashOptions{}), r.what())
		} else if r.fired == "" {
			require.Empty(t, errs, "%s: an error before the fault", step)
		}
	}
	w.run(ctx, heard)
	w.goesOn(ctx, r)
	if err := w.close(); err != nil || r.fired == "" {
		heard("close", slices.DeleteFunc([]error{err}, func(err error) bool { return err == nil }))
	}
	if r.fired != "" {
		w.verify(w.disk.Crash(vfs.CrashOptions{}), r.what()+", at the end")
	}
	return r
}

func (r faultRun) what() string {
	return fmt.Sprintf("operation %d, %s, failed in %s", r.k, r.fired, r.step)
}

// goesOn looks whether the store works for new sessions, or says why not, and
// reads what is there.
func (w *faultWorld) goesOn(ctx context.Context, r faultRun) {
	if w.s == nil || r.fired == "" {
		return
	}
	w.errs = nil
	w.capture(ctx, w.s, "probe", 8, nil, "probe")
	for _, err := range w.errs {
		require.ErrorIs(w.t, err, kvferry.ErrPoisoned, r.what())
	}
	w.errs = nil
	w.readAll(ctx, w.s)
	require.Empty(w.t, w.errs, "%s: reading goes on", r.what())
	w.wholeIn(w.s, r.what()+", in the same store")
}

// wantCause looks for an error that says what happened.
func wantCause(t *testing.T, r faultRun, cause, sentinel error) {
	t.Helper()
	for _, err := range r.told {
		if errors.Is(err, cause) && (sentinel == nil || errors.Is(err, sentinel)) {
			return
		}
	}
	require.Fail(t, "the cause is not told", "%s: %v, %v: %v", r.what(), cause, sentinel, errors.Join(r.told...))
}

// pathless is an operation without the numbers in its path.
func pathless(fired string) string { return faultNumbers.ReplaceAllString(fired, "N") }

var faultNumbers = regexp.MustCompile(`[0-9a-f]{16}(\.[0-9]+)?`)

// faultHarmless are the operations whose failure nobody hears, and why it loses
// nothing.
const besideAgain = "what was to be written beside the log was written before it"

var faultHarmless = map[string]string{
	"allocate packs/N.pack": "less room is reserved, or the next pack finds it",
	"create packs/N.pack":   "a collection found room once the pack before was removed",
	"close log/N.log":       "it was read, or all of it is durable",
	"close index/N.new":     "it was synchronised",
	"close kvferry.json":    "it was only locked",
	"close log/create":      "it has no content, and is closed",
	"close packs/N.pack":    "all of it is durable",
	"close streams/N":       "its session has ended, or its lock is free all the same",
	"flock log/N.log":       besideAgain,
	"flock log/N.new":       besideAgain,
	"open log/N.log":        besideAgain,
	"open log/N.new":        besideAgain,
	"read log/N.log":        besideAgain,
	"read log/N.new":        besideAgain,
	"stat log/N.log":        besideAgain,
	"stat log/N.new":        besideAgain,
	"open packs/N.pack":     "it was opened again",
	"read packs/N.pack":     "it was read again, and sound",
	"stat packs/N.pack":     "it was opened again",
	"readdir index":         "what is old stays until the next one cleans up",
	"readdir log":           "what is old stays until the next one cleans up",
	"unlink index/N.idx":    "what is old stays until the next one cleans up",
	"unlink log/N.log":      "what is old stays until the next one cleans up",
	"unlink streams/N":      "its session has ended, and its process removes or outlives it",
	"write log/N.log":       "no zeros are written ahead",
	"write log/N.new":       "no zeros are written ahead",
}

package journal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas/pack/internal/journal"
	"github.com/kvferry/kvferry/internal/fault"
	"github.com/kvferry/kvferry/internal/vfs"
)

// soak tells whether the long forms are wanted.
func soak() bool { return os.Getenv("KVFERRY_SOAK") == "1" }

// stride is how many operations the short form goes on at a time, and how many
// under the race detector.
func stride(short, race int) int {
	switch {
	case soak():
		return 1
	case raceEnabled:
		return race
	}
	return short
}

// patient bounds a test that would wait for a lock for ever.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	return ctx
}

func TestScenario(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var h history
	require.NoError(t, scenario(patient(t), &h, osFS(t, dir), osFS(t, dir)))
	require.Empty(t, h.maybe)
	require.Len(t, h.sure, len(h.tried))
	for _, o := range []journal.Options{{ReadOnly: true}, {}, {Repair: true}} {
		s, err := openStore(t.Context(), osFS(t, dir), o)
		require.NoError(t, err)
		require.NoError(t, h.check(s, false))
		require.Equal(t, h.tried, s.list)
		require.NoError(t, s.j.Close())
	}
}

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

// whole opens what is on a disk, read-only and not, checks it against the
// history, and goes on with it.
func (h *history) whole(ctx context.Context, d *vfs.Disk, power bool, more ...string) error {
	p := d.Process()
	ro, err := openStore(ctx, p, journal.Options{ReadOnly: true})
	var seen []string
	switch {
	case err == nil:
		if seen, err = ro.list, h.check(ro, power); err != nil {
			return fmt.Errorf("read only: %w", err)
		}
		if d := ro.j.Damage(); d != nil {
			return fmt.Errorf("read only: %v", d)
		}
		if err := ro.j.Close(); err != nil {
			return err
		}
	case !errors.Is(err, kvferry.ErrNotFound) || len(h.sure) > 0:
		return fmt.Errorf("read only: %w", err)
	}
	for _, last := range append([]string{""}, more...) {
		s, err := openStore(ctx, p, journal.Options{})
		if err != nil {
			return err
		}
		if last == "" {
			if err = h.check(s, power); err == nil && !slices.Equal(seen, s.list) {
				err = fmt.Errorf("readers see %v, writers %v", seen, s.list)
			}
		} else if !slices.Equal(seen, s.list) {
			err = fmt.Errorf("%v became %v by opening anew", seen, s.list)
		}
		if err == nil && last != "" {
			err = s.commit(ctx, true, last)
			seen = append(seen, last)
		}
		if err = errors.Join(err, s.j.Close()); err != nil {
			return err
		}
	}
	return leftovers(d)
}

// leftovers tells of files that nobody will remove.
func leftovers(d *vfs.Disk) error {
	logs := 0
	for name := range d.Files() {
		if strings.HasSuffix(name, ".log") {
			logs++
		}
		if strings.HasSuffix(name, ".new") {
			return fmt.Errorf("%s is left over", name)
		}
	}
	if logs != 1 {
		return fmt.Errorf("%d logs: %v", logs, d.Files())
	}
	return nil
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

func TestPowerFailsAtEveryOperation(t *testing.T) {
	t.Parallel()
	ctx := patient(t)
	d := vfs.NewDisk()
	var h history
	var failures []error
	count := 0
	hooked(d, func(k int, what string) {
		if raceEnabled && k%4 != 0 {
			return
		}
		for _, c := range crashes(k) {
			count++
			if err := h.whole(ctx, d.Crash(c), true, "last"); err != nil {
				failures = append(failures, fmt.Errorf("%s, %+v: %w", what, c, err))
			}
		}
	})
	require.NoError(t, scenario(ctx, &h, d.Process(), d.Process()))
	require.NoError(t, first(failures))
	t.Logf("%d crashes", count)
}

func first(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%d failures, the first: %w", len(errs), errs[0])
}

func TestPowerFailsAgainDuringRecovery(t *testing.T) {
	t.Parallel()
	ctx := patient(t)
	d := vfs.NewDisk()
	var h history
	var failures []error
	count := 0
	hooked(d, func(k int, what string) {
		some, every := crashes(k)[1:3], 43
		if soak() {
			some, every = crashes(k)[1:10], 7
		}
		if raceEnabled {
			every *= 4
		}
		if k%every != every/2 {
			return
		}
		for _, c := range some {
			crashed := d.Crash(c)
			hooked(crashed, func(n int, again string) {
				for _, e := range crashes(n)[:4] {
					count++
					if err := h.whole(ctx, crashed.Crash(e), true, "last"); err != nil {
						failures = append(failures, fmt.Errorf("%s, %+v, then %s, %+v: %w", what, c, again, e, err))
					}
				}
			})
			s, err := openStore(ctx, crashed.Process(), journal.Options{})
			if err != nil {
				failures = append(failures, fmt.Errorf("%s, %+v: %w", what, c, err))
				continue
			}
			failures = append(failures, nonNil(s.j.Close())...)
		}
	})
	require.NoError(t, scenario(ctx, &h, d.Process(), d.Process()))
	require.NoError(t, first(failures))
	t.Logf("%d second crashes", count)
}

func nonNil(err error) []error {
	if err == nil {
		return nil
	}
	return []error{err}
}

func TestAProcessIsKilledAtEveryOperation(t *testing.T) {
	t.Parallel()
	for victim := range 2 {
		t.Run(fmt.Sprint(victim), func(t *testing.T) {
			t.Parallel()
			ctx := patient(t)
			for k, done := victim, false; !done; k += stride(4, 11) {
				d := vfs.NewDisk()
				ps := [2]*vfs.Process{d.Process(), d.Process()}
				done = true
				where := ""
				hooked(d, func(n int, what string) {
					if n == k {
						done, where = false, what
						ps[victim].Kill()
					}
				})
				var h history
				_ = scenario(ctx, &h, ps[0], ps[1]) // the dead complain
				d.Before(nil)
				require.NoError(t, h.aftermath(ctx, d, k), where)
			}
		})
	}
}

// aftermath checks what processes leave that are gone, without and with a
// power failure.
func (h *history) aftermath(ctx context.Context, d *vfs.Disk, k int) error {
	for _, c := range crashes(k) {
		if err := h.whole(ctx, d.Crash(c), true, "last"); err != nil {
			return fmt.Errorf("%+v: %w", c, err)
		}
	}
	more := []string{"again", "and-again"}
	if err := h.whole(ctx, d, false, more...); err != nil {
		return err
	}
	h.tried = append(h.tried, more...)
	h.sure = append(h.sure, more...)
	for _, c := range crashes(k)[:3] {
		if err := h.whole(ctx, d.Crash(c), true, "last"); err != nil {
			return fmt.Errorf("later, %+v: %w", c, err)
		}
	}
	return nil
}

// requireHarmless is for failures that nobody was told of: of removing what is
// of no use, of closing what was only read, or of zeros written ahead for which
// there is no room.
func requireHarmless(t *testing.T, k int, fired string, cause error) {
	t.Helper()
	op, path, _ := strings.Cut(fired, " ")
	switch op {
	case "unlink", "close":
	case "readdir": // to see what there is to remove
	case "write":
		require.ErrorIs(t, cause, syscall.ENOSPC, "operation %d, %s", k, fired)
	default:
		require.Fail(t, "nobody was told", "operation %d, %s %s", k, op, path)
	}
}

// TestAnythingHappens lets operations fail, processes be killed and the power
// fail as the dice fall.
func TestAnythingHappens(t *testing.T) {
	t.Parallel()
	ctx := patient(t)
	runs := uint64(15)
	if soak() {
		runs = 1500
	}
	crashed, killed := 0, 0
	var failed atomic.Int64
	for seed := range runs {
		dice, other := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
		var mu sync.Mutex
		throw := func(n int) int {
			mu.Lock()
			defer mu.Unlock()
			return other.IntN(n)
		}
		d := vfs.NewDisk()
		var h history
		var failures []error
		var processes [2]*vfs.Process
		start := func(i int) vfs.FS {
			processes[i] = d.Process()
			return vfs.WithFaults(processes[i], func(string, string) error {
				if throw(150) == 0 {
					failed.Add(1)
					return []error{syscall.EIO, syscall.ENOSPC}[throw(2)]
				}
				return nil
			})
		}
		hooked(d, func(k int, what string) {
			if throw(40) == 0 {
				crashed++
				c := crashes(k)[throw(4)]
				if err := h.whole(ctx, d.Crash(c), true, "last"); err != nil {
					failures = append(failures, fmt.Errorf("%s, %+v: %w", what, c, err))
				}
			}
			if throw(200) == 0 {
				killed++
				processes[throw(2)].Kill()
			}
		})
		_ = wander(ctx, &h, [2]vfs.FS{start(0), start(1)}, dice, 40, func(i int) vfs.FS {
			if _, err := processes[i].FreeBytes(); !errors.Is(err, syscall.EBADF) {
				return nil
			}
			return start(i)
		})
		d.Before(nil)
		require.NoError(t, first(failures), "seed %d", seed)
		require.NoError(t, h.aftermath(ctx, d, int(seed)), "seed %d", seed)
	}
	t.Logf("%d crashes, %d kills, %d failures", crashed, killed, failed.Load())
}

func TestEveryOperationFails(t *testing.T) {
	t.Parallel()
	for start, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		t.Run(cause.Error(), func(t *testing.T) {
			t.Parallel()
			ctx := patient(t)
			for k := start; ; k += stride(2, 7) {
				d := vfs.NewDisk()
				var i fault.Injector
				i.Fail(k, cause)
				var h history
				err := scenario(ctx, &h, vfs.WithFaults(d.Process(), i.Hook), d.Process())
				fired := strings.Join(i.Fired(), ", ")
				if fired == "" {
					require.NoError(t, err)
					t.Logf("%d operations", k)
					return
				}
				if err == nil {
					requireHarmless(t, k, fired, cause)
				}
				require.NoError(t, h.aftermath(ctx, d, k), "operation %d, %s", k, fired)
			}
		})
	}
}

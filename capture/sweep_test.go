package capture_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

// scenario is one operation of this package in one setting. Everything that it
// reaches is counted, so that a fault can be put in at call 0, 1, 2 and so on.
type scenario struct {
	name  string
	world func(t testing.TB) *world
	run   func(ctx context.Context, w *world) error
	// done checks what must hold after a run that succeeded.
	done func(t testing.TB, w *world)
	// keeps tells that an error of the given call leaves the result in place.
	keeps func(call string) bool
	// strays tells that the engine cannot give pages back.
	strays bool
	// once tells that a second run can not be expected to succeed.
	once bool
}

// mode is what happens at the chosen call.
type mode string

const (
	failing    mode = "fail"
	panicking  mode = "panic"
	cancelling mode = "cancel"
	// A batch of copies ends in one of the bad ways.
	notStarted mode = "not-started"
	unknown    mode = "unknown"
)

// engineCalls are the calls that reach an engine.
var engineCalls = []string{
	"meta", "pause", "resume", "occupied", "sequences", "read", "allocate", "write", "install",
	"release", "reserve", "digest", "compare", "submit", "wait",
}

// calls are those at which the mode happens: an engine alone panics, a mover's
// Wait alone ends in a bad way. Without any it is all of them.
func (m mode) calls() []string {
	switch m {
	case panicking:
		return engineCalls
	case notStarted, unknown:
		return []string{"wait"} // so few that the race detector takes them all
	}
	return nil
}

// sweep runs the scenario with something happening at call 0, at call first, then
// every so many calls later, until a run is over before that call, and returns
// how often it happened.
func (sc *scenario) sweep(t *testing.T, m mode, first, every int) (faults int) {
	for k, next := 0, first; ; k, next = next, next+every {
		w := sc.world(t)
		before := w.condition(t)
		ctx, cancel := context.WithCancel(t.Context())
		w.calls.arm(k, m != failing, func(call string) error {
			switch m {
			case failing:
				return errMarker
			case notStarted:
				return errNotStarted
			case unknown:
				return errUnknown
			case panicking:
				panic(errMarker)
			case cancelling:
				cancel()
			}
			return nil
		}, m.calls()...)
		crash, err := guarded(func() error { return sc.run(ctx, w) })
		fired := w.calls.disarm()
		cancel()
		sc.judge(t, w, before, m, fired, err, crash)
		if t.Failed() {
			t.Fatalf("%s: %s at call %d, %q", sc.name, m, k, fired)
		}
		if fired == "" {
			return faults
		}
		faults++
	}
}

// guarded calls f and returns what it panicked with.
func guarded(f func() error) (crash any, err error) {
	defer func() { crash = recover() }()
	return nil, f()
}

func (sc *scenario) judge(t *testing.T, w *world, before condition, m mode, fired string, err error, crash any) {
	w.balanced(t)
	wanted := fired != "" && m == failing
	switch {
	case fired != "" && m == panicking:
		require.Equal(t, errMarker, crash, "%s: the panic at %q comes out", sc.name, fired)
		wanted = true
	case crash != nil:
		panic(crash)
	case fired != "" && m == notStarted:
		require.ErrorIs(t, err, errNotStarted)
		require.NotErrorIs(t, err, kvferry.ErrUnknownOutcome)
		wanted = true
	case fired != "" && m == unknown:
		require.ErrorIs(t, err, errUnknown)
		require.ErrorIs(t, err, kvferry.ErrUnknownOutcome)
		wanted = true
	case m == failing && wanted:
		require.ErrorIs(t, err, errMarker, "%s: the fault at %q surfaces", sc.name, fired)
	case m == cancelling && err != nil:
		require.ErrorIs(t, err, context.Canceled, "%s: cancelled at %q", sc.name, fired)
		wanted = true
	default:
		require.NoError(t, err, "%s: %s at %q", sc.name, m, fired)
	}
	late := w.moveLate(t)
	if late == 0 && !(m == panicking && fired == "submit") {
		require.Zero(t, w.alloc.live.Load(), "%s: staging memory is given back after %s at %q", sc.name, m, fired)
	}
	if !wanted || sc.keeps != nil && m == failing && sc.keeps(fired) {
		sc.done(t, w)
		w.sound(t)
		return
	}
	after := w.condition(t)
	fenced := sc.fenced(t, w, &after, before)
	require.Equal(t, before, after, "%s: after %s at %q all is as before", sc.name, m, fired)
	w.sound(t)
	if sc.once || fenced {
		return
	}
	require.NoError(t, sc.run(t.Context(), w), "%s: a run after %s at %q", sc.name, m, fired)
	w.balanced(t)
	sc.done(t, w)
	w.sound(t)
}

// fenced takes out of the condition what may differ: pages that an unknown
// copy may still write to, and pages that the engine cannot take back.
func (sc *scenario) fenced(t *testing.T, w *world, after *condition, before condition) (some bool) {
	for i, b := range w.books {
		for id := range b.fenced {
			some = true
			_, was := before.Pages[i][id]
			require.False(t, was, "a copy went to page %d, which was in use", id)
			delete(after.Pages[i], id)
			after.Free[i]++
		}
		if !sc.strays {
			continue
		}
		for id := range after.Pages[i] {
			if _, was := before.Pages[i][id]; !was {
				delete(after.Pages[i], id)
			}
		}
		after.Free[i] = before.Free[i]
	}
	return some
}

// sweepAll sweeps every scenario in every mode and reports the counts.
func sweepAll(t *testing.T, scs []scenario, modes ...mode) {
	t.Helper()
	for i, sc := range scs {
		for _, m := range modes {
			first, every := 1+i%thin, thin // the places left out differ
			if m == notStarted || m == unknown {
				first, every = 1, 1
			}
			t.Run(sc.name+"/"+string(m), func(t *testing.T) {
				t.Parallel()
				n := sc.sweep(t, m, first, every)
				require.Positive(t, n)
				t.Logf("%d faults", n)
			})
		}
	}
}

package caches

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// take runs a measure for about the time each, in ever longer batches, and
// returns what the last and longest took: nanoseconds and heap allocations of
// an operation.
func take(ctx context.Context, m measure, each time.Duration) (ns, allocs float64, err error) {
	for n := 1; ; {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		if err := m.run(ctx, n); err != nil {
			return 0, 0, err
		}
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		if took >= each {
			return float64(took.Nanoseconds()) / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n), nil
		}
		// A bit more than the whole time, and not much more at once than it
		// was: the first are cold.
		grown := int(float64(n) * 1.2 * float64(each) / float64(max(took, time.Microsecond)))
		n = min(max(grown, n+1), 100*n)
	}
}

// onAll runs n operations on all processors; each gets another seed.
func onAll(n int, do func(seed, n int) error) error {
	procs := runtime.GOMAXPROCS(0)
	errs := make([]error, procs)
	var wg sync.WaitGroup
	for p := range procs {
		wg.Go(func() { errs[p] = do(p, n*(p+1)/procs-n*p/procs) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

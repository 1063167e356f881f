package index

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"
)

// chunk is how many records are made before the clock goes on.
const chunk = 1024

// stopwatch is a clock that can stand still. It also counts the processor time of
// the whole process, which says more where other work runs beside.
type stopwatch struct {
	total      time.Duration
	began      time.Time
	cpu, since float64 // seconds
}

func (s *stopwatch) start() {
	s.since, _ = cpuSeconds() // 0 where it is not told, and then no rate is
	s.began = time.Now()
}

func (s *stopwatch) stop() {
	s.total += time.Since(s.began)
	now, _ := cpuSeconds()
	s.cpu += now - s.since
}

// perCPU is a rate in processor time: of nothing, or where a server does the
// work, 0.
func (s *stopwatch) perCPU(o *opened, n int) float64 {
	if s.cpu <= 0 || o.pid != os.Getpid() {
		return 0
	}
	return float64(n) / s.cpu
}

// perSecond is a rate, and 0 of nothing.
func perSecond(n int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// timed calls f up to n times, takes the time of each call, and ends early when
// limit is over or ctx ends. f returns how many records came back.
func timed(ctx context.Context, n int, limit time.Duration, f func(i int) (int, error)) (Latency, error) {
	ns := make([]int64, 0, min(n, 1<<20))
	records := 0
	begin := time.Now()
	for i := range n {
		start := time.Now()
		got, err := f(i)
		now := time.Now()
		if err != nil {
			return Latency{}, err
		}
		ns = append(ns, now.Sub(start).Nanoseconds())
		records += got
		if now.Sub(begin) > limit || len(ns) == cap(ns) {
			break
		}
		if i%1024 == 0 && ctx.Err() != nil {
			return Latency{}, ctx.Err()
		}
	}
	return latency(ns, records), nil
}

// want is an error if a call did not return what it had to: a figure of a wrong
// answer is worth nothing.
func want(what string, got, n int) error {
	if got != n {
		return fmt.Errorf("%s returned %d records, want %d", what, got, n)
	}
	return nil
}

func cores() string     { return fmt.Sprintf("%d cores", runtime.NumCPU()) }
func goVersion() string { return runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH }

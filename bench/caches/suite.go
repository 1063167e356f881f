package caches

import (
	"context"
	"time"

	"github.com/kvferry/kvferry/bench/harness"
)

// Suite measures the caches of kernels and pages for bench all.
func Suite() harness.Suite {
	return harness.Suite{Name: "caches", Title: "Caches of kernels and pages", Run: run}
}

// eachOf is how long one thing is measured in a round.
func eachOf(s harness.Scale) time.Duration {
	switch s {
	case harness.Full:
		return 200 * time.Millisecond
	case harness.Smoke:
		return time.Millisecond
	}
	return 100 * time.Millisecond
}

func run(ctx context.Context, e *harness.Env, s *harness.Section) error {
	figures, err := Run(ctx, Options{Dir: e.Dir, Rounds: e.Rounds, Each: eachOf(e.Scale)})
	if err != nil {
		return err
	}
	for i := range figures {
		f := &figures[i]
		s.Figure(f.Name, harness.Nanoseconds).Samples = f.samples
	}
	return nil
}

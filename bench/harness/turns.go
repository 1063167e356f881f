package harness

import (
	"context"
	"fmt"
	"runtime/pprof"
)

// Measure is one thing to measure: Once does it and returns the sample of a
// round, in the figure's unit.
type Measure struct {
	Figure *Figure
	Once   func(ctx context.Context) (float64, error)
	// Failed is told why Once failed, which then ends this measure and no other.
	// It is nil where the error ends the suite: of what is no peer's.
	Failed func(err error)
}

// once adds a sample. Profiles tell by the label figure which one took the time.
func (m *Measure) once(ctx context.Context) (err error) {
	pprof.Do(ctx, pprof.Labels("figure", m.Figure.Name), func(ctx context.Context) {
		var v float64
		if v, err = m.Once(ctx); err == nil {
			m.Figure.Add(v)
		}
	})
	return err
}

// Turns measures everything in turns, rounds times, each round beginning with
// another one, so that none has the machine of before or after the others.
func Turns(ctx context.Context, rounds int, all ...Measure) error {
	over := make([]bool, len(all))
	for r := range rounds {
		for i := range all {
			k := (r + i) % len(all)
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if over[k] {
				continue
			}
			err := all[k].once(ctx)
			if over[k] = err != nil && all[k].Failed != nil && ctx.Err() == nil; over[k] {
				all[k].Failed(err)
			} else if err != nil {
				return fmt.Errorf("bench: %s: %w", all[k].Figure.Name, err)
			}
		}
	}
	return nil
}

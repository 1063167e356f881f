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
	for r := range rounds {
		for i := range all {
			m := all[(r+i)%len(all)]
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if err := m.once(ctx); err != nil {
				return fmt.Errorf("bench: %s: %w", m.Figure.Name, err)
			}
		}
	}
	return nil
}

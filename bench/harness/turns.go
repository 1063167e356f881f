package harness

import (
	"context"
	"fmt"
)

// Measure is one thing to measure: Once does it and returns the sample of a
// round, in the figure's unit.
type Measure struct {
	Figure *Figure
	Once   func(ctx context.Context) (float64, error)
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
			v, err := m.Once(ctx)
			if err != nil {
				return fmt.Errorf("bench: %s: %w", m.Figure.Name, err)
			}
			m.Figure.Add(v)
		}
	}
	return nil
}

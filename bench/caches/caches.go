// Package caches measures the pipeline caches and the page cache, each beside
// what it is held against, in turns in one run: so a figure and its reference
// see the same machine.
package caches

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/kvferry/kvferry"
)

// Options say how long it takes.
type Options struct {
	// Dir is where the folder of a run is made, and removed; it has to have
	// 64 MiB of room.
	Dir string
	// Rounds is how often everything is measured, in turns; 3 if it is 0.
	Rounds int
	// Each is how long one thing is measured in a round; 200 ms if it is 0.
	Each time.Duration
}

// EnsureDefaults fills in what is zero.
func (o *Options) EnsureDefaults() {
	if o.Rounds == 0 {
		o.Rounds = 3
	}
	if o.Each == 0 {
		o.Each = 200 * time.Millisecond
	}
}

// Validate returns everything that is wrong, as ErrInvalid.
func (o *Options) Validate() error {
	var errs []error
	if o.Dir == "" {
		errs = append(errs, fmt.Errorf("bench: no folder: %w", kvferry.ErrInvalid))
	}
	if o.Rounds < 0 || o.Each < 0 {
		errs = append(errs, fmt.Errorf("bench: %d rounds of %v: %w", o.Rounds, o.Each, kvferry.ErrInvalid))
	}
	return errors.Join(errs...)
}

// Figure is what was measured of one thing: nanoseconds for each operation,
// medians and bounds of the rounds.
type Figure struct {
	Name          string  `json:"name"`
	Nanoseconds   float64 `json:"ns"`
	Least         float64 `json:"ns_least"`
	Most          float64 `json:"ns_most"`
	BytesPerSec   float64 `json:"bytes_per_second,omitempty"`
	Versus        string  `json:"versus,omitempty"` // the reference of Ratio
	Ratio         float64 `json:"ratio,omitempty"`  // median of the rounds' speeds by the reference's
	AllocsPerOp   float64 `json:"allocs_per_op"`
	samples       []float64
	bytesPerOp    int
	compareWith   int // index of the reference, or -1
	allocsSamples []float64
	key           string
}

// measure is one thing to measure: run does n operations.
type measure struct {
	name    string
	key     string // the name in a report of all suites
	bytes   int    // of an operation, if a rate means something
	against string
	run     func(ctx context.Context, n int) error
}

// Run measures. What was measured until ctx ended is lost.
func Run(ctx context.Context, o Options) (figures []Figure, err error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Dir, "kvferry-bench-")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("bench: %w: %w", kvferry.ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	all, closeAll, err := measures(ctx, dir)
	defer func() { err = errors.Join(err, closeAll()) }()
	if err != nil {
		return nil, err
	}
	figures = make([]Figure, len(all))
	for i, m := range all {
		figures[i] = Figure{Name: m.name, Versus: m.against, bytesPerOp: m.bytes, compareWith: -1, key: m.key}
		if m.against != "" {
			figures[i].compareWith = slices.IndexFunc(all, func(x measure) bool { return x.name == m.against })
		}
	}
	for range o.Rounds {
		for i, m := range all {
			ns, allocs, err := take(ctx, m, o.Each)
			if err != nil {
				return nil, fmt.Errorf("bench: %s: %w", m.name, err)
			}
			figures[i].samples = append(figures[i].samples, ns)
			figures[i].allocsSamples = append(figures[i].allocsSamples, allocs)
		}
	}
	for i := range figures {
		figures[i].finish(figures)
	}
	return figures, nil
}

// finish works out the medians.
func (f *Figure) finish(all []Figure) {
	f.Nanoseconds, f.Least, f.Most = median(f.samples), slices.Min(f.samples), slices.Max(f.samples)
	f.AllocsPerOp = median(f.allocsSamples)
	if f.bytesPerOp > 0 {
		f.BytesPerSec = float64(f.bytesPerOp) / f.Nanoseconds * 1e9
	}
	if f.compareWith >= 0 {
		ratios := make([]float64, len(f.samples))
		for i, ns := range f.samples {
			ratios[i] = all[f.compareWith].samples[i] / ns
		}
		f.Ratio = median(ratios)
	}
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

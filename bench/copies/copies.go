// Package copies measures, on one GPU, the ways in which pager/gpu can copy the
// runs of pages, over lengths and numbers of runs, and makes the table from it
// by which pager/gpu chooses.
//
// Each way moves the same pages through the same pinned memory, in turns. What
// counts is the rate of jobs of which several are under way, as in a capture:
// so neither the wait for a job nor the pause between two looks at the device
// is part of a time, as long as the jobs that wait keep the device busy. Jobs of
// less than a tenth of a millisecond may not: their times are those of the
// pager, and of the host that it runs on. Beside them stands the link: copies of
// one piece of the same bytes, back to back, timed by events on the device, so
// that no wait of the host is part of it at all. Every way's bytes are checked
// once before its times count.
package copies

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager/gpu"
)

// Options say what is measured, and how long it takes.
type Options struct {
	// Device is the ordinal of the GPU.
	Device int
	// RunBytes are the lengths of runs to measure, ascending; nil means 512 B to
	// 4 MiB.
	RunBytes []int64
	// Runs are the numbers of runs in one job, ascending; nil means 1 to 4096.
	Runs []int64
	// MaxBytes bounds a job; longer ones are left out. 256 MiB if it is 0. It is
	// taken twice in pinned memory and up to five times on the device.
	MaxBytes int64
	// Rounds is how often everything is measured, in turns; 3 if it is 0.
	Rounds int
	// Each is how long one way is measured in a round; 20 ms if it is 0.
	Each time.Duration
	// Progress, if set, is called before each length of runs.
	Progress func(runBytes int64)
}

// EnsureDefaults fills in what is zero.
func (o *Options) EnsureDefaults() {
	if o.RunBytes == nil {
		o.RunBytes = []int64{512, 2 << 10, 8 << 10, 32 << 10, 128 << 10, 512 << 10, 4 << 20}
	}
	if o.Runs == nil {
		o.Runs = []int64{1, 4, 16, 256, 4096}
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 256 << 20
	}
	if o.Rounds == 0 {
		o.Rounds = 3
	}
	if o.Each == 0 {
		o.Each = 20 * time.Millisecond
	}
}

// The bounds of Options, so that the table can hold what is measured.
const (
	maxLengths  = 8
	maxNumbers  = 8
	maxRunBytes = 64 << 20
	maxRuns     = 1 << 20
	maxJobBytes = 1 << 30
)

// Validate returns everything that is wrong, as ErrInvalid.
func (o *Options) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("bench: "+format+": %w", append(args, kvferry.ErrInvalid)...))
		}
	}
	check(o.Device >= 0, "device %d", o.Device)
	check(rising(o.RunBytes, maxLengths, maxRunBytes), "lengths of runs %v, want up to %d rising ones of up to %d", o.RunBytes, maxLengths, int64(maxRunBytes))
	check(rising(o.Runs, maxNumbers, maxRuns), "numbers of runs %v, want up to %d rising ones of up to %d", o.Runs, maxNumbers, int64(maxRuns))
	check(o.MaxBytes >= 0 && o.MaxBytes <= maxJobBytes, "jobs of up to %d bytes, want at most %d", o.MaxBytes, int64(maxJobBytes))
	check(o.Rounds >= 0 && o.Each >= 0, "%d rounds of %v", o.Rounds, o.Each)
	if len(errs) == 0 && len(o.RunBytes) > 0 && len(o.Runs) > 0 && o.MaxBytes > 0 {
		check(o.RunBytes[0]*o.Runs[0] <= o.MaxBytes, "no job has at most %d bytes", o.MaxBytes)
	}
	return errors.Join(errs...)
}

// rising reports whether ns are at most count positive numbers that rise up to
// most.
func rising(ns []int64, count int, most int64) bool {
	for i, n := range ns {
		if n < 1 || n > most || i > 0 && n <= ns[i-1] {
			return false
		}
	}
	return len(ns) <= count
}

// Point is what was measured of one direction, length and number of runs.
// Times are medians of the rounds, in nanoseconds for one job of several under
// way.
type Point struct {
	Direction string  `json:"direction"` // "out" or "in"
	RunBytes  int64   `json:"run_bytes"`
	Runs      int64   `json:"runs"`
	Direct    float64 `json:"direct_ns"`
	Staged    float64 `json:"staged_ns"`
	Plain     float64 `json:"plain_ns"`
	// Link is the time of the copy of one piece of the same bytes, of several
	// back to back, by the device's own clock.
	Link float64  `json:"link_ns"`
	Best gpu.Path `json:"best"`
}

// of returns the time of a way.
func (p *Point) of(w gpu.Path) *float64 {
	switch w {
	case gpu.Direct:
		return &p.Direct
	case gpu.Staged:
		return &p.Staged
	}
	return &p.Plain
}

// Bytes returns the bytes of one job.
func (p *Point) Bytes() int64 { return p.RunBytes * p.Runs }

// Result is what Run found.
type Result struct {
	Device string       `json:"device"`
	UUID   string       `json:"uuid"`
	Driver cuda.Version `json:"driver"`
	Rounds int          `json:"rounds"`
	Points []Point      `json:"points"`
	// Paths is the table to give to gpu.Config.
	Paths *gpu.Paths `json:"paths"`
}

// ways are what is compared, the simplest first.
func ways() []gpu.Path { return []gpu.Path{gpu.Direct, gpu.Staged, gpu.Plain} }

// Run measures. It returns ErrNoDevice where there is none; what was measured
// until ctx ended is lost.
func Run(ctx context.Context, o Options) (res Result, err error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return Result{}, err
	}
	d, err := cuda.Open(o.Device, cuda.Options{})
	if err != nil {
		return Result{}, fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	k, err := kernels.Open(ctx, d, nil)
	if err != nil {
		return Result{}, fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	f := d.Facts()
	res = Result{Device: f.Name, UUID: f.UUID, Driver: f.Driver, Rounds: o.Rounds}
	b := &bench{o: o, device: d, kernels: k}
	for _, n := range o.RunBytes {
		points, err := b.length(ctx, n)
		if err != nil {
			return Result{}, fmt.Errorf("bench: runs of %d bytes: %w", n, err)
		}
		res.Points = append(res.Points, points...)
	}
	slices.SortStableFunc(res.Points, func(a, b Point) int { return -compareText(a.Direction, b.Direction) })
	res.Paths = &gpu.Paths{
		Device: f.Name, UUID: f.UUID, Driver: int(f.Driver), Out: rules(res.Points, "out"), In: rules(res.Points, "in"),
	}
	return res, nil
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

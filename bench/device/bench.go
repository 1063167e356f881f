package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pipelinecache/disk"
)

// bench is one part's run, in a process of its own.
type bench struct {
	ctx      context.Context
	options  options
	scale    scale
	journal  journal
	stderr   io.Writer
	deadline time.Time
	part     string

	device  *cuda.Device
	set     *kernels.Set
	data    []byte         // of the pool, see pool
	painter []byte         // see pinnedPool
	closers []func() error // of what a row took, then of the device
	atEnd   []func() error // of what stays until the part ends
}

// scale says how much is moved.
type scale struct {
	rounds    int
	linkBytes int64
	poolBytes int64 // kept odd against every stride, see pool
	// paths
	pathBytes, pathCopies int64
	runBytes              []int64
	jobRuns               []int64
	// caches
	cachePages, capturePages int
	jobBytes                 int64
	loadTokens               []int
	loads                    int
	// digests
	digestBytes []int64
	pinBytes    []int64
	matrix      int // side of the product
	window      time.Duration
	batches     []int
	torchPages  int
	// planes
	codedBytes int64
	codedPages int
}

func full() scale {
	return scale{
		rounds: 5, linkBytes: 1 << 30, poolBytes: 64 << 20,
		pathBytes: 512 << 20, pathCopies: 1 << 17,
		// What goals are about comes first, in case the time is not enough for all.
		runBytes: []int64{8 << 10, 2 << 10, 64 << 10, 32 << 10, 4 << 10, 16 << 10, 512, 256 << 10, 1 << 20, 4 << 20},
		jobRuns:  []int64{4096, 128},
		// 38,619 pages of 352 KiB are 13.92 GB.
		cachePages: 38619, capturePages: 8192, jobBytes: 32 << 20,
		loadTokens: []int{1 << 10, 8 << 10, 32 << 10}, loads: 50,
		digestBytes: []int64{1 << 20, 16 << 20, 64 << 20, 256 << 20, 8 << 30},
		pinBytes:    []int64{1 << 30, 8 << 30, 64 << 30},
		matrix:      8192, window: 800 * time.Millisecond,
		batches: []int{1, 16, 256, 4096}, torchPages: 256,
		codedBytes: 1 << 30, codedPages: 4096,
	}
}

func small() scale {
	return scale{
		rounds: 1, linkBytes: 1 << 20, poolBytes: 256 << 10,
		pathBytes: 64 << 10, pathCopies: 16,
		runBytes: []int64{512, 8 << 10}, jobRuns: []int64{4},
		cachePages: 21, capturePages: 20, jobBytes: 1 << 20,
		loadTokens: []int{32}, loads: 2,
		digestBytes: []int64{1 << 20}, pinBytes: []int64{1 << 20},
		matrix: 256, window: 20 * time.Millisecond,
		batches: []int{1, 16}, torchPages: 6,
		codedBytes: 1 << 19, codedPages: 3,
	}
}

func newBench(ctx context.Context, o options, stderr io.Writer) *bench {
	b := &bench{ctx: ctx, options: o, scale: full(), journal: journalIn(o.out), stderr: stderr, part: o.part}
	if o.small {
		b.scale = small()
	}
	b.deadline = time.Now().Add(o.budget)
	return b
}

// open opens the device.
func (b *bench) open() error {
	if b.device != nil {
		return nil
	}
	d, err := cuda.Open(0, cuda.Options{})
	if err != nil {
		return err
	}
	b.device = d
	b.later(d.Close)
	return nil
}

// kernels opens the device and the kernels, compiled once for all parts.
func (b *bench) kernels() error {
	if b.set != nil {
		return nil
	}
	if err := b.open(); err != nil {
		return err
	}
	cache, err := disk.Open(filepath.Join(b.options.work, "pipelines"), disk.Options{})
	if err != nil {
		return err
	}
	set, err := kernels.Open(b.ctx, b.device, cache)
	if err != nil {
		return err
	}
	b.set = set
	b.later(set.Close)
	return nil
}

// later has f called when the part ends, last ones first.
func (b *bench) later(f func() error) { b.closers = append(b.closers, f) }

// software reports whether the driver is one for tests.
func (b *bench) software() bool {
	return strings.Contains(strings.ToLower(b.device.Facts().Name), "software")
}

// mark returns how much is to be closed.
func (b *bench) mark() int { return len(b.closers) }

// closeTo closes what came after a mark.
func (b *bench) closeTo(mark int) error {
	var errs []error
	for len(b.closers) > mark {
		last := len(b.closers) - 1
		f := b.closers[last]
		b.closers = b.closers[:last]
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// close closes all; what stays until the end was taken on the device.
func (b *bench) close() error {
	b.closers = slices.Insert(b.closers, min(1, len(b.closers)), b.atEnd...)
	b.atEnd = nil
	return b.closeTo(0)
}

// late reports whether the part's time is over.
func (b *bench) late() bool { return b.ctx.Err() != nil || time.Now().After(b.deadline) }

// measure fills in a row by f and notes it. Its failure is the row's; only what
// ends the part is returned: a lost device, a cancelled run, a row that cannot be
// written. What f took is closed.
func (b *bench) measure(r *row, f func(r *row) error) error {
	r.Part = b.part
	if b.late() {
		r.Error, r.Missing = "not measured: the part's time is up", true
		return b.journal.add(r)
	}
	mark := b.mark()
	err := f(r)
	if astray(err) {
		// Copies may still run: nothing that they use is given back, and the end
		// of the process ends them.
		b.closers, b.atEnd = nil, nil
	}
	if err = errors.Join(err, b.closeTo(mark)); err == nil {
		return b.journal.add(r)
	}
	r.Error = err.Error()
	if !astray(err) && b.ctx.Err() == nil {
		err = nil
	}
	return errors.Join(err, b.journal.add(r))
}

// astray reports whether copies may run that nobody can wait for.
func astray(err error) bool {
	return errors.Is(err, kvferry.ErrDeviceLost) || errors.Is(err, kvferry.ErrUnknownOutcome)
}

// fact notes something that is no number.
func (b *bench) fact(what, text string) error {
	return b.journal.add(&row{Part: b.part, What: what, Text: text})
}

// missing notes that something could not be measured here, and why.
func (b *bench) missing(what string, g goalID, why error) error {
	return b.journal.add(&row{Part: b.part, What: what, Goal: g, Error: why.Error(), Missing: true})
}

// timed is something that takes time, in seconds.
type timed func() (float64, error)

// clocked takes the time of f.
func clocked(f func() error) timed {
	return func() (float64, error) {
		start := time.Now()
		err := f()
		return time.Since(start).Seconds(), err
	}
}

// turns calls fs in turns: once to warm up, then as often as the scale says, or
// until the part's time is up, though once at least.
func (b *bench) turns(fs ...timed) ([][]float64, error) {
	out := make([][]float64, len(fs))
	for round := range b.scale.rounds + 1 {
		if round > 1 && b.late() {
			break
		}
		for i, f := range fs {
			took, err := f()
			if err != nil {
				return nil, err
			}
			if round > 0 {
				out[i] = append(out[i], took)
			}
		}
	}
	return out, nil
}

// versus fills a row of bytes moved in took, beside the limit's time for as
// many.
func (r *row) versus(took, limit []float64, name string) {
	r.Unit, r.Samples = perSecond, rates(float64(r.Bytes), took)
	r.Ratios, r.Limit = ratios(limit, took), name
}

// checked says in the row what a look at the bytes found.
func (r *row) checked(err error) {
	switch {
	case err == nil:
		r.Check = checkOK
	case errors.Is(err, context.Canceled):
		r.Error, r.Missing = "the bytes were not looked at: the run was stopped", true
	default:
		r.Check = err.Error()
	}
}

// errWrong is a byte that is not what it has to be.
var errWrong = fmt.Errorf("bytes are not what they have to be: %w", kvferry.ErrCorrupt)

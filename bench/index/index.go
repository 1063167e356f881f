// Package index measures residency indexes: the workload of the harness that
// QuillCache's own index is measured by, and what that one leaves out: bytes
// that the kernel counted, misses, long results, removals, several clients at
// once, 10^4 records and 10^6 and more, prompts that are matched, durable
// writes, reopening, and a process that is killed while it writes.
//
// Each backend is measured in processes of its own, so that the kernel's counts
// of bytes and memory are that backend's alone. Every figure is taken beside
// what the machine itself gives in the same run, see Limits, and beside peers,
// whose programs report the same document.
//
// Records are made before the clock starts, in chunks, and the clock stands
// still between them: the figures are of the index, not of making strings. The
// peers do the same.
package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/kvferry/kvferry"
)

// Options say what is measured, and for how long.
type Options struct {
	// Backends are names of Backends; "all" stands for those that this machine has.
	Backends []string
	Harness  Harness
	// Records are sizes of populations to measure besides the harness's workload.
	Records []int
	// Clients share a population in the mixed load.
	Clients int
	// Each is how long one thing of a population is measured at most, Fill how
	// long it may take to fill one; what is reached then is measured.
	Each, Fill time.Duration
	// Kill is how many records a process that is killed is to write; 0: none is.
	Kill int
	// Events is how many blocks are sent through a socket; 0: none.
	Events int
	// Rounds is how often everything is done, in turns.
	Rounds int
	// Dir is where a run's folder is made and removed.
	Dir string
	// Peers is a folder of programs to run beside; "" runs none.
	Peers string
	// PeerMost is the largest of Records that they are asked for; 0 is all.
	PeerMost int
	// Self is a command that runs Child with the arguments that are added.
	Self []string
	// Progress is told of each step, if it is set.
	Progress func(step string)
}

// Harness is the workload of the original's harness, by its flags.
type Harness struct {
	Requests     int    `json:"requests"`
	SharedBlocks int    `json:"shared_prefix_blocks"`
	UniqueBlocks int    `json:"unique_blocks"`
	BlockTokens  uint32 `json:"block_tokens"`
	BlockBytes   uint64 `json:"block_bytes"`
	ScanQueries  int    `json:"scan_queries"`
	ChurnOps     int    `json:"churn_ops"`
}

// Defaults returns the options that a run without flags has.
func Defaults() Options {
	return Options{
		Backends: []string{"memory"},
		Harness: Harness{
			Requests: 2000, SharedBlocks: 16, UniqueBlocks: 4, BlockTokens: 64,
			BlockBytes: 4 << 20, ScanQueries: 20000,
		},
		Clients: 4, Each: 2 * time.Second, Fill: time.Minute, Rounds: 1, Dir: os.TempDir(),
	}
}

// The most that is measured: what would take a machine's memory is refused.
const (
	maxPuts    = 1 << 28
	maxRecords = 1 << 27
	maxClients = 1 << 12
)

// Validate returns everything that is wrong, as ErrInvalid.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("bench index: "+format+": %w", append(args, kvferry.ErrInvalid)...))
	}
	h := o.Harness
	for _, n := range []int{h.Requests, h.SharedBlocks, h.UniqueBlocks, h.ScanQueries, h.ChurnOps, o.Kill, o.Events} {
		if n < 0 || n > maxPuts {
			bad("a count of %d, want 0 to %d", n, maxPuts)
		}
	}
	if blocks := float64(h.SharedBlocks) + float64(h.UniqueBlocks); float64(h.Requests)*blocks > maxPuts || float64(h.ChurnOps)*blocks > maxPuts {
		bad("more than %d operations", maxPuts)
	}
	for _, n := range o.Records {
		if n < 1 || n > maxRecords {
			bad("a population of %d records, want 1 to %d", n, maxRecords)
		}
	}
	if o.Clients < 1 || o.Clients > maxClients || o.Rounds < 1 || o.Each <= 0 || o.Fill <= 0 {
		bad("%d clients, %d rounds, %v each and %v to fill: want 1 or more, of more than 0", o.Clients, o.Rounds, o.Each, o.Fill)
	}
	if len(o.Self) == 0 || o.Dir == "" || len(o.Backends) == 0 {
		bad("no command for children, no folder, or no backend")
	}
	return errors.Join(errs...)
}

// Result is what a run found.
type Result struct {
	Machine string   `json:"machine"`
	Limits  Limits   `json:"limits"`
	Reports []Report `json:"reports"`
	// Missing are backends that "all" left out and peers that failed, with the
	// reason.
	Missing []Missing `json:"missing,omitempty"`
}

// Missing is a backend or peer that could not be measured.
type Missing struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Run measures. What was measured until ctx ended is lost.
func Run(ctx context.Context, o Options) (res Result, err error) {
	if err := o.Validate(); err != nil {
		return res, err
	}
	dir, err := os.MkdirTemp(o.Dir, "kvferry-bench-")
	if errors.Is(err, fs.ErrNotExist) {
		return res, fmt.Errorf("bench index: %w: %w", kvferry.ErrNotFound, err)
	}
	if err != nil {
		return res, fmt.Errorf("bench index: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if dir, err = filepath.Abs(dir); err != nil {
		return res, fmt.Errorf("bench index: %w", err)
	}
	r := &run{Options: o, dir: dir}
	chosen, missing, err := choose(o.Backends)
	if err != nil {
		return res, err
	}
	res.Missing, res.Machine = missing, machine(dir)
	if res.Limits, err = measureLimits(ctx, dir); err != nil {
		return res, err
	}
	programs, err := peers(o.Peers)
	if err != nil {
		return res, err
	}
	for round := range o.Rounds {
		for _, b := range chosen {
			rep, err := r.backend(ctx, b)
			if err != nil {
				return res, fmt.Errorf("bench index: %s: %w", b.Name, err)
			}
			rep.Round = round + 1
			res.Reports = append(res.Reports, rep)
		}
		if programs, err = r.peers(ctx, programs, round+1, &res); err != nil {
			return res, err
		}
	}
	return res, nil
}

// run is one run.
type run struct {
	Options
	dir    string
	serial int
}

func (r *run) progress(format string, args ...any) {
	if r.Progress != nil {
		r.Progress(fmt.Sprintf(format, args...))
	}
}

// folder returns the path of a new folder, which is not made yet.
func (r *run) folder() string {
	r.serial++
	return filepath.Join(r.dir, fmt.Sprint(r.serial))
}

// backend does everything with one backend.
func (r *run) backend(ctx context.Context, b *Backend) (Report, error) {
	var rep Report
	t := task{Backend: b.Name, Harness: r.Harness, Clients: r.Clients, Each: r.Each, Fill: r.Fill}
	t.Part = partHarness
	if err := r.part(ctx, b, t, &rep); err != nil {
		return rep, err
	}
	for _, n := range slices.Sorted(slices.Values(r.Records)) {
		var p Population
		t.Part, t.Records = partPopulation, n
		if err := r.part(ctx, b, t, &p); err != nil {
			return rep, fmt.Errorf("%d records: %w", n, err)
		}
		rep.Populations = append(rep.Populations, p)
	}
	if r.Kill > 0 && b.outlives() {
		t.Records = r.Kill
		k, err := r.kill(ctx, b, t)
		if err != nil {
			return rep, fmt.Errorf("kill: %w", err)
		}
		rep.Kill = &k
	}
	if r.Events > 0 && b.Most == 0 {
		t.Records = r.Events
		e, err := r.publish(ctx, b, t)
		if err != nil {
			return rep, fmt.Errorf("events: %w", err)
		}
		rep.Events = &e
	}
	return rep, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// part is one of the things to find out.
type part struct {
	name   string
	budget time.Duration
	title  string
	run    func(b *bench) error
}

// parts lists what a run does, in order: what matters most comes first, since a
// run may be stopped.
func parts() []part {
	return []part{
		{"facts", 10 * time.Second, "The machine and the device", facts},
		{"link", 20 * time.Second, "The link: contiguous copies between pinned and device memory", measureLink},
		{"cache", 60 * time.Second, "A whole cache of TinyLlama's shape, out and back", measureCache},
		{"digest", 30 * time.Second, "BLAKE3 on the device", measureDigest},
		{"incremental", 50 * time.Second, "Incremental capture", measureIncremental},
		{"paths", 55 * time.Second, "Scattered runs by the three paths", measurePaths},
		{"duplex", 15 * time.Second, "Both directions at once", measureDuplex},
		{"load", 15 * time.Second, "Time to load a prefix", measureLoad},
		{"corun", 55 * time.Second, "A matrix product beside the copies", measureCorun},
		{"coded", 20 * time.Second, "Pages coded as planes, on the device and over the link", measureCoded},
		{"costs", 15 * time.Second, "What submissions and launches cost", measureCosts},
		{"torch", 30 * time.Second, "PyTorch's tensors, gathered, hashed and restored", measureTorch},
		{"pinning", 25 * time.Second, "Pinning host memory", measurePinning},
	}
}

// total is the time of all parts.
func total() time.Duration {
	var t time.Duration
	for _, p := range parts() {
		t += p.budget
	}
	return t
}

// wholePart is what the row of a part's own time is called.
const wholePart = "part"

// Times that a part has beyond its own: to close what it opened, and to end
// after it was told to. A part that goes on is killed.
const (
	grace   = 10 * time.Second
	killing = 5 * time.Second
)

// runAll runs each part as a child and writes the page after each.
func runAll(ctx context.Context, o options, stderr io.Writer) (err error) {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if o.work == "" {
		if o.work, err = os.MkdirTemp("", "kvferry-device-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.work)) }()
	}
	j := journalIn(o.out)
	if err := j.begin(); err != nil {
		return err
	}
	pattern := regexp.MustCompile(o.only)
	start := time.Now()
	var failed []error
	for _, p := range parts() {
		if !pattern.MatchString(p.name) {
			continue
		}
		failed = append(failed, runChild(ctx, self, o, p, start, j, stderr))
		failed = append(failed, writeResults(o))
	}
	if ctx.Err() != nil {
		failed = append(failed, fmt.Errorf("stopped: what was measured until then is in %s: %w", o.out, ctx.Err()))
	}
	return errors.Join(append(failed, verdict(j))...)
}

// verdict is an error if a part failed or bytes were wrong, so that the exit
// status says it. What a machine lacks is none.
func verdict(j journal) error {
	rows, err := j.rows()
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range rows {
		switch {
		case r.Check != "" && r.Check != checkOK:
			errs = append(errs, fmt.Errorf("%s: %s: %s: %w", r.Part, r.label(), r.Check, errWrong))
		case r.Error != "" && !r.Missing:
			errs = append(errs, fmt.Errorf("%s: %s: %s", r.Part, r.label(), r.Error))
		}
	}
	return errors.Join(errs...)
}

// runChild runs one part and notes how it ended. A part that failed is a row.
func runChild(ctx context.Context, self string, o options, p part, start time.Time, j journal, stderr io.Writer) error {
	budget := min(o.scaled(p.budget), o.budget-time.Since(start))
	if ctx.Err() != nil || budget < time.Second {
		return j.add(&row{Part: p.name, What: wholePart, Error: "not measured: time is up"})
	}
	began := time.Now()
	child, stop := context.WithTimeout(ctx, budget+grace)
	defer stop()
	cmd := exec.CommandContext(child, self, append(o.args(), "-part", p.name, "-budget", budget.String())...)
	cmd.Stdout, cmd.Stderr = stderr, stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killing
	err := cmd.Run()
	took := time.Since(began)
	_, _ = fmt.Fprintf(stderr, "device: %s: %.1f s of %v\n", p.name, took.Seconds(), budget.Round(time.Second)) // nobody can be told
	r := &row{Part: p.name, What: wholePart, Unit: seconds, Samples: []float64{took.Seconds()}}
	if err != nil {
		r.Error = fmt.Sprintf("ended early: %v", err)
	}
	return j.add(r)
}

// scaled is a part's share of a budget that is not the whole one.
func (o options) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * float64(min(o.budget, total())) / float64(total()))
}

// args are the flags that a child is given.
func (o options) args() []string {
	a := []string{"-out", o.out, "-work", o.work, "-commit", o.commit, "-tools", o.tools, "-python", o.python}
	if o.small {
		a = append(a, "-small")
	}
	return a
}

// runPart is the child. A part's own failure is a row, and the child's, too, so
// that the exit status says it.
func runPart(ctx context.Context, o options, stderr io.Writer) error {
	for _, p := range parts() {
		if p.name != o.part {
			continue
		}
		b := newBench(ctx, o, stderr)
		err := errors.Join(p.run(b), b.close())
		if err != nil {
			return errors.Join(err, b.journal.add(&row{Part: p.name, What: "failure", Error: err.Error()}))
		}
		return nil
	}
	return fmt.Errorf("no part %q", o.part)
}

// absolute makes a path that a child in another folder understands.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// Command store measures a store on disk beside what the disk and others do on
// the same disk, and prints the figures as a Markdown page.
//
// Everything is a ratio of things measured in one run, in turns, on one
// directory: fio's sequential rates, one file per blob with fsync, a copy loop
// with O_DIRECT, restic and kopia. The first table says under which conditions
// the run was made, so that the page can be repeated.
//
//	store -dir DIR [-store pack] [-peers DIR] [-only REGEXP] [-out FILE] [-raw FILE]
//
// Nothing outside a new folder below DIR is touched, and that folder is removed
// in the end. -scale smoke runs everything on a few megabytes to see that it
// works; its figures mean nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "store:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	dir, store, peers, only, out, raw, scale, commit string
	rounds                                           int
	list                                             bool
}

// run is main without the process around it. As a child of another run it does
// one task of that.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == childArg {
		return runChild(ctx, args[1:], stdout)
	}
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	pattern, err := regexp.Compile(o.only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	if o.list {
		for _, m := range measures() {
			if _, err := fmt.Fprintf(stdout, "%-10s %s\n", m.name, m.title); err != nil {
				return err
			}
		}
		return nil
	}
	b, err := newBench(ctx, o, stderr)
	if err != nil {
		return err
	}
	defer b.close()
	for _, m := range measures() {
		if !pattern.MatchString(m.name) {
			continue
		}
		if err := b.measure(ctx, m); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return b.report.write(o, stdout)
}

// parse reads the flags.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("store", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.dir, "dir", "", "directory on the disk to measure (required)")
	f.StringVar(&o.store, "store", backends()[0].name, "store to measure: "+backendNames())
	f.StringVar(&o.peers, "peers", "", "directory of the binaries of restic and kopia; without it they are left out")
	f.StringVar(&o.only, "only", "", "regular expression of the measurements to run (-list)")
	f.StringVar(&o.out, "out", "", "file for the Markdown page; standard output without it")
	f.StringVar(&o.raw, "raw", "", "file for every sample, as JSON")
	f.StringVar(&o.scale, "scale", "full", "full or smoke")
	f.StringVar(&o.commit, "commit", "unknown", "commit to name in the page")
	f.IntVar(&o.rounds, "rounds", 0, "rounds of each measurement; 0 leaves it to the scale")
	f.BoolVar(&o.list, "list", false, "list the measurements")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("no such argument: %s", strings.Join(f.Args(), " "))
	}
	if o.dir == "" && !o.list {
		return o, errors.New("-dir is missing")
	}
	return o, nil
}

// measure runs one measurement and drops what it left behind.
func (b *bench) measure(ctx context.Context, m measure) error {
	start := time.Now()
	b.logf("%s ...", m.name)
	s := b.report.section(m.name, m.title)
	if err := m.run(ctx, b, s); err != nil {
		return err
	}
	b.logf("%s done in %.1f s", m.name, time.Since(start).Seconds())
	return b.settle()
}

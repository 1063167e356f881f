// Command device measures the GPU path on a machine with a GPU and answers the
// lines of the performance goals.
//
// Everything that has a limit is measured beside it, in turns, in one process:
// a copy beside one contiguous copy of as many bytes, a digest beside the
// multiprocessors' rate of integer instructions. Each part runs in a process of
// its own within its own time, so that a part which hangs or loses the device
// ends alone. Each figure is written as one line of JSON as soon as it is known,
// and the page is written anew after each part: a run that is stopped leaves
// what it had.
//
//	device -out DIR [-only REGEXP] [-budget 5m] [-small] [-commit NAME]
//	device -list            the parts, their time and what they measure
//	device -pending         the table of goals before anything was measured
//
// -small moves a few megabytes, to see that everything works; its figures mean
// nothing, and on a software driver none do.
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
		fmt.Fprintln(os.Stderr, "device:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	out, work, only, commit, tools, python, part string
	budget                                       time.Duration
	small, list, pending                         bool
}

// run is main without the process around it. With -part it is the child that
// measures one part.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	switch {
	case o.list:
		return list(stdout)
	case o.pending:
		return writePending(stdout)
	case o.part != "":
		return runPart(ctx, o, stderr)
	}
	return runAll(ctx, o, stderr)
}

// parse reads the flags.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("device", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.out, "out", "", "folder for the results (required)")
	f.StringVar(&o.work, "work", "", "folder for files of the run itself; without it, one that is removed in the end")
	f.StringVar(&o.only, "only", "", "regular expression of the parts to run (-list)")
	f.StringVar(&o.commit, "commit", "unknown", "commit to name in the results")
	f.StringVar(&o.tools, "tools", "bench/device", "folder of matmul.cu, matmul.py and torch_check.py")
	f.StringVar(&o.python, "python", "python3", "Python that has PyTorch")
	f.StringVar(&o.part, "part", "", "measure this part in this process; for the program itself")
	f.DurationVar(&o.budget, "budget", total(), "time for all parts together; with less, each gets less")
	f.BoolVar(&o.small, "small", false, "move a few megabytes, to see that everything works")
	f.BoolVar(&o.list, "list", false, "list the parts")
	f.BoolVar(&o.pending, "pending", false, "print the goals as a table that nothing was measured for")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("no such argument: %s", strings.Join(f.Args(), " "))
	}
	if o.out == "" && !o.list && !o.pending {
		return o, errors.New("-out is missing")
	}
	if o.budget <= 0 {
		return o, fmt.Errorf("-budget %v: want more than nothing", o.budget)
	}
	if _, err := regexp.Compile(o.only); err != nil {
		return o, fmt.Errorf("-only: %w", err)
	}
	return o, nil
}

// list prints the parts.
func list(w io.Writer) error {
	for _, p := range parts() {
		if _, err := fmt.Fprintf(w, "%-12s %4s  %s\n", p.name, p.budget, p.title); err != nil {
			return err
		}
	}
	return nil
}

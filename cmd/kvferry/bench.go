package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/bench/caches"
)

func (a *app) benchCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure parts of kvferry on this machine",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return usage(fmt.Errorf("no command given; see %q", c.CommandPath()+" --help"))
		},
	}
	own := a.ownBenchCommands()
	c.AddCommand(append(own, a.benchAllCommand())...)
	for _, s := range suites() {
		i := slices.IndexFunc(own, func(c *cobra.Command) bool { return c.Name() == s.Name })
		if i < 0 {
			c.AddCommand(a.suiteCommand(s))
		} else if own[i].Flags().Lookup("scale") == nil {
			a.orSuite(own[i], s)
		}
	}
	return c
}

// cacheFigures is the JSON document of bench caches.
type cacheFigures struct {
	Rounds  int             `json:"rounds"`
	Figures []caches.Figure `json:"figures"`
}

func (a *app) benchCachesCommand() *cobra.Command {
	var o caches.Options
	c := &cobra.Command{
		Use:   "caches [--rounds N] [--each D] [--dir DIR]",
		Short: "Measure the caches of kernels and pages",
		Long: `Caches measures hits of the pipeline caches in memory and on disk, of the page cache
and of its form for SQLite, each beside what it is held against, in turns. Times are
medians of the rounds; a ratio is how many times as fast as its reference a thing is.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Rounds < 1 || o.Each <= 0 {
				return usage(fmt.Errorf("bench caches: %d rounds of %v: want 1 or more, of more than 0", o.Rounds, o.Each))
			}
			figures, err := caches.Run(c.Context(), o)
			if err != nil {
				return typed(err)
			}
			out := cacheFigures{Rounds: o.Rounds, Figures: figures}
			return a.print(out, out.write)
		},
	}
	f := c.Flags()
	f.IntVar(&o.Rounds, "rounds", 3, "how often everything is measured")
	f.DurationVar(&o.Each, "each", 200*time.Millisecond, "how long one thing is measured in a round")
	f.StringVar(&o.Dir, "dir", os.TempDir(), "where the files are written and removed, 64 MiB")
	return c
}

func (c cacheFigures) write(w io.Writer) error {
	rows := [][]string{{"WHAT", "EACH", "RANGE", "RATE", "RATIO", "TO", "ALLOCATIONS"}}
	for _, f := range c.Figures {
		row := []string{f.Name, nanoseconds(f.Nanoseconds), nanoseconds(f.Least) + " to " + nanoseconds(f.Most), "-", "-", orDash(f.Versus), fmt.Sprintf("%.3f", f.AllocsPerOp)}
		if f.BytesPerSec > 0 {
			row[3] = size(int64(f.BytesPerSec)) + "/s"
		}
		if f.Ratio > 0 {
			row[4] = fmt.Sprintf("%.2f", f.Ratio)
		}
		rows = append(rows, row)
	}
	return columns(w, rows)
}

// nanoseconds shows a short time with three digits.
func nanoseconds(ns float64) string {
	if ns < 10_000 {
		return fmt.Sprintf("%.3g ns", ns)
	}
	return time.Duration(ns).Round(time.Microsecond).String()
}

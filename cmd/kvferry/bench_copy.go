package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/bench/copies"
	"github.com/kvferry/kvferry/pager/gpu"
)

func (a *app) benchCopyCommand() *cobra.Command {
	var (
		o        copies.Options
		save     string
		runBytes []int
		runs     []int
		mib      int64
	)
	c := &cobra.Command{
		Use:   "copy [--device N] [--save FILE]",
		Short: "Measure the ways to copy pages of a GPU",
		Long: `Copy measures the ways in which pages can be copied between the memory of a GPU
and pinned host memory, over lengths and numbers of their contiguous runs: "direct" is
one batch of copies, "staged" a kernel that gathers and one large copy, "plain" one
asynchronous copy for each run. Times are medians of the rounds, of one job when several
are under way, as in a capture. LINK is the best way's part of the rate of contiguous
copies of the same bytes, back to back, which the device itself times; jobs of less than
a tenth of a millisecond are held up by the host more than by the link.

--save writes the table by which package pager/gpu chooses on this device and driver,
as JSON for gpu.Config.Paths. It needs a build with the tag cuda, and a GPU.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Rounds < 1 || o.Each <= 0 || mib < 1 || len(runBytes) == 0 || len(runs) == 0 {
				return usage(fmt.Errorf("bench copy: %d rounds of %v, jobs of up to %d MiB: want 1 or more, of more than 0", o.Rounds, o.Each, mib))
			}
			o.RunBytes, o.Runs, o.MaxBytes = wide(runBytes), wide(runs), min(mib, 1<<20)<<20
			o.Progress = func(n int64) { a.log.Debug("bench copy", "run_bytes", n) }
			if err := o.Validate(); err != nil {
				return usage(err)
			}
			res, err := copies.Run(c.Context(), o)
			if err != nil {
				return err
			}
			if save != "" {
				if err := savePaths(save, res.Paths); err != nil {
					return err
				}
			}
			return a.print(res, func(w io.Writer) error { return writeCopies(w, res, save) })
		},
	}
	var d copies.Options
	d.EnsureDefaults()
	f := c.Flags()
	f.IntVar(&o.Device, "device", 0, "number of the GPU")
	f.StringVar(&save, "save", "", "write the table of ways to this `FILE`, as JSON")
	f.IntSliceVar(&runBytes, "run-bytes", narrow(d.RunBytes), "lengths of runs, rising")
	f.IntSliceVar(&runs, "runs", narrow(d.Runs), "numbers of runs in a job, rising")
	f.Int64Var(&mib, "max-mib", d.MaxBytes>>20, "leave out jobs of more `MiB`; takes as much pinned memory")
	f.IntVar(&o.Rounds, "rounds", d.Rounds, "how often everything is measured")
	f.DurationVar(&o.Each, "each", d.Each, "how long one way is measured in a round")
	return c
}

func wide(ns []int) []int64 {
	out := make([]int64, len(ns))
	for i, n := range ns {
		out[i] = int64(n)
	}
	return out
}

func narrow(ns []int64) []int {
	out := make([]int, len(ns))
	for i, n := range ns {
		out[i] = int(n)
	}
	return out
}

// savePaths writes the table, whole or not at all.
func savePaths(path string, t *gpu.Paths) error {
	var b bytes.Buffer
	if _, err := t.WriteTo(&b); err != nil {
		return fmt.Errorf("--save: %w", err)
	}
	part := filepath.Clean(path) + ".new"
	if err := os.WriteFile(part, b.Bytes(), 0o666); err != nil {
		return fmt.Errorf("--save: %w", err)
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("--save: %w", err)
	}
	return nil
}

func writeCopies(w io.Writer, r copies.Result, saved string) error {
	if err := facts(w, "device", r.Device, "uuid", orDash(r.UUID), "driver", "CUDA "+r.Driver.String(), "saved", orDash(saved)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	rows := [][]string{{"WAY", "RUN", "RUNS", "DIRECT", "STAGED", "PLAIN", "BEST", "RATE", "LINK"}}
	for _, p := range r.Points {
		best := map[gpu.Path]float64{gpu.Direct: p.Direct, gpu.Staged: p.Staged, gpu.Plain: p.Plain}[p.Best]
		rows = append(rows, []string{
			p.Direction, size(p.RunBytes), strconv.FormatInt(p.Runs, 10),
			nanoseconds(p.Direct), nanoseconds(p.Staged), nanoseconds(p.Plain), p.Best.String(),
			rate(p.Bytes(), time.Duration(best)), fmt.Sprintf("%.0f %%", 100*p.Link/best),
		})
	}
	if err := columns(w, rows); err != nil {
		return err
	}
	for _, d := range []struct {
		name  string
		rules []gpu.Rule
	}{{"out", r.Paths.Out}, {"in", r.Paths.In}} {
		if _, err := fmt.Fprintf(w, "\n%s:\n", d.name); err != nil {
			return err
		}
		for _, rule := range d.rules {
			if _, err := fmt.Fprintf(w, "  %s\n", describeRule(rule)); err != nil {
				return err
			}
		}
	}
	return nil
}

func describeRule(r gpu.Rule) string {
	runs, length := "any number of runs", "of any length"
	if r.Runs > 0 {
		runs = fmt.Sprintf("%d runs or more", r.Runs)
	}
	if r.RunBytes > 0 {
		length = "of up to " + size(r.RunBytes)
	}
	return fmt.Sprintf("%s, %s: %v", runs, length, r.Path)
}

package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	benchindex "github.com/kvferry/kvferry/bench/index"
)

func (a *app) benchIndexCommand() *cobra.Command {
	o := benchindex.Defaults()
	var markdown bool
	c := &cobra.Command{
		Use:   "index [--backend NAME,...] [--records N,...] [--kill N] [--events N]",
		Short: "Measure residency indexes",
		Long: `Index runs the workload of QuillCache's index benchmark, with its flags, on one backend
or several, and prints its report. Bytes written are those that the kernel counted for
the process that writes. Further flags add what that benchmark leaves out: populations
of many records, with misses, long results, removals, several clients, durable writes,
prompts that are matched, and reopening; a process that is killed while it writes; and
events that come in through a socket.

art-write is art with a write call for every put, where art copies into a mapping of
its log; redis runs with the flags that are printed, which keep nothing on a disk.
--backend all measures every backend that this machine has, and --peers FOLDER the
programs in it beside them (make bench-index builds Holt's). With one backend and one
round, --json prints the original's report, further fields behind its own; else a
document with a list of them.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("bench index: %w", err)
			}
			o.Self = []string{self, "bench", "index", "child"}
			o.Progress = func(step string) { a.log.Debug("bench index", "step", step) }
			if err := o.Validate(); err != nil {
				return usage(err)
			}
			res, err := benchindex.Run(c.Context(), o)
			if err != nil {
				return typed(err)
			}
			if a.json && len(res.Reports) == 1 {
				return a.print(res.Reports[0], nil)
			}
			return a.print(res, func(w io.Writer) error { return writeIndexes(w, &res, markdown) })
		},
	}
	f := c.Flags()
	h := &o.Harness
	f.StringSliceVar(&o.Backends, "backend", o.Backends, "all, or some of "+strings.Join(benchindex.Names(), ", "))
	f.IntVar(&h.Requests, "requests", h.Requests, "requests of the workload")
	f.IntVar(&h.SharedBlocks, "shared-prefix-blocks", h.SharedBlocks, "blocks that all requests share")
	f.IntVar(&h.UniqueBlocks, "unique-blocks", h.UniqueBlocks, "blocks of each request")
	f.Uint32Var(&h.BlockTokens, "block-tokens", h.BlockTokens, "tokens in a block")
	f.Uint64Var(&h.BlockBytes, "block-bytes", h.BlockBytes, "bytes of a block")
	f.IntVar(&h.ScanQueries, "scan-queries", h.ScanQueries, "scans")
	f.IntVar(&h.ChurnOps, "churn-ops", h.ChurnOps, "how often a request's blocks are removed and put again")
	f.IntSliceVar(&o.Records, "records", nil, "sizes of populations to measure besides: 10000,1000000")
	f.IntVar(&o.Clients, "clients", o.Clients, "clients that share a population")
	f.DurationVar(&o.Each, "each", o.Each, "how long one thing of a population is measured at most")
	f.DurationVar(&o.Fill, "fill", o.Fill, "how long it may take to put a population")
	f.IntVar(&o.Kill, "kill", 0, "calls of each of four writers in a process that is killed half way")
	f.IntVar(&o.Events, "events", 0, "blocks that are sent through a socket")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "how often everything is done, in turns")
	f.StringVar(&o.Dir, "dir", o.Dir, "where the files are written and removed")
	f.StringVar(&o.Peers, "peers", "", "`FOLDER` of programs to measure beside")
	f.BoolVar(&markdown, "markdown", false, "print tables as Markdown")
	c.AddCommand(a.benchIndexChildCommand())
	return c
}

// benchIndexChildCommand is what bench index runs for each part of its work.
func (a *app) benchIndexChildCommand() *cobra.Command {
	return &cobra.Command{
		Use: "child TASK", Hidden: true, Args: cobra.ExactArgs(1), Short: "Do one part of bench index",
		RunE: func(c *cobra.Command, args []string) error { return typed(benchindex.Child(c.Context(), args, a.out)) },
	}
}

// writeIndexes shows the medians of the rounds.
func writeIndexes(w io.Writer, res *benchindex.Result, markdown bool) error {
	l := &res.Limits
	if err := facts(w, "machine", res.Machine, "clock", microseconds(l.Clock.P50US),
		"copy of a record", nanoseconds(l.CopyRecord), "write of 100 bytes", microseconds(l.Write.P50US),
		"4 KiB and fdatasync", microseconds(l.Sync.P50US), "1 MiB and fdatasync", microseconds(l.Sync1M.P50US),
		"loopback round trip", microseconds(l.RoundTrip.P50US)); err != nil {
		return err
	}
	for _, m := range res.Missing {
		if _, err := fmt.Fprintf(w, "left out: %s: %s\n", m.Name, m.Why); err != nil {
			return err
		}
	}
	for _, r := range res.Reports {
		if r.Server != "" && r.Round == 1 {
			if _, err := fmt.Fprintf(w, "%s: %s\n", r.Backend, r.Server); err != nil {
				return err
			}
		}
		for _, failure := range r.Failures {
			if _, err := fmt.Fprintf(w, "failed: %s, round %d: %s\n", r.Backend, r.Round, failure); err != nil {
				return err
			}
		}
	}
	for _, table := range benchindex.Tables(res.Reports) {
		show := columns
		if markdown {
			show = pipes
		}
		if _, err := fmt.Fprintf(w, "\n%s\n\n", table.Title); err != nil {
			return err
		}
		if err := show(w, slices.Concat([][]string{table.Head}, table.Rows)); err != nil {
			return err
		}
	}
	return nil
}

// pipes writes rows as a table in Markdown; the first row is the head.
func pipes(w io.Writer, rows [][]string) error {
	for i, r := range rows {
		line := "| " + strings.Join(r, " | ") + " |\n"
		if i == 0 {
			line = strings.ToLower(line) + "|" + strings.Repeat(" --- |", len(r)) + "\n"
		}
		if _, err := io.WriteString(w, line); err != nil {
			return err
		}
	}
	return nil
}

func microseconds(us float64) string { return nanoseconds(us * 1e3) }

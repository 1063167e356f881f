package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/pipelinecache/disk"
)

// pipelineCollection is the JSON document of pipeline gc.
type pipelineCollection struct {
	DryRun       bool           `json:"dry_run"`
	Removed      []pipelineFile `json:"removed"`
	RemovedBytes int64          `json:"removed_bytes"`
	Kept         int            `json:"kept"`
	KeptBytes    int64          `json:"kept_bytes"`
}

func (a *app) pipelineCollectCommand() *cobra.Command {
	var (
		o      disk.CollectOptions
		budget byteSize
	)
	c := &cobra.Command{
		Use:   "gc DIR [--budget SIZE] [--corrupt] [--unversioned] [--other-schema] [--dry-run]",
		Short: "Remove what is left over or damaged in a directory of kernels, and what exceeds a budget",
		Long: `Gc removes temporary files that ended processes left behind and damaged kernels
that were set aside; with --corrupt kernels that it finds damaged, too, with
--unversioned those from before there were versions (vyre-runtime 0.6), with
--other-schema those of other schemas; and with --budget those used least recently,
until the rest has so many bytes.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.BudgetBytes, o.Aside, o.Stale = int64(budget), true, true
			r, err := collectPipelines(c.Context(), args[0], o)
			if err != nil && len(r.Removed) == 0 {
				return err
			}
			out := pipelineCollection{DryRun: o.DryRun, Removed: []pipelineFile{}, RemovedBytes: r.RemovedBytes, Kept: r.Kept, KeptBytes: r.KeptBytes}
			for _, x := range r.Removed {
				f := pipelineFileOf(x.Entry)
				f.Reason = x.Reason
				out.Removed = append(out.Removed, f)
			}
			return errors.Join(a.print(out, out.write), err)
		},
	}
	f := c.Flags()
	f.Var(&budget, "budget", "remove the kernels used least recently beyond so many bytes, as 2GiB")
	f.BoolVar(&o.Corrupt, "corrupt", false, "remove damaged kernels")
	f.BoolVar(&o.Unversioned, "unversioned", false, "remove kernels of vyre-runtime 0.6")
	f.BoolVar(&o.OtherSchema, "other-schema", false, "remove kernels of schemas that this build does not know")
	f.BoolVar(&o.DryRun, "dry-run", false, "say what would be done and change nothing")
	return c
}

// collectPipelines collects in a directory that is there. Opening it to change
// it removes what is stale, so that is listed before.
func collectPipelines(ctx context.Context, dir string, o disk.CollectOptions) (r disk.Collected, err error) {
	first := o
	first.DryRun = true
	if !o.DryRun {
		first = disk.CollectOptions{Stale: true, DryRun: true}
	}
	var stale disk.Collected
	err = withPipelines(dir, disk.Options{}, func(s *disk.Store) error {
		stale, err = s.Collect(ctx, first)
		return err
	})
	if err != nil || o.DryRun {
		return stale, err
	}
	s, err := disk.Open(dir, disk.Options{})
	if err != nil {
		return r, err
	}
	r, err = s.Collect(ctx, o)
	left, lerr := s.List(ctx)
	for _, x := range stale.Removed {
		if lerr == nil && !slices.ContainsFunc(left, func(e disk.Entry) bool { return e.Name == x.Name }) {
			r.Removed = append(r.Removed, x)
			r.RemovedBytes += x.Bytes
		}
	}
	return r, errors.Join(err, lerr, s.Close())
}

func (c pipelineCollection) write(w io.Writer) error {
	would := ""
	if c.DryRun {
		would = "would be "
	}
	for _, f := range c.Removed {
		if _, err := fmt.Fprintf(w, "%sremoved: %s, %s (%s)\n", would, f.Name, size(f.Bytes), f.Reason); err != nil {
			return err
		}
	}
	return facts(w,
		would+"removed", fmt.Sprintf("%s, %s", count(len(c.Removed), "file"), size(c.RemovedBytes)),
		"kept", fmt.Sprintf("%s, %s", count(c.Kept, "kernel"), size(c.KeptBytes)))
}

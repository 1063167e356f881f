package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/cmd/kvferry/internal/doctor"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor [--store URL]",
		Short: "Say what kvferry runs on, what bounds it, and what would be faster",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			var o doctor.Options
			if a.store != "" {
				u, err := locate(a.store)
				if err != nil {
					return err
				}
				o.StoreURL, o.StorePath = u.String(), u.path
			}
			r := doctor.Examine(o)
			return a.print(r, func(w io.Writer) error { return writeDoctor(w, r) })
		},
	}
}

func writeDoctor(w io.Writer, r doctor.Report) error {
	h := r.HugePages
	pairs := []string{
		"backend", r.Backend,
		"gpu", r.GPU,
	}
	for _, g := range r.GPUs.Devices {
		pairs = append(pairs, fmt.Sprintf("gpu %d", g.Ordinal), describeGPU(g))
	}
	pairs = append(pairs,
		"go", fmt.Sprintf("%s %s/%s", r.Go, r.OS, r.Arch),
		"processors", fmt.Sprintf("%d, Go uses %d", r.Processors, r.GoMaxProcs),
		"cpu", r.CPU.Model,
		"features", orDash(strings.Join(r.Features(), " ")),
		"blake3", r.BLAKE3,
		"sha256", r.SHA256,
		"bf16 codec", r.Planes,
		"memlock", limit(r.Memlock),
		"cgroup memory", limit(r.CgroupMemory),
		"pinned memory", "at most "+limit(r.Pinned)+" for copies to and from GPUs",
		"huge pages", fmt.Sprintf("transparent: %s; %d of %d reserved ones of %s free", h.Transparent, h.Free, h.Reserved, size(h.Size)),
	)
	if s := r.Store; s != nil {
		where := "in this process only"
		if s.Path != "" {
			where = fmt.Sprintf("%s free of %s", size(s.Free), size(s.Total))
		}
		if s.Error != "" {
			where = s.Error
		}
		pairs = append(pairs, "store", s.URL+": "+where)
	}
	if err := facts(w, pairs...); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w, "\nWhat would be faster, and why it is not:"); err != nil {
		return err
	}
	for _, x := range r.Advice {
		if _, err := fmt.Fprintf(w, "  %s:\n      %s\n", x.Faster, x.Why); err != nil {
			return err
		}
	}
	return nil
}

// describeGPU tells a device's facts on one line; those that are not known are
// left out.
func describeGPU(g doctor.GPU) string {
	if g.Problem != "" {
		return g.Problem
	}
	all := []string{g.Name, g.UUID, "compute capability " + g.Capability, fmt.Sprintf("%s free of %s", size(g.FreeBytes), size(g.TotalBytes))}
	add := func(known bool, format string, args ...any) {
		if known {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	add(g.LinkBytesPerSec > 0, "PCI Express %d x%d (%.1f GB/s each way)", g.LinkGeneration, g.LinkWidth, float64(g.LinkBytesPerSec)/1e9)
	add(g.PCI != "", "at %s", g.PCI)
	add(g.NUMANode >= 0, "NUMA node %d", g.NUMANode)
	add(g.CopyEngines > 0, "%s", count(g.CopyEngines, "copy engine"))
	return strings.Join(all, ", ")
}

// limit returns a limit in bytes for people.
func limit(n int64) string {
	switch n {
	case doctor.Unlimited:
		return "unlimited"
	case 0:
		return "unknown or none"
	}
	return size(n)
}

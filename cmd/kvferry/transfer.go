package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/capture"
)

// transferFlags bound the memory and parallelism of moving pages.
type transferFlags struct {
	workers, stagingMiB int
}

func (f *transferFlags) add(c *cobra.Command) {
	c.Flags().IntVar(&f.workers, "workers", 0, "pages worked on at a time; 0 means one per processor")
	c.Flags().IntVar(&f.stagingMiB, "staging-mib", 0, fmt.Sprintf(
		"`MiB` of host memory between engine and store; as large as the cache, a capture's pause is that of a plain copy; 0 means %d",
		capture.DefaultStagingBytes>>20))
}

func (f *transferFlags) parse() (capture.Transfer, error) {
	if f.workers < 0 || f.stagingMiB < 0 || f.stagingMiB > 1<<20 {
		return capture.Transfer{}, usage(fmt.Errorf("--workers %d --staging-mib %d: out of range", f.workers, f.stagingMiB))
	}
	return capture.Transfer{Workers: f.workers, StagingBytes: f.stagingMiB << 20}, nil
}

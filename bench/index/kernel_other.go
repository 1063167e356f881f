//go:build !linux

package index

import (
	"fmt"
	"os"
	"strings"

	"github.com/kvferry/kvferry"
)

// errCounts says why nothing is measured: the counts are half of the figures.
var errCounts = fmt.Errorf("bench index: the kernel's counts are read on Linux only: %w", kvferry.ErrUnsupported)

func counted(int) (Kernel, error)      { return Kernel{}, errCounts }
func memoryBytes(int) (int64, error)   { return 0, errCounts }
func cpuSeconds() (float64, error)     { return 0, errCounts }
func diskBytes(string) (uint64, error) { return 0, errCounts }
func machine(string) string            { return strings.Join([]string{cores(), goVersion()}, ", ") }

func syncData(f *os.File) error { return f.Sync() }

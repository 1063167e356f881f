package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// facts notes what a reader needs to know of the machine to repeat the run.
func facts(b *bench) error {
	if err := b.open(); err != nil {
		return err
	}
	f := b.device.Facts()
	if b.software() {
		if err := b.fact(softwareDriver, "the driver runs on the processor: no figure means anything"); err != nil {
			return err
		}
	}
	free, all, err := b.device.MemoryInfo()
	if err != nil {
		return err
	}
	return errors.Join(
		b.fact("device", fmt.Sprintf("%s, compute capability %d.%d, %d multiprocessors of %d MHz at most, %d copy engines, %s of memory, %s free",
			f.Name, f.Major, f.Minor, f.Multiprocessors, f.ClockKHz/1000, f.CopyEngines, gib(all), gib(free))),
		b.fact("driver", fmt.Sprintf("CUDA %v, %s", f.Driver, batchText(f.BatchCopy))),
		b.fact("link", fmt.Sprintf("PCI Express generation %d, %d lanes: %s before overhead; NUMA node %d",
			f.LinkGeneration, f.LinkWidth, perSecond.text(f.LinkBytesPerSecond()), f.NUMANode)),
		b.fact("host", host()),
		b.fact("nvidia-smi", output(b.ctx, "nvidia-smi", "--query-gpu=name,driver_version,pcie.link.gen.current,pcie.link.gen.max,pcie.link.width.current,clocks.sm,clocks.max.sm,clocks.mem,power.limit,mig.mode.current", "--format=csv,noheader")),
	)
}

func batchText(batch bool) string {
	if batch {
		return "with cuMemcpyBatchAsync"
	}
	return "without cuMemcpyBatchAsync"
}

func gib(n int64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }

// host describes the machine around the device.
func host() string {
	text := fmt.Sprintf("%d cores of %s, %s", runtime.NumCPU(), field("/proc/cpuinfo", "model name"), field("/proc/meminfo", "MemTotal"))
	if sys := (unix.Utsname{}); unix.Uname(&sys) == nil {
		text += ", " + unix.ByteSliceToString(sys.Sysname[:]) + " " + unix.ByteSliceToString(sys.Release[:])
	}
	if thp, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled"); err == nil {
		text += ", transparent huge pages " + strings.TrimSpace(string(thp))
	}
	if limit := (unix.Rlimit{}); unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil {
		text += ", memlock " + limitText(limit.Cur)
	}
	return text
}

func limitText(n uint64) string {
	if n == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return fmt.Sprintf("%d bytes", n)
}

// field returns the first value of a name in a file of the kernel's.
func field(path, name string) string {
	data, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// output returns what a program prints, or why it printed nothing.
func output(ctx context.Context, name string, args ...string) string {
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return strings.TrimSpace(fmt.Sprintf("%v %s", err, text))
	}
	return text
}

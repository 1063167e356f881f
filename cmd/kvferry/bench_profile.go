package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
)

// blockRate is how many nanoseconds of waiting are behind one sample.
const blockRate = 10_000

// profile starts to take profiles, and returns what ends and writes them: into
// cpu.prof, allocs.prof and block.prof of a folder, which is made. What was
// measured in turns has the label figure, for pprof's -tagfocus.
func profile(dir string) (stop func() error, err error) {
	if dir == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("--profile: %w", err)
	}
	cpu, err := os.Create(filepath.Join(dir, "cpu.prof"))
	if err != nil {
		return nil, fmt.Errorf("--profile: %w", err)
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(fmt.Errorf("--profile: %w", err), cpu.Close())
	}
	runtime.SetBlockProfileRate(blockRate)
	return func() error {
		pprof.StopCPUProfile()
		runtime.SetBlockProfileRate(0)
		errs := []error{cpu.Close()}
		for _, name := range []string{"allocs", "block"} {
			errs = append(errs, writeProfile(filepath.Join(dir, name+".prof"), name))
		}
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("--profile: %w", err)
		}
		return nil
	}, nil
}

// writeProfile writes one of the runtime's own.
func writeProfile(path, name string) error {
	f, err := os.Create(filepath.Clean(path))
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup(name).WriteTo(f, 0), f.Close())
}

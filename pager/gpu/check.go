package gpu

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/pager"
)

// check returns the error for which New refuses cfg, before it looks at any
// address.
func (cfg *Config) check() error {
	switch {
	case cfg.Device == nil:
		return fmt.Errorf("gpu: new: no device is given: open one with cuda.Open: %w", kvferry.ErrNoDevice)
	case cfg.Kernels == nil || cfg.Layout == nil || cfg.Engine == nil:
		return fmt.Errorf("gpu: new: kernels, layout and engine are needed: %w", kvferry.ErrInvalid)
	case len(cfg.Regions) != len(cfg.Layout.Regions):
		return fmt.Errorf("gpu: new: %d addresses for %d regions: %w", len(cfg.Regions), len(cfg.Layout.Regions), kvferry.ErrInvalid)
	case cfg.DrainTimeout < 0 || cfg.Blocks < 0:
		return fmt.Errorf("gpu: new: drain time-out %v, %d blocks: %w", cfg.DrainTimeout, cfg.Blocks, kvferry.ErrInvalid)
	case cfg.Link > LinkPlanes || cfg.Coders < 0 || cfg.Coders > maxCoders:
		return fmt.Errorf("gpu: new: link %d by %d goroutines, want LinkPlain or LinkPlanes and 0 to %d: %w",
			cfg.Link, cfg.Coders, maxCoders, kvferry.ErrInvalid)
	case len(cfg.Streams) > maxStreams:
		return fmt.Errorf("gpu: new: %d streams of the engine, want at most %d: %w", len(cfg.Streams), maxStreams, kvferry.ErrInvalid)
	}
	if cfg.Fingerprint != nil {
		if own := cfg.Layout.Fingerprint(); own != *cfg.Fingerprint {
			return fmt.Errorf("gpu: new: the layout's canonical form is %v, the engine takes it for %v: %w", own, *cfg.Fingerprint, kvferry.ErrLayoutMismatch)
		}
	}
	if cfg.Paths != nil {
		if err := cfg.Paths.Validate(); err != nil {
			return err
		}
		return cfg.Paths.Fits(cfg.Device.Facts())
	}
	return nil
}

// maxCoders bounds the goroutines that code.
const maxCoders = 64

// maxStreams bounds the engine's streams: each costs a driver call for a job.
const maxStreams = 64

// stretch is a region's memory.
type stretch struct {
	index    int
	from, to cuda.Ptr
}

// disjoint returns ErrInvalid if two regions share memory or one goes beyond
// the last address. Regions without bytes do not count.
func disjoint(addresses []cuda.Ptr, regions []pager.Region) error {
	var all []stretch
	for i, r := range regions {
		if r.Bytes == 0 {
			continue
		}
		end := addresses[i] + cuda.Ptr(r.Bytes)
		if addresses[i] == 0 || end < addresses[i] {
			return fmt.Errorf("gpu: region %d: %d bytes at address %#x: %w", i, r.Bytes, uint64(addresses[i]), kvferry.ErrInvalid)
		}
		all = append(all, stretch{i, addresses[i], end})
	}
	slices.SortFunc(all, func(a, b stretch) int { return cmp.Compare(a.from, b.from) })
	for k := 1; k < len(all); k++ {
		if all[k-1].to > all[k].from {
			return fmt.Errorf("gpu: regions %d and %d overlap at address %#x: %w", all[k-1].index, all[k].index, uint64(all[k].from), kvferry.ErrInvalid)
		}
	}
	return nil
}

// checkRegions returns the error for which the regions' addresses are refused.
func (cfg *Config) checkRegions() error {
	if err := disjoint(cfg.Regions, cfg.Layout.Regions); err != nil {
		return err
	}
	for i, r := range cfg.Layout.Regions {
		if r.Bytes == 0 {
			continue
		}
		if err := cfg.Device.CheckRange(cfg.Regions[i], r.Bytes); err != nil {
			return fmt.Errorf("gpu: region %d: %w", i, err)
		}
	}
	return nil
}

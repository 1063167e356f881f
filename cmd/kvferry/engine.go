package main

import (
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cmd/kvferry/internal/doctor"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// openPager opens the engine that a spec names.
func openPager(spec string) (*synthetic.Engine, error) {
	cfg, err := parsePager(spec)
	if err != nil {
		return nil, err
	}
	if err := fits(engineBytes(cfg), doctor.Available(nil)); err != nil {
		return nil, fmt.Errorf("--pager: %w", err)
	}
	e, err := cfg.Open()
	if err != nil {
		return nil, typed(fmt.Errorf("--pager: %w", err))
	}
	return e, nil
}

func parsePager(spec string) (synthetic.Config, error) {
	if spec == "" {
		return synthetic.Config{}, usage(errors.New("--pager is missing, for example --pager synthetic:pages=64"))
	}
	cfg, err := synthetic.ParseSpec(spec)
	if err != nil {
		return synthetic.Config{}, typed(fmt.Errorf("--pager: %w", err))
	}
	return cfg, nil
}

// tableBytes is about what a page takes beside its content: states, numbers,
// digests.
const tableBytes = 128

// engineBytes returns about how much memory a synthetic engine takes with all
// its pages. Neither factor is large enough to overflow the product.
func engineBytes(c synthetic.Config) int64 {
	return int64(c.Pages) * (int64(c.Meta.PageBytes()) + tableBytes)
}

// fits returns ErrOutOfMemory if an engine needs more memory than can be had.
// Asking for it would end the process instead of the command.
func fits(need, available int64) error {
	if available == doctor.Unlimited || need <= available {
		return nil
	}
	return fmt.Errorf("the engine's pages need %s, of memory there are %s: %w", size(need), size(available), kvferry.ErrOutOfMemory)
}

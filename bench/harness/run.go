package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/kvferry/kvferry"
)

// DefaultRounds is how often a scale measures everything: six times is what an
// interval of 95 % wants.
func (s Scale) DefaultRounds() int {
	return map[Scale]int{Quick: 3, Full: 6, Smoke: 1}[s]
}

// Scales are the names of all scales.
func Scales() []string { return []string{Quick.String(), Full.String(), Smoke.String()} }

// ScaleNamed finds a scale. Another name is ErrInvalid.
func ScaleNamed(name string) (Scale, error) {
	for _, s := range []Scale{Quick, Full, Smoke} {
		if s.String() == name {
			return s, nil
		}
	}
	return Quick, fmt.Errorf("bench: no scale %q, there are %v: %w", name, Scales(), kvferry.ErrInvalid)
}

// Run measures suites one after the other, each in an empty folder of its own
// below e.Dir, which is removed afterwards. A suite that fails ends its own
// section and no other: what it added is kept, its error is in the section and
// in what Run returns. done, if it is not nil, is called with each section.
// With a folder e.Dir that is not there the error is ErrNotFound.
func Run(ctx context.Context, e *Env, suites []Suite, done func(*Section) error) (r *Report, err error) {
	root, err := os.MkdirTemp(e.Dir, "kvferry-bench-")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("bench: %w: %w", kvferry.ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	if root, err = filepath.Abs(root); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	before := load()
	r = &Report{Conditions: conditions(e, root)}
	var errs []error
	for _, s := range suites {
		if ctx.Err() != nil {
			errs = append(errs, context.Cause(ctx))
			break
		}
		section, err := e.run(ctx, s, root)
		r.Sections = append(r.Sections, section)
		if err != nil {
			errs = append(errs, fmt.Errorf("bench: %s: %w", s.Name, err))
		}
		if done != nil {
			errs = append(errs, done(section))
		}
	}
	if now := load(); now != "" {
		r.Conditions = append(r.Conditions, Condition{"load of one minute", before + " at the start, " + now + " at the end"})
	}
	return r, errors.Join(errs...)
}

// run measures one suite.
func (e *Env) run(ctx context.Context, s Suite, root string) (*Section, error) {
	section := &Section{Name: s.Name, Title: s.Title}
	own := *e
	if own.Log == nil {
		own.Log = func(string, ...any) {}
	}
	own.Rounds = max(1, own.Rounds)
	own.Dir = filepath.Join(root, s.Name)
	if err := os.Mkdir(own.Dir, 0o755); err != nil {
		return section, err
	}
	runtime.GC() // what the suite before left is not paid by this one
	own.Log("%s ...", s.Name)
	start := time.Now()
	err := s.Run(ctx, &own, section)
	section.Seconds = time.Since(start).Seconds()
	if err != nil {
		section.Failed = err.Error()
	}
	for _, part := range section.All() {
		for _, why := range part.Missing {
			own.Log("%s: not measured: %s", s.Name, oneLine(why))
		}
	}
	own.Log("%s done in %.1f s", s.Name, section.Seconds)
	return section, errors.Join(err, removed(own.Dir))
}

// removed removes a suite's folder, and tells of what it left there.
func removed(dir string) error {
	left, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("the suite left %d files behind, such as %s: %w", len(left), left[0].Name(), kvferry.ErrInvalid)
	}
	return nil
}

// Choose returns the suites of some names, in the suites' own order; no names
// mean all. A name that none has is ErrInvalid.
func Choose(all []Suite, names []string) ([]Suite, error) {
	if len(names) == 0 {
		return all, nil
	}
	var out []Suite
	var have []string
	for _, s := range all {
		have = append(have, s.Name)
		if slices.Contains(names, s.Name) {
			out = append(out, s)
		}
	}
	for _, n := range names {
		if !slices.Contains(have, n) {
			return nil, fmt.Errorf("bench: no suite %q, there are %v: %w", n, have, kvferry.ErrInvalid)
		}
	}
	return out, nil
}

// Package store measures a store on disk beside what the disk and others do on
// the same disk.
//
// Everything is a ratio of things measured in one run, in turns, in one
// folder: fio's sequential rates and those of loops of ours with O_DIRECT, one
// file per blob with fsync, restic and kopia. All sessions keep their bytes as they are,
// so that a byte of a page is a byte on the disk: what compression does is
// measured by the suites codec and capture.
package store

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
)

// Options say what is measured.
type Options struct {
	// Store is one of StoreNames; "" is the first of them.
	Store string
	// Only are names of parts, as PartNames has them; none means all.
	Only []string
}

// Suite measures the default store for bench all.
func Suite() harness.Suite { return SuiteOf(&Options{}) }

// SuiteOf measures what the options say when it is run.
func SuiteOf(o *Options) harness.Suite {
	return harness.Suite{
		Name: "store", Title: "The store beside its disk and others",
		Run: func(ctx context.Context, e *harness.Env, s *harness.Section) error { return run(ctx, e, s, o) },
	}
}

// PartNames are the measurements of the suite, in their order.
func PartNames() []string {
	var out []string
	for _, m := range measures() {
		out = append(out, m.name)
	}
	return out
}

// Validate returns what is wrong, as ErrInvalid.
func (o *Options) Validate() error {
	if _, err := o.backend(); err != nil {
		return err
	}
	for _, name := range o.Only {
		if !slices.Contains(PartNames(), name) {
			return fmt.Errorf("bench store: no part %q, there are %s: %w", name, strings.Join(PartNames(), ", "), kvferry.ErrInvalid)
		}
	}
	return nil
}

func (o *Options) backend() (backend, error) {
	if o.Store == "" {
		return backends()[0], nil
	}
	return backendNamed(o.Store)
}

// run does the measurements, each a part of the section.
func run(ctx context.Context, e *harness.Env, s *harness.Section, o *Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	b, err := newBench(ctx, e, s, o)
	if err != nil {
		return err
	}
	for _, m := range measures() {
		if len(o.Only) > 0 && !slices.Contains(o.Only, m.name) {
			continue
		}
		start := time.Now()
		if err := m.run(ctx, b, s.Part(m.name, m.title)); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		e.Log("store, %s: %.1f s", m.name, time.Since(start).Seconds())
		if err := b.settle(); err != nil {
			return err
		}
	}
	return nil
}

// by is the part of a figure's name that tells of the store and the blobs.
func (b *bench) by(size int) string { return "by=" + b.store.name + "/size=" + sizeKey(size) }

// sizeKey is a size as part of a figure's name.
func sizeKey(bytes int) string { return strings.ReplaceAll(harness.SizeText(bytes), " ", "") }

// limit adds a rate of what the machine does at best.
func limit(s *harness.Section, name string) *harness.Figure {
	f := s.Figure(name, harness.BytesPerSecond)
	f.Role = harness.Limit
	return f
}

// peer adds a figure of what others do.
func peer(s *harness.Section, name string, u harness.Unit) *harness.Figure {
	f := s.Figure(name, u)
	f.Role = harness.Peer
	return f
}

// version is the first line that a program says of itself.
func version(ctx context.Context, program string) string {
	for _, arg := range []string{"version", "--version"} {
		out, err := exec.CommandContext(ctx, program, arg).Output()
		if line, _, _ := strings.Cut(string(out), "\n"); err == nil && line != "" {
			line, _, _ = strings.Cut(line, " build:") // kopia goes on with what it does not know
			line, _, _ = strings.Cut(line, " compiled with")
			return strings.TrimSpace(line)
		}
	}
	return program + " of an unknown version"
}

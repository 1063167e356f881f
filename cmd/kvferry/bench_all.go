package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kvferry/kvferry/bench/harness"
)

// suiteRun is a run of suites: its flags, and what it does with them.
type suiteRun struct {
	app    *app
	env    harness.Env
	scale  string
	only   []string
	goFile string
	raw    string
	report string
	prof   string
}

// add gives a command the flags of a run.
func (r *suiteRun) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&r.scale, "scale", "quick", "how much is moved: "+strings.Join(harness.Scales(), ", "))
	f.IntVar(&r.env.Rounds, "rounds", 0, "how often everything is measured, in turns; 0 leaves it to the scale")
	f.StringVar(&r.env.Dir, "dir", os.TempDir(), "`FOLDER` on the disk to measure; everything in it is removed again")
	r.addOutputs(c)
}

// addOutputs adds the flags that a command with --rounds and --dir of its own
// lacks.
func (r *suiteRun) addOutputs(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&r.env.Models, "models", "", "`FOLDER` with real page files, NAME.kv beside NAME.json; else those that are built in")
	f.StringVar(&r.goFile, "go", "", "write Go's benchmark format to this `FILE`; else it goes to standard output")
	f.StringVar(&r.raw, "raw", "", "write every sample to this `FILE`, as JSON, for bench/report")
	f.StringVar(&r.prof, "profile", "", "write profiles of the run to this `FOLDER`: processor, allocations, waiting")
	f.StringVar(&r.report, "report", "", "write the report to this `FILE`, as Markdown")
}

// addPeers adds the flag for the peers' folder.
func (r *suiteRun) addPeers(c *cobra.Command) {
	c.Flags().StringVar(&r.env.Peers, "peers", "", "`FOLDER` of programs to measure beside, as make bench-peers fills it")
}

// benchAllCommand measures all suites.
func (a *app) benchAllCommand() *cobra.Command {
	r := &suiteRun{app: a}
	c := &cobra.Command{
		Use:   "all [--only NAME,...] [--scale SCALE] [--peers FOLDER]",
		Short: "Measure everything, each beside its limit and its peers",
		Long: `All measures every suite, or those of --only, one after the other: each thing beside
the limit that physics sets it and beside the peers of --peers, in turns. What is found
is printed in Go's benchmark format, for benchstat, or with --json as one document; a
suite that fails does not end the others. --report writes tables for people.

The quick scale takes five minutes without peers on two cores, the full one half an hour
with them; smoke only shows that everything works.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return r.run(c, suites()) },
	}
	r.add(c)
	r.addPeers(c)
	c.Flags().StringSliceVar(&r.only, "only", nil, "`NAMES` of suites: "+strings.Join(suiteNames(), ", "))
	return c
}

// suiteCommand measures one suite.
func (a *app) suiteCommand(s harness.Suite) *cobra.Command {
	r := &suiteRun{app: a}
	c := &cobra.Command{
		Use:   s.Name + " [--scale SCALE] [--peers FOLDER]",
		Short: s.Title,
		Long: s.Title + `.

Prints Go's benchmark format, or with --json one document, as bench all does.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return r.run(c, []harness.Suite{s}) },
	}
	r.add(c)
	r.addPeers(c)
	return c
}

// orSuite lets a command with an output of its own measure as bench all does,
// if one of the flags is there that only this has.
func (a *app) orSuite(c *cobra.Command, s harness.Suite) {
	r, own := &suiteRun{app: a}, c.RunE
	suite := a.suiteCommand(s)
	var added []string
	suite.Flags().VisitAll(func(f *pflag.Flag) {
		if c.Flags().Lookup(f.Name) == nil {
			added = append(added, f.Name)
			c.Flags().AddFlag(f)
		}
	})
	c.Long += "\n\nWith --scale, --peers, --go, --raw, --report or --profile it measures and prints as bench all does."
	c.RunE = func(c *cobra.Command, args []string) error {
		text := func(name string) string { return c.Flags().Lookup(name).Value.String() }
		changed := func(name string) bool { return slices.Contains(added, name) && c.Flags().Changed(name) }
		if !slices.ContainsFunc([]string{"scale", "peers", "go", "raw", "report", "profile"}, changed) {
			return own(c, args)
		}
		r.scale, r.goFile, r.raw, r.report = text("scale"), text("go"), text("raw"), text("report")
		r.prof = text("profile")
		r.env.Dir, r.env.Peers, r.env.Models = text("dir"), text("peers"), text("models")
		if c.Flags().Changed("rounds") {
			var err error
			if r.env.Rounds, err = c.Flags().GetInt("rounds"); err != nil {
				return err
			}
		}
		return r.run(c, []harness.Suite{s})
	}
}

func suiteNames() []string {
	var names []string
	for _, s := range suites() {
		names = append(names, s.Name)
	}
	return names
}

// run measures, prints, and writes the files that the flags name.
func (r *suiteRun) run(c *cobra.Command, all []harness.Suite) error {
	chosen, err := harness.Choose(all, r.only)
	if err != nil {
		return usage(err)
	}
	if r.env.Scale, err = harness.ScaleNamed(r.scale); err != nil {
		return usage(err)
	}
	if r.env.Rounds < 0 {
		return usage(fmt.Errorf("bench: %d rounds: want 1 or more, or 0 for those of the scale", r.env.Rounds))
	}
	if r.env.Rounds == 0 {
		r.env.Rounds = r.env.Scale.DefaultRounds()
	}
	if err := r.prepare(); err != nil {
		return err
	}
	out, done, err := r.goOutput()
	if err != nil {
		return err
	}
	stop, err := profile(r.prof)
	if err != nil {
		return errors.Join(err, done())
	}
	report, err := harness.Run(c.Context(), &r.env, chosen, func(s *harness.Section) error { return s.WriteGo(out) })
	err = errors.Join(err, stop())
	if report != nil {
		err = errors.Join(err, r.keep(report))
	}
	return errors.Join(err, done()) // what is invalid by now is a peer's work, not what was typed
}

// prepare fills in the environment's rest.
func (r *suiteRun) prepare() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	r.env.Self = []string{self, "bench"}
	r.env.Log = func(format string, args ...any) {
		_, _ = fmt.Fprintf(r.app.err, "bench: "+format+"\n", args...) // nobody can be told
	}
	for _, path := range []*string{&r.env.Peers, &r.env.Models} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
	}
	return nil
}

// goOutput opens where Go's format goes: the file of --go, or standard output
// unless that is to have the document.
func (r *suiteRun) goOutput() (io.Writer, func() error, error) {
	out := r.app.out
	done := func() error { return nil }
	if r.app.json {
		out = io.Discard
	}
	if r.goFile != "" {
		f, err := os.Create(r.goFile)
		if err != nil {
			return nil, nil, fmt.Errorf("--go: %w", err)
		}
		out, done = f, f.Close
	}
	if err := harness.WriteGoHead(out, "github.com/kvferry/kvferry/bench"); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("bench: %w", err), done())
	}
	return out, done, nil
}

// keep writes the documents.
func (r *suiteRun) keep(report *harness.Report) error {
	var errs []error
	if r.raw != "" {
		text, err := json.MarshalIndent(report, "", " ")
		if err == nil {
			err = os.WriteFile(r.raw, append(text, '\n'), 0o666)
		}
		errs = append(errs, err)
	}
	if r.report != "" {
		errs = append(errs, os.WriteFile(r.report, report.Markdown(), 0o666))
	}
	if r.app.json {
		errs = append(errs, r.app.print(report, nil))
	}
	return errors.Join(errs...)
}

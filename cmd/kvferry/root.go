package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"

	"github.com/spf13/cobra"
)

// console is where a command reads and writes.
type console struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
}

// app is what the commands of one run share.
type app struct {
	console
	store     string // store URL, maybe empty
	quota     byteSize
	json      bool
	logLevel  string
	logFormat string
	log       *slog.Logger
	// started says that flags and arguments were accepted: an error before it
	// is wrong usage, whatever cobra calls it.
	started bool
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, c console) int {
	c.out = output{c.out}
	a := &app{console: c, log: slog.New(slog.DiscardHandler)}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	if !a.started {
		err = usage(err)
		a.json = a.json || wantsJSON(args)
	}
	a.report(err)
	return codeOf(err)
}

// wantsJSON finds --json in a command line that could not be parsed.
func wantsJSON(args []string) bool {
	for _, s := range args {
		switch s {
		case "--json", "--json=true", "--json=1":
			return true
		case "--":
			return false
		}
	}
	return false
}

func (a *app) root() *cobra.Command {
	c := &cobra.Command{
		Use:   "kvferry",
		Short: "Capture paged KV caches, keep them, restore them bit for bit",
		Long: `kvferry captures the paged KV cache of an LLM serving engine into a store,
keeps it, and restores it bit for bit.

A store is named by a URL: pack:PATH (a directory of packs), dir:PATH (a file for
each blob, as ProcessFork keeps them) or mem: (this process only). A bare path is
the store that lies there, or else a pack store.

A snapshot is named by REF: its name, its digest, or a prefix of the digest
that names only one.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 corrupt data found, 4 not found.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              cobra.NoArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.start() },
		RunE: func(c *cobra.Command, _ []string) error {
			return usage(fmt.Errorf("no command given; see %q", c.CommandPath()+" --help"))
		},
	}
	c.SetIn(a.in)
	c.SetOut(a.out)
	c.SetErr(a.err)
	f := c.PersistentFlags()
	f.StringVar(&a.store, "store", a.getenv("KVFERRY_STORE"), "store `URL`; the default is $KVFERRY_STORE")
	f.Var(&a.quota, "quota", "bytes that the store may take, as 800MB or 1.5TiB; beyond it nothing is stored")
	f.BoolVar(&a.json, "json", false, "print one JSON document; help and completion scripts stay text")
	f.StringVar(&a.logLevel, "log-level", "warn", "log records of this `level` and above: debug, info, warn, error")
	f.StringVar(&a.logFormat, "log-format", "text", "`format` of log records: text or json")
	c.SetHelpCommand(a.helpCommand())
	c.AddCommand(
		a.captureCommand(), a.restoreCommand(), a.verifyCommand(), a.lsCommand(), a.inspectCommand(),
		a.diffCommand(), a.rmCommand(), a.gcCommand(), a.checkCommand(), a.statsCommand(), a.convertCommand(),
		a.pipelineCommand(), a.indexCommand(), a.benchCommand(), a.doctorCommand(), a.demoCommand(), a.demoChildCommand(), a.versionCommand(),
	)
	needShell(c)
	return c
}

// start sets up what all commands need once the flags are known.
func (a *app) start() error {
	a.started = true
	h, err := logHandler(a.err, a.logLevel, a.logFormat)
	if err != nil {
		return usage(err)
	}
	a.log = slog.New(h)
	a.log.Info("kvferry starts", "backend", backend, "version", version().Version,
		"go", runtime.Version(), "processors", runtime.GOMAXPROCS(0))
	return nil
}

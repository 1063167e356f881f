package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kvferry/kvferry/index"
)

// indexing is what the index commands of one run share.
type indexing struct {
	*app

	url   string
	rules string
	renew bool          // the leases of workers that are announced
	lease time.Duration // of those

	toldFlush atomic.Bool
}

func (a *app) indexCommand() *cobra.Command {
	x := &indexing{app: a}
	c := &cobra.Command{
		Use:   "index",
		Short: "Keep and ask a residency index: which block lies in which tier of which worker",
		Long: `Index keeps and asks a residency index: which block of which KV cache lies in which
tier of which worker. An index is named by a URL:

  memory:                      in this process only
  art:DIR                      a radix tree in a directory, with a log
  lsm:DIR                      Pebble's tables in a directory
  fsdir:DIR                    a file for each record, to read with ls and cat
  redis://HOST:PORT,…          a Redis server or cluster, shared; rediss:// with TLS
  http://HOST:PORT             what kvferry index serve serves; read only

Blocks belong to a scope: a model, a tokenizer, maybe an adapter, and a tenant. No
question is answered from another scope than the one that it names.

Records in volatile tiers (hbm, remote_hbm, cpu_dram) are stale after an index in a
directory was opened again, until their worker announces itself: nobody sees them.
--rules as-memory and as-holt do as QuillCache's indexes do.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return usage(fmt.Errorf("no command given; see %q", c.CommandPath()+" --help"))
		},
	}
	f := c.PersistentFlags()
	f.StringVar(&x.url, "index", a.getenv("KVFERRY_INDEX"), "index `URL`; the default is $KVFERRY_INDEX")
	f.StringVar(&x.rules, "rules", index.Recommended.String(), "what is one record: recommended, as-memory or as-holt")
	c.AddCommand(
		x.serveCommand(), x.putCommand(), x.locateCommand(), x.scanCommand(), x.matchCommand(),
		x.statsCommand(), x.importCommand(), x.exportCommand(), x.watchCommand(),
	)
	return c
}

// scopeFlags name a scope.
type scopeFlags struct {
	flags   *pflag.FlagSet
	scope   index.Scope
	adapter string
}

func (s *scopeFlags) add(f *pflag.FlagSet) {
	s.flags = f
	f.StringVar(&s.scope.Model, "model", "", "the model of the scope; has to be named, if only as ''")
	f.StringVar(&s.scope.Tokenizer, "tokenizer", "", "its tokenizer; likewise")
	f.StringVar(&s.adapter, "adapter", "", "its LoRA adapter; not the same as none if it is ''")
	f.StringVar(&s.scope.Tenant, "tenant", "", "its tenant; has to be named, if only as ''")
}

// named reports whether any part of a scope is named.
func (s *scopeFlags) named() bool {
	for _, name := range []string{"model", "tokenizer", "adapter", "tenant"} {
		if s.flags.Changed(name) {
			return true
		}
	}
	return false
}

// get returns the scope, of which nothing but the adapter may be missing.
func (s *scopeFlags) get() (index.Scope, error) {
	for _, name := range []string{"model", "tokenizer", "tenant"} {
		if !s.flags.Changed(name) {
			return index.Scope{}, usage(fmt.Errorf("--%s is missing: a scope is --model, --tokenizer and --tenant, each of which may be ''", name))
		}
	}
	out := s.scope
	if s.flags.Changed("adapter") {
		out.Adapter = index.Named(s.adapter)
	}
	return out, nil
}

// parseRules reads the name of rules.
func parseRules(name string) (index.Rules, error) {
	for _, r := range []index.Rules{index.Recommended, index.AsMemory, index.AsHolt} {
		if r.String() == name {
			return r, nil
		}
	}
	return 0, usage(fmt.Errorf("--rules %q is not one of recommended, as-memory, as-holt", name))
}

var errNoIndex = errors.New("no index: give --index URL or set KVFERRY_INDEX")

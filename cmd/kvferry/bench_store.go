package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/bench/store"
)

func (a *app) benchStoreCommand() *cobra.Command {
	r := &suiteRun{app: a}
	var o store.Options
	c := &cobra.Command{
		Use:   "store [--kind KIND] [--only PART,...] [--scale SCALE] [--peers FOLDER]",
		Short: "Measure a store beside its disk and others",
		Long: `Store measures a store on disk beside what the disk gives, which fio tells if it is
installed, and beside restic and kopia, if --peers has them. Nothing is compressed, so
that a byte of a page is a byte on the disk.

Prints Go's benchmark format, or with --json one document, as bench all does.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.Validate(); err != nil {
				return usage(err)
			}
			return r.run(c, []harness.Suite{store.SuiteOf(&o)})
		},
	}
	r.add(c)
	r.addPeers(c)
	f := c.Flags()
	f.StringVar(&o.Store, "kind", store.StoreNames()[0], "`KIND` of store to measure: "+strings.Join(store.StoreNames(), ", "))
	f.StringSliceVar(&o.Only, "only", nil, "`PARTS` to measure: "+strings.Join(store.PartNames(), ", "))
	c.AddCommand(&cobra.Command{
		Use: "child TASK", Hidden: true, Args: cobra.ExactArgs(1), Short: "Do one part of bench store",
		RunE: func(c *cobra.Command, args []string) error { return typed(store.Child(c.Context(), args, a.out)) },
	})
	return c
}

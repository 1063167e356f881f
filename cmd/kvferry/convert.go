package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
)

func (a *app) convertCommand() *cobra.Command {
	var (
		from, to string
		lenient  bool
		drop     bool
		flags    writeFlags
	)
	c := &cobra.Command{
		Use:   "convert REF --to URL --format FORMAT [--from URL] [--name NAME]",
		Short: "Copy a snapshot into a store in the native or in ProcessFork's format",
		Long: `Convert reads a snapshot of one store, checks every byte, and writes it to
another store, or the same, in the wanted format. The copy keeps the time of
creation. --from defaults to --store.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if flags.format == "" {
				return usage(errors.New("--format is missing: native or processfork"))
			}
			w, err := flags.parse()
			if err != nil {
				return err
			}
			if from == "" {
				from = a.store
			}
			if to == "" {
				return usage(errors.New("--to is missing, for example --to dir:PATH"))
			}
			o := capture.ConvertOptions{Format: w.format, Names: w.names, Codec: w.codec, Image: w.image, Lenient: lenient, DropIdentity: drop}
			return a.convert(c.Context(), args[0], from, to, o)
		},
	}
	c.Flags().StringVar(&from, "from", "", "store `URL` to read from; the default is --store")
	c.Flags().StringVar(&to, "to", "", "store `URL` to write to")
	c.Flags().BoolVar(&lenient, "lenient", false, "accept inconsistent ProcessFork manifests that ProcessFork accepts")
	c.Flags().BoolVar(&drop, "drop-identity", false, "copy also into a format that cannot hold the snapshot's identity")
	flags.add(c, "")
	return c
}

// convert copies what ref means. The store to write is made only when there is
// something to put into it.
func (a *app) convert(ctx context.Context, ref, from, to string, o capture.ConvertOptions) error {
	if _, err := parseStoreURL(to); err != nil {
		return usage(fmt.Errorf("--to: %w", err))
	}
	return a.with(ctx, "--from: ", from, readAccess, func(ctx context.Context, src cas.Store) error {
		e, err := resolve(ctx, src, ref)
		if err != nil {
			return err
		}
		if _, _, err := capture.Load(ctx, src, e.Root, capture.LoadOptions{Lenient: o.Lenient}); err != nil {
			return err
		}
		o.Now = e.Created // zero, where no catalog knows it, means now
		return a.with(ctx, "--to: ", to, writeAccess, func(ctx context.Context, dst cas.Store) error {
			p := a.progress("convert")
			defer p.done()
			o.Progress = p.update
			r, err := capture.Convert(ctx, src, e.Root, dst, o)
			p.done()
			if err != nil {
				return err
			}
			return a.printWritten(r, false)
		})
	})
}

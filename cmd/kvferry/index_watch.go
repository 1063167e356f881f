package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/httpapi"
)

func (x *indexing) watchCommand() *cobra.Command {
	var after uint64
	var number int
	c := &cobra.Command{
		Use:   "watch [--after N] [--count N]",
		Short: "Print the changes of a shared index as they happen",
		Long: `Watch prints each change as one JSON document a line, until a signal ends it or as
many as --count says were printed. It begins behind the change --after, or with the
next. Changes that the index has no more are an error (kind expired): export tells
where to go on.

Only an index that others change can be watched: a server's (http://…) or Redis.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if number < 0 {
				return usage(fmt.Errorf("--count %d: want 0 or more", number))
			}
			return x.withIndex(c.Context(), false, func(i index.Index, u indexURL) error {
				if !i.Info().Shared {
					return fmt.Errorf("watch: nobody else can change %s while it is open here; watch what serves it, --index http://HOST:PORT: %w", u, kvferry.ErrUnsupported)
				}
				if !c.Flags().Changed("after") {
					m, err := i.Metrics(c.Context())
					if err != nil {
						return err
					}
					after = m.Seq
				}
				return x.watch(c.Context(), i, after, number)
			})
		},
	}
	f := c.Flags()
	f.Uint64Var(&after, "after", 0, "begin behind this change (default: the newest)")
	f.IntVar(&number, "count", 0, "end after so many changes; 0 is never")
	return c
}

// watch prints changes. That a signal ends it is how it is meant to end.
func (x *indexing) watch(ctx context.Context, i index.Index, after uint64, number int) error {
	var line []byte
	n := 0
	for c, err := range i.Watch(ctx, after) {
		if err != nil {
			var by interrupted
			if errors.As(context.Cause(ctx), &by) {
				return nil
			}
			return err
		}
		line = append(httpapi.AppendChange(line[:0], c), '\n')
		if _, err := x.out.Write(line); err != nil {
			return err
		}
		if n++; n == number {
			return nil
		}
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/cas"
)

// removal is the JSON document of rm.
type removal struct {
	Digest       string   `json:"digest"`
	RemovedNames []string `json:"removed_names"`
	Names        []string `json:"names"`   // that still point at the snapshot
	Dropped      bool     `json:"dropped"` // the snapshot is no longer listed
}

func (a *app) rmCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rm {NAME | DIGEST} [--store URL]",
		Short: "Remove a name, or a snapshot with all its names",
		Long: `Remove with a name takes that name away, and drops the snapshot with the last
one. With a digest, or a prefix of one, it drops the snapshot and every name that
points at it. The room is free after the next gc.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStore(c.Context(), changeAccess, func(ctx context.Context, s cas.Store) error {
				e, err := resolve(ctx, s, args[0])
				if err != nil {
					return err
				}
				r, err := remove(ctx, s.Catalog(), e, args[0])
				if err != nil {
					return err
				}
				return a.print(r, r.write)
			})
		},
	}
}

// remove takes away what ref means: one of e's names, or e.
func remove(ctx context.Context, c cas.Catalog, e cas.Entry, ref string) (removal, error) {
	r := removal{Digest: e.Root.String(), Names: []string{}, RemovedNames: append([]string{}, e.Names...)}
	if slices.Contains(e.Names, ref) && len(e.Names) > 1 {
		r.RemovedNames = []string{ref}
		for _, n := range e.Names {
			if n != ref {
				r.Names = append(r.Names, n)
			}
		}
		return r, c.RemoveName(ctx, ref)
	}
	r.Dropped = true
	return r, c.Drop(ctx, e.Root)
}

func (r removal) write(w io.Writer) error {
	if !r.Dropped {
		_, err := fmt.Fprintf(w, "removed the name %s; %s is still named %s\n",
			r.RemovedNames[0], shortDigest(r.Digest), strings.Join(r.Names, ", "))
		return err
	}
	named := ""
	if len(r.RemovedNames) > 0 {
		named = " (" + strings.Join(r.RemovedNames, ", ") + ")"
	}
	_, err := fmt.Fprintf(w, "dropped the snapshot %s%s; gc frees its room\n", r.Digest, named)
	return err
}

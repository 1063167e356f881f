package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry"
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
				r, err := remove(ctx, s, args[0])
				if err != nil {
					return err
				}
				return a.print(r, r.write)
			})
		},
	}
}

// remove takes away what ref means: a name, or else a snapshot with all its
// names. What becomes of the snapshot of a name is the catalog's to decide: a
// capture may be giving it another name meanwhile.
func remove(ctx context.Context, s cas.Store, ref string) (removal, error) {
	c := s.Catalog()
	gone, err := c.Remove(ctx, ref)
	if err == nil {
		r := removal{RemovedNames: []string{ref}, Names: append([]string{}, gone.Entry.Names...), Dropped: gone.Dropped}
		if gone.Entry.Root.Valid() {
			r.Digest = gone.Entry.Root.String()
		}
		return r, nil
	}
	if !errors.Is(err, kvferry.ErrNotFound) && !errors.Is(err, kvferry.ErrInvalid) {
		return removal{}, err
	}
	e, err := resolve(ctx, s, ref) // it is no name
	if err != nil {
		return removal{}, err
	}
	r := removal{Digest: e.Root.String(), Names: []string{}, RemovedNames: append([]string{}, e.Names...), Dropped: true}
	return r, c.Drop(ctx, e.Root)
}

func (r removal) write(w io.Writer) error {
	if !r.Dropped && len(r.Names) == 0 {
		_, err := fmt.Fprintf(w, "removed the name %s; no snapshot was dropped\n", r.RemovedNames[0])
		return err
	}
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

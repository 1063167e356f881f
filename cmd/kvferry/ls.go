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

// listing is the JSON document of ls.
type listing struct {
	Snapshots []snapshot `json:"snapshots"`
	Stats     *cas.Stats `json:"stats,omitempty"` // where the store counts
}

func (a *app) lsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls [--store URL]",
		Short: "List the snapshots of a store, oldest first",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(c.Context(), readAccess, func(ctx context.Context, s cas.Store) error {
				// Damaged entries are told after those that can be read.
				entries, listErr := s.Catalog().Entries(ctx)
				if listErr != nil && !errors.Is(listErr, kvferry.ErrCorrupt) {
					return listErr
				}
				out := listing{Snapshots: []snapshot{}}
				rows := [][]string{{"NAME", "DIGEST", "FORMAT", "CREATED", "PAGES", "SEQUENCES", "SIZE"}}
				for _, e := range entries {
					out.Snapshots = append(out.Snapshots, snapshotOf(e))
					rows = append(rows, []string{
						orDash(strings.Join(e.Names, " ")), shortDigest(e.Root.String()), string(e.Format), when(e.Created),
						fmt.Sprint(e.Pages), fmt.Sprint(e.Sequences), size(e.Bytes),
					})
				}
				if st, ok := s.(cas.Stater); ok {
					stats, err := st.Stats(ctx)
					if err != nil {
						return err
					}
					out.Stats = &stats
				}
				err := a.print(out, func(w io.Writer) error { return out.write(w, rows) })
				return errors.Join(err, listErr)
			})
		},
	}
}

func (l listing) write(w io.Writer, rows [][]string) error {
	if err := columns(w, rows); err != nil {
		return err
	}
	if l.Stats == nil {
		return nil
	}
	more := ""
	if l.Stats.Quarantined > 0 {
		more = fmt.Sprintf(", %s set aside as damaged", count(l.Stats.Quarantined, "blob"))
	}
	_, err := fmt.Fprintf(w, "%s, %s, %s stored%s\n", count(len(l.Snapshots), "snapshot"),
		count(l.Stats.Blobs, "blob"), size(l.Stats.StoredBytes), more)
	return err
}

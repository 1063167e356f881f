package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/cas"
)

// listing is the JSON document of ls.
type listing struct {
	Snapshots []snapshot `json:"snapshots"`
	Damaged   []string   `json:"damaged"`         // records that cannot be read
	Stats     *cas.Stats `json:"stats,omitempty"` // where the store counts
}

func (a *app) lsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls [--store URL]",
		Short: "List the snapshots of a store, oldest first",
		Long: `List shows the snapshots of a store, oldest first. Snapshots of ProcessFork that
no catalog lists, as all in the stores that it wrote itself, come last and are
marked as unlisted; to find them, ls reads the SHA-256 blobs of the store.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(c.Context(), readAccess, func(ctx context.Context, s cas.Store) error {
				found, err := contentsOf(ctx, s)
				if err != nil {
					return err
				}
				out := listing{Snapshots: found.snapshots(), Damaged: found.damaged()}
				if st, ok := s.(cas.Stater); ok {
					stats, err := st.Stats(ctx)
					if err != nil {
						return err
					}
					out.Stats = &stats
				}
				err = a.print(out, func(w io.Writer) error { return out.write(w, found) })
				return errors.Join(err, found.damage)
			})
		},
	}
}

// rows returns the table of a listing.
func (c contents) rows() [][]string {
	rows := [][]string{{"NAME", "DIGEST", "FORMAT", "CREATED", "PAGES", "SEQUENCES", "SIZE"}}
	add := func(name string, e cas.Entry) {
		rows = append(rows, []string{
			name, shortDigest(e.Root.String()), string(e.Format), when(e.Created),
			fmt.Sprint(e.Pages), fmt.Sprint(e.Sequences), size(e.Bytes),
		})
	}
	for _, e := range c.listed {
		add(orDash(strings.Join(e.Names, " ")), e)
	}
	for _, e := range c.unlisted {
		add("(unlisted)", e)
	}
	return rows
}

func (l listing) write(w io.Writer, c contents) error {
	if err := columns(w, c.rows()); err != nil {
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

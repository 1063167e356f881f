package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
)

// collection is the JSON document of gc.
type collection struct {
	DryRun       bool       `json:"dry_run"`
	Kept         []snapshot `json:"kept"`
	Dropped      []snapshot `json:"dropped"`
	LiveBlobs    int64      `json:"live_blobs"`
	LiveBytes    int64      `json:"live_bytes"` // as stored, like all sizes here
	DeletedBlobs int64      `json:"deleted_blobs"`
	DeletedBytes int64      `json:"deleted_bytes"`
	MovedBytes   int64      `json:"moved_bytes"` // copied to free the room beside them
	FreedBytes   int64      `json:"freed_bytes"` // by which the store's packs shrink
	Stale        int64      `json:"stale"`       // leftovers of ended processes
}

func (a *app) gcCommand() *cobra.Command {
	var (
		last     int
		within   age
		dry      bool
		unlisted bool
	)
	c := &cobra.Command{
		Use:   "gc [--keep-last N] [--keep-within D] [--dry-run] [--store URL]",
		Short: "Delete what no snapshot refers to",
		Long: `gc deletes blobs that neither a snapshot nor a running capture refers to. With
--keep-last or --keep-within it first drops snapshots. Kept are the newest N of
all snapshots, those younger than D, and always those with a name.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if last < 0 {
				return usage(fmt.Errorf("--keep-last %d is negative", last))
			}
			how := changeAccess
			if dry {
				how = readAccess
			}
			if unlisted {
				how |= dropUnlisted
			}
			return a.withStore(c.Context(), how, func(ctx context.Context, s cas.Store) error {
				g, ok := s.(cas.Collector)
				if !ok {
					return fmt.Errorf("gc: this store cannot collect: %w", kvferry.ErrUnsupported)
				}
				r, err := g.Collect(ctx, cas.CollectOptions{
					References: capture.References(s, nil),
					KeepLast:   last, KeepWithin: time.Duration(within), DryRun: dry,
				})
				if err != nil {
					return stopped(err)
				}
				out := collectionOf(r, dry)
				return a.print(out, out.write)
			})
		},
	}
	c.Flags().IntVar(&last, "keep-last", 0, "keep the newest `N` of all snapshots, and always the named ones")
	c.Flags().Var(&within, "keep-within", "keep the snapshots younger than `D`, as 7d or 36h, and always the named ones")
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be done and change nothing")
	c.Flags().BoolVar(&unlisted, "drop-unlisted", false, "delete manifests that no snapshot or image lists also in a store that ProcessFork made")
	return c
}

// stopped says what to do about a snapshot that stops a collection, because
// what it needs cannot be told.
func stopped(err error) error {
	if !errors.Is(err, kvferry.ErrCorrupt) && !errors.Is(err, kvferry.ErrNotFound) {
		return err
	}
	return fmt.Errorf("gc: nothing is deleted while a snapshot cannot be read; heal it with check --repair --from URL, or drop it with rm: %w: %w", kvferry.ErrCorrupt, err)
}

func collectionOf(r cas.CollectReport, dry bool) collection {
	c := collection{
		DryRun: dry, Kept: []snapshot{}, Dropped: []snapshot{}, LiveBlobs: r.Live, LiveBytes: r.LiveBytes,
		DeletedBlobs: r.Deleted, DeletedBytes: r.DeletedBytes,
		MovedBytes: r.MovedBytes, FreedBytes: r.FreedBytes, Stale: r.Stale,
	}
	for _, e := range r.Kept {
		c.Kept = append(c.Kept, snapshotOf(e))
	}
	for _, e := range r.Dropped {
		c.Dropped = append(c.Dropped, snapshotOf(e))
	}
	return c
}

func (c collection) write(w io.Writer) error {
	would := ""
	if c.DryRun {
		would = "would be "
	}
	for _, s := range c.Dropped {
		if _, err := fmt.Fprintf(w, "%sdropped: %s of %s\n", would, shortDigest(s.Digest), s.Created); err != nil {
			return err
		}
	}
	pairs := []string{
		"snapshots", fmt.Sprintf("%d kept, %d %sdropped", len(c.Kept), len(c.Dropped), would),
		"kept", fmt.Sprintf("%s, %s", count(c.LiveBlobs, "blob"), size(c.LiveBytes)),
		would + "deleted", fmt.Sprintf("%s, %s", count(c.DeletedBlobs, "blob"), size(c.DeletedBytes)),
	}
	if c.MovedBytes != 0 || c.FreedBytes != 0 {
		pairs = append(pairs, would+"moved", size(c.MovedBytes), would+"freed", size(c.FreedBytes)+" of the packs")
	}
	return facts(w, append(pairs, would+"removed", fmt.Sprintf("%s of ended processes", count(c.Stale, "leftover")))...)
}

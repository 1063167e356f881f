package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
)

// statistics is the JSON document of stats.
type statistics struct {
	Store     string `json:"store"`
	Snapshots int    `json:"snapshots"`
	cas.Stats
	// LiveBytes are those of blobs that are no cache, as stored.
	LiveBytes int64 `json:"live_bytes"`
	// Amplification is how many bytes the store takes for each byte that it
	// stores; 0 where it does not count them.
	Amplification float64 `json:"amplification"`
}

func (a *app) statsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stats [--store URL]",
		Short: "Say what a store holds and what that takes on the disk",
		Long: `Stats counts a store's blobs and bytes as stored. Live are all blobs that are no
cache, until gc deletes those that no snapshot needs any more; dead is the room of
what was deleted or never committed, which gc reclaims; on disk are all files of
the store.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(c.Context(), readAccess, func(ctx context.Context, s cas.Store) error {
				out, damage, err := a.statistics(ctx, s)
				if err != nil {
					return err
				}
				return errors.Join(a.print(out, out.write), damage)
			})
		},
	}
}

// statistics counts. Records of the catalog that cannot be read are told by
// damage.
func (a *app) statistics(ctx context.Context, s cas.Store) (out statistics, damage, err error) {
	st, ok := s.(cas.Stater)
	if !ok {
		return out, nil, fmt.Errorf("stats: this store does not count: %w", kvferry.ErrUnsupported)
	}
	if out.Stats, err = st.Stats(ctx); err != nil {
		return out, nil, err
	}
	entries, damage := s.Catalog().Entries(ctx)
	if damage != nil && !errors.Is(damage, kvferry.ErrCorrupt) && !errors.Is(damage, kvferry.ErrUnsupported) {
		return out, nil, damage
	}
	u, err := locate(a.store)
	out.Store, out.Snapshots = u.String(), len(entries)
	out.LiveBytes, out.Amplification = out.StoredBytes-out.CacheBytes, out.Stats.Amplification()
	return out, damage, err
}

func (s statistics) write(w io.Writer) error {
	amount := func(blobs, bytes int64) string { return fmt.Sprintf("%s, %s", count(blobs, "blob"), size(bytes)) }
	pairs := []string{
		"store", s.Store,
		"snapshots", fmt.Sprint(s.Snapshots),
		"live", amount(s.Blobs-s.CacheBlobs, s.LiveBytes),
	}
	if s.CacheBlobs > 0 || s.CacheQuotaBytes > 0 {
		pairs = append(pairs, "cache", amount(s.CacheBlobs, s.CacheBytes)+of(s.CacheQuotaBytes))
	}
	pairs = append(pairs, "quarantined", amount(s.Quarantined, s.QuarantinedBytes))
	if s.DiskBytes > 0 {
		dead := size(s.DeadBytes)
		if s.DeadBytes > 0 {
			dead += ", which gc can reclaim"
		}
		pairs = append(pairs,
			"dead", dead,
			"on disk", fmt.Sprintf("%s, %.3f for each byte stored", size(s.DiskBytes), s.Amplification))
	}
	quota := "none"
	if s.QuotaBytes > 0 {
		quota = size(s.QuotaBytes)
	}
	return facts(w, append(pairs, "quota", quota, "sessions", count(s.Sessions, "live one"))...)
}

// of says what a size is a part of, if there is a bound.
func of(quota int64) string {
	if quota == 0 {
		return ""
	}
	return " of " + size(quota)
}

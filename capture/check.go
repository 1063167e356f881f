package capture

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// CheckOptions guide a Check. The zero value works.
type CheckOptions struct {
	// Key of a tenant, so that its blobs can be checked too.
	Key *digest.Key
	// Workers that read and hash; 0 means one per processor.
	Workers int
	// Progress, if set, is called from several goroutines; it counts blobs as
	// pages.
	Progress func(Progress)
}

// CheckReport says what a Check found.
type CheckReport struct {
	Blobs int64 // blobs read
	Bytes int64 // their plain bytes
	// Unchecked counts keyed blobs that the key, if one was given, did not
	// fit: they were decoded but not hashed, and belong to other tenants or are
	// damaged.
	Unchecked int64
	// Bad lists damaged blobs, and damage outside blobs; Leftovers what ended
	// processes left behind, which is no damage and goes with the next
	// collection.
	Bad, Leftovers []cas.Problem
	// Snapshots holds every snapshot in the catalog, then the page manifests
	// of ProcessFork that the catalog does not know.
	Snapshots []SnapshotHealth
	Elapsed   time.Duration
}

// SnapshotHealth says what the damage of a store means for one snapshot.
type SnapshotHealth struct {
	Entry    cas.Entry
	Unlisted bool // not in the catalog
	// Unchecked says that the snapshot is a tenant's whose key was not given.
	Unchecked bool
	// Err says why the manifest or a page table cannot be read: then nothing
	// of the snapshot can be restored.
	Err    error
	Losses []Loss
	// PagesLost counts the pages that miss at least one part.
	PagesLost int
}

// Sound reports whether no damage at all was found.
func (r *CheckReport) Sound() bool {
	for _, s := range r.Snapshots {
		if s.Err != nil || len(s.Losses) > 0 {
			return false
		}
	}
	return len(r.Bad) == 0
}

// Check reads and hashes every blob of a store, looks at its catalog, and
// works out what the damage means for each snapshot. Damage is reported, not
// returned as an error; damaged blobs are quarantined where the store can be
// written. A store that cannot list its blobs is ErrUnsupported.
func Check(ctx context.Context, s cas.Store, o CheckOptions) (CheckReport, error) {
	start := time.Now()
	if err := checkWorkers(o.Workers); err != nil {
		return CheckReport{}, err
	}
	c := newChecking(s, o)
	if err := c.run(ctx); err != nil {
		return CheckReport{}, fmt.Errorf("capture: check: %w", err)
	}
	c.report.Elapsed = time.Since(start)
	return c.report, nil
}

func (c *checking) run(ctx context.Context) error {
	if err := c.blobs(ctx); err != nil {
		return err
	}
	ch, ok := c.store.(cas.Checker)
	if ok {
		if err := ch.Check(ctx, c.problem); err != nil {
			return err
		}
	}
	entries, err := c.store.Catalog().Entries(ctx)
	switch {
	case err == nil:
	case !errors.Is(err, kvferry.ErrCorrupt) && !errors.Is(err, kvferry.ErrUnsupported):
		return err
	case !ok: // else the store reported the entries by itself
		c.problem(cas.Problem{Err: err})
	}
	for _, e := range entries {
		delete(c.manifests, e.Root)
	}
	for _, e := range c.manifests {
		entries = append(entries, e)
	}
	slices.SortStableFunc(entries[len(entries)-len(c.manifests):], func(a, b cas.Entry) int { return a.Root.Compare(b.Root) })
	for _, e := range entries {
		h, err := c.health(ctx, e)
		if err != nil {
			return err
		}
		_, h.Unlisted = c.manifests[e.Root]
		c.report.Snapshots = append(c.report.Snapshots, h)
	}
	return nil
}

func (c *checking) problem(p cas.Problem) {
	if p.Leftover {
		c.report.Leftovers = append(c.report.Leftovers, p)
	} else {
		c.report.Bad = append(c.report.Bad, p)
	}
}

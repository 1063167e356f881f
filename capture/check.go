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
	// Quick asks for the store's own scrub, where it is a cas.Scrubber: what is
	// stored is read in the order in which it lies and held against its
	// checksums, and nothing is decoded or hashed. Other stores are checked in
	// depth all the same.
	Quick bool
	// Repair mends the store's log and index, where the store is a cas.Repairer,
	// sets damaged blobs aside, where the store is a cas.Quarantiner, and
	// heals those that are damaged, or missed by a snapshot, from From.
	Repair bool
	// From is a store that may have sound copies; nil means that there is none.
	// It is only read.
	From cas.Store
	// Workers that read and hash; 0 means one per processor.
	Workers int
	// Progress, if set, is called from several goroutines; it counts blobs as
	// pages, and bytes as stored.
	Progress func(Progress)
}

// CheckReport says what a Check found.
type CheckReport struct {
	// Deep says that every blob was decoded and hashed; else only what is
	// stored was held against its checksums.
	Deep  bool
	Blobs int64 // blobs read
	Bytes int64 // their plain bytes, or if not Deep what was read
	// Unchecked counts keyed blobs that the key, if one was given, did not
	// fit: they were decoded but not hashed, and belong to other tenants or are
	// damaged. A check that is not Deep counts none.
	Unchecked int64
	// Bad lists damaged blobs, and damage outside blobs; Leftovers what ended
	// processes left behind, which is no damage and goes with the next
	// collection. What a repair has done away with is not in Bad.
	Bad, Leftovers []cas.Problem
	// Mended says what a repair did, in order of the digests.
	Mended []Mended
	// Rebuilt says what a repair did to the store's log and index, where the
	// store is a cas.Repairer; what they lost is in Bad, too. Relisted are the
	// snapshots that the catalog had lost, or that were removed before, and that
	// are in it again, without names.
	Rebuilt  cas.RepairReport
	Relisted []cas.Entry
	// Snapshots holds every snapshot in the catalog, then the page manifests
	// of ProcessFork that the catalog does not know: as they are after the
	// repair, if there was one.
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

// Check reads what is in a store, looks at its catalog, and works out what the
// damage means for each snapshot. Damage is reported, not returned as an error;
// what does not decode or does not hash to its digest is quarantined where the
// store can be written, as by every reading. A store that cannot list its blobs
// is ErrUnsupported.
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
	if c.opts.Repair {
		if err := c.rebuild(ctx); err != nil {
			return fmt.Errorf("repair: %w", err)
		}
	}
	if err := c.contents(ctx); err != nil {
		return err
	}
	entries, damage := c.store.Catalog().Entries(ctx)
	if damage != nil && !errors.Is(damage, kvferry.ErrCorrupt) && !errors.Is(damage, kvferry.ErrUnsupported) {
		return damage
	}
	entries = c.withUnlisted(entries)
	if c.opts.Repair {
		if err := c.repair(ctx, entries); err != nil {
			return fmt.Errorf("repair: %w", err)
		}
	}
	if ch, ok := c.store.(cas.Checker); ok {
		if err := ch.Check(ctx, c.problem); err != nil {
			return err
		}
	} else if damage != nil { // else the store reported the entries by itself
		c.problem(cas.Problem{Err: damage})
	}
	for _, e := range entries {
		if err := c.snapshot(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// snapshot reports the health of one snapshot, unless it was removed meanwhile
// and a collection deleted what it needed.
func (c *checking) snapshot(ctx context.Context, e cas.Entry) error {
	problems := len(c.report.Bad)
	h, err := c.health(ctx, e)
	if err != nil {
		return err
	}
	_, h.Unlisted = c.manifests[e.Root]
	if sound := h.Err == nil && len(h.Losses) == 0 && problems == len(c.report.Bad); !sound && !h.Unlisted {
		there, err := Listed(ctx, c.store, e.Root)
		if err != nil {
			return err
		}
		if !there {
			c.report.Bad = c.report.Bad[:problems]
			return nil
		}
	}
	c.report.Snapshots = append(c.report.Snapshots, h)
	return nil
}

// Listed reports whether a snapshot is in a store's catalog now. Whoever finds
// damage in a snapshot that was listed some time ago can tell by it that
// another process removed it.
func Listed(ctx context.Context, s cas.Store, root digest.Digest) (bool, error) {
	entries, err := s.Catalog().Entries(ctx)
	if err != nil && !errors.Is(err, kvferry.ErrCorrupt) && !errors.Is(err, kvferry.ErrUnsupported) {
		return false, err
	}
	return slices.ContainsFunc(entries, func(e cas.Entry) bool { return e.Root == root }), nil
}

// contents looks at all that is stored, in the way that was asked for.
func (c *checking) contents(ctx context.Context) error {
	if sc, ok := c.store.(cas.Scrubber); ok && c.opts.Quick {
		return c.stored(ctx, sc)
	}
	c.report.Deep = true
	return c.blobs(ctx)
}

// withUnlisted appends the manifests that the catalog does not know, and
// forgets those that it does.
func (c *checking) withUnlisted(entries []cas.Entry) []cas.Entry {
	for _, e := range entries {
		delete(c.manifests, e.Root)
	}
	for _, e := range c.manifests {
		entries = append(entries, e)
	}
	slices.SortStableFunc(entries[len(entries)-len(c.manifests):], func(a, b cas.Entry) int { return a.Root.Compare(b.Root) })
	return entries
}

func (c *checking) problem(p cas.Problem) {
	if p.Leftover {
		c.report.Leftovers = append(c.report.Leftovers, p)
	} else {
		c.report.Bad = append(c.report.Bad, p)
	}
}

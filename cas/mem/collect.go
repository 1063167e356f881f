package mem

import (
	"context"
	"fmt"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// Collect implements cas.Collector.
//
// A collection has a number, the epoch. It marks with it what the snapshots in
// the catalog need and then deletes what is unmarked, not held by a session,
// and was not released by one since the epoch began. The last condition covers
// a session that commits after the catalog was read: it publishes its snapshot
// first and releases its blobs then, in this epoch.
func (s *Store) Collect(ctx context.Context, o cas.CollectOptions) (cas.CollectReport, error) {
	var report cas.CollectReport
	if err := s.checkOpen(ctx, "collect"); err != nil {
		return report, err
	}
	if err := o.Validate(); err != nil {
		return report, fmt.Errorf("mem: %w", err)
	}
	if o.Now.IsZero() {
		o.Now = s.opts.Now()
	}
	s.collectMu.Lock()
	defer s.collectMu.Unlock()
	for _, sess := range s.liveSessions() {
		sess.expire() // no change that anybody can see, so dry runs do it too
	}
	epoch := s.epoch.Add(1)
	if err := s.markKept(ctx, o, epoch, &report); err != nil {
		return cas.CollectReport{}, err
	}
	for i := range s.shards {
		if err := s.sweep(ctx, &s.shards[i], epoch, o.DryRun, &report); err != nil {
			return report, err
		}
	}
	return report, nil
}

// markKept marks the blobs of the snapshots that stay, and drops the others.
// A snapshot that is named or committed again meanwhile is kept after all.
func (s *Store) markKept(ctx context.Context, o cas.CollectOptions, epoch uint64, report *cas.CollectReport) error {
	kept, dropped, commits := s.catalog.split(o)
	for {
		for _, e := range kept {
			if err := s.mark(ctx, o.References, e, epoch); err != nil {
				return err
			}
		}
		report.Kept = append(report.Kept, kept...)
		if o.DryRun {
			report.Dropped = dropped
			return nil
		}
		kept, dropped = s.catalog.dropUnchanged(dropped, commits)
		if len(kept) == 0 {
			report.Dropped = dropped
			return nil
		}
	}
}

func (s *Store) mark(ctx context.Context, refs cas.References, e cas.Entry, epoch uint64) error {
	if err := s.checkOpen(ctx, "collect"); err != nil {
		return err
	}
	err := refs(ctx, e, func(d digest.Digest) error {
		sh := s.shard(d)
		sh.mu.Lock()
		defer sh.mu.Unlock()
		if i, ok := sh.index[d]; ok {
			sh.recs[i].marked = epoch
		}
		return ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("mem: collect: references of %v: %w", e.Root, err)
	}
	return nil
}

// sweep deletes the shard's garbage, or counts it.
func (s *Store) sweep(ctx context.Context, sh *shard, epoch uint64, dryRun bool, report *cas.CollectReport) error {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if err := s.checkOpen(ctx, "collect"); err != nil {
		return err
	}
	if sh.closed { // see Get
		return closedErr("collect")
	}
	for d, i := range sh.index {
		r := &sh.recs[i]
		if r.marked == epoch || r.pins > 0 || r.released >= epoch {
			report.Live++
			report.LiveBytes += r.room.bytes
			continue
		}
		report.Deleted++
		report.DeletedBytes += r.room.bytes
		if !dryRun {
			s.removeLocked(sh, d, i)
		}
	}
	return nil
}

// split divides the catalog by the policy. It also returns which commit wrote
// each snapshot, for dropUnchanged.
func (c *catalog) split(o cas.CollectOptions) (kept, dropped []cas.Entry, commits map[digest.Digest]uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	entries := c.listLocked()
	commits = make(map[digest.Digest]uint64, len(entries))
	for _, e := range entries {
		commits[e.Root] = c.snapshots[e.Root].commit
	}
	kept, dropped = o.Split(entries, o.Now)
	return kept, dropped, commits
}

// dropUnchanged takes the entries out of the catalog unless some of them were
// named or committed again since; then it returns those, and what is left to
// drop, and changes nothing.
func (c *catalog) dropUnchanged(entries []cas.Entry, commits map[digest.Digest]uint64) (rescued, rest []cas.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	named := map[digest.Digest]bool{}
	for _, root := range c.names {
		named[root] = true
	}
	for _, e := range entries {
		if l := c.snapshots[e.Root]; l != nil && (named[e.Root] || l.commit != commits[e.Root]) {
			rescued = append(rescued, e)
		} else {
			rest = append(rest, e)
		}
	}
	if len(rescued) == 0 {
		for _, e := range rest {
			delete(c.snapshots, e.Root)
		}
	}
	return rescued, rest
}

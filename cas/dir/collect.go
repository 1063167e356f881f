//go:build unix

package dir

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

// collection is one run of the collector. Collectors exclude each other by a
// lock. Marking runs beside the sessions; each batch of the sweep excludes
// them for a moment, in which their leases and the catalog are read again.
type collection struct {
	s      *Store
	o      cas.CollectOptions
	report cas.CollectReport

	marked    map[digest.Digest]bool     // needed: true by a snapshot, false by what ProcessFork left
	protected map[digest.Digest]struct{} // needed by a session
	seen      map[digest.Digest]bool     // snapshots that are marked, or to be dropped
	images    map[string]bool            // image markers that are marked
	sessions  map[string]*leaseReader    // live ones
	dead      map[string]bool
}

// Collect implements cas.Collector. Beside what the snapshots and sessions
// need it keeps what is ProcessFork's, which lists nothing: what the image
// markers in images/ refer to; page and image manifests that nothing refers
// to, with their pages, unless they were dropped from our catalog or
// Options.DropUnlisted is set; and SHA-256 blobs of the last hour, whose
// manifest may be yet to come. A snapshot, image or session that cannot be
// read ends the collection before anything is deleted, and so does a name where
// the policy drops something.
func (s *Store) Collect(ctx context.Context, o cas.CollectOptions) (cas.CollectReport, error) {
	if err := s.start(ctx); err != nil {
		return cas.CollectReport{}, err
	}
	defer s.stop()
	if err := o.Validate(); err != nil {
		return cas.CollectReport{}, fmt.Errorf("dir: %w", err)
	}
	if s.o.ReadOnly && !o.DryRun {
		return cas.CollectReport{}, fmt.Errorf("dir: collect in %s: %w", s.fs.root, kvferry.ErrReadOnly)
	}
	if o.Now.IsZero() {
		o.Now = s.clock()
	}
	c := &collection{s: s, o: o,
		marked: map[digest.Digest]bool{}, protected: map[digest.Digest]struct{}{},
		seen: map[digest.Digest]bool{}, images: map[string]bool{},
		sessions: map[string]*leaseReader{}, dead: map[string]bool{}}
	defer c.close()
	var err error
	if s.o.ReadOnly {
		err = c.run(ctx)
	} else {
		err = s.locked(ctx, collectLock, func() error { return c.run(ctx) })
	}
	if err != nil {
		err = fmt.Errorf("dir: collect: %w", err)
	}
	return c.report, err
}

func (c *collection) close() {
	for _, r := range c.sessions {
		_ = closeReader(r)
	}
}

func (c *collection) run(ctx context.Context) error {
	entries, badNames, err := c.s.entries(ctx)
	if err != nil {
		return err
	}
	kept, dropped := c.o.Split(entries, c.o.Now)
	if len(dropped) > 0 && badNames != nil { // one of them may have such a name
		return badNames
	}
	for _, e := range kept {
		if err := c.mark(ctx, e); err != nil {
			return err
		}
	}
	leave, err := c.s.dropped(ctx)
	if err != nil {
		return err
	}
	for _, e := range dropped { // with their markers, which would keep them
		c.seen[e.Root] = true
		leave[e.Root] = true
		if e.Image.Valid() {
			c.images[markerName(e.Image)] = true
			leave[e.Image] = true
		}
	}
	if !c.s.o.DropUnlisted {
		if err := c.markUnlisted(ctx, leave); err != nil {
			return err
		}
	}
	if err := c.restoreMarkers(ctx, kept); err != nil {
		return err
	}
	if err := c.markImages(ctx); err != nil {
		return err
	}
	c.report.Kept = kept
	if c.o.DryRun {
		c.report.Dropped = dropped
		if err := c.refresh(ctx); err != nil && !errors.Is(err, errChanged) {
			return err
		}
		return c.sweep(ctx)
	}
	if err := c.drop(ctx, dropped); err != nil {
		return err
	}
	if err := c.sweep(ctx); err != nil {
		return err
	}
	return c.forgetDropped(ctx)
}

// drop drops the snapshots that the policy does not keep, unless they got a
// name or were committed anew since they were listed.
func (c *collection) drop(ctx context.Context, dropped []cas.Entry) error {
	if len(dropped) == 0 {
		return nil
	}
	return c.s.locked(ctx, catalogLock, func() error {
		names, err := c.s.names(ctx)
		if err != nil {
			return err
		}
		for _, e := range dropped {
			now, err := c.s.entry(e.Root)
			if err != nil && !errors.Is(err, kvferry.ErrNotFound) {
				return err
			}
			// From here on the sweep marks what it finds.
			delete(c.seen, e.Root)
			delete(c.images, markerName(e.Image))
			switch {
			case err != nil: // dropped meanwhile
			case len(names[e.Root]) > 0 || !now.Created.Equal(e.Created):
				now.Names = names[e.Root]
				c.report.Kept = append(c.report.Kept, now)
			default:
				if err := c.s.removeEntry(now); err != nil {
					return err
				}
				c.report.Dropped = append(c.report.Dropped, e)
			}
		}
		return nil
	})
}

// mark marks what the snapshot e needs.
func (c *collection) mark(ctx context.Context, e cas.Entry) error {
	c.marked[e.Root] = true
	err := c.o.References(ctx, e, func(d digest.Digest) error {
		if !d.Valid() {
			return fmt.Errorf("reference to an invalid digest: %w", kvferry.ErrInvalid)
		}
		c.marked[d] = true
		return ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("references of %v: %w", e.Root, err)
	}
	c.seen[e.Root] = true
	return nil
}

// keep marks d, which something of ProcessFork's refers to.
func (c *collection) keep(d digest.Digest) {
	if _, marked := c.marked[d]; !marked {
		c.marked[d] = false
	}
}

// errChanged says that the catalog has something that is not marked.
var errChanged = errors.New("dir: catalog changed")

// refresh reads the leases that are new or grew, and is errChanged if there
// are snapshots or images that are not marked.
func (c *collection) refresh(context.Context) error {
	if err := c.readLeases(); err != nil {
		return err
	}
	roots, err := c.s.roots()
	if err != nil {
		return err
	}
	changed := slices.ContainsFunc(roots, func(d digest.Digest) bool { return !c.seen[d] })
	images, err := c.s.listOrNone(imagesDir)
	if err != nil {
		return err
	}
	for _, name := range images {
		_, ok := imageOf(name)
		changed = changed || ok && !c.images[name]
	}
	if changed {
		return errChanged
	}
	return nil
}

// readLeases learns what the live sessions need, and removes the files of
// those that ended without removing them: dead, or past their lease. From
// then on such a session cannot commit.
func (c *collection) readLeases() error {
	names, err := c.s.listOrNone(sessionsDir)
	if err != nil {
		return err
	}
	for _, id := range names {
		if !validID(id) || c.dead[id] {
			continue
		}
		r := c.sessions[id]
		if r == nil {
			if r, err = c.s.openLease(id); errors.Is(err, kvferry.ErrCorrupt) {
				continue // no file, so no session's
			}
			if err != nil {
				return err
			}
		}
		if r != nil {
			found := []digest.Digest{}
			if err := r.more(&c.s.fs, func(d digest.Digest) { found = append(found, d) }); err != nil {
				_ = closeReader(r)
				delete(c.sessions, id)
				return err
			}
			if !c.s.clock().After(r.until) {
				c.sessions[id] = r
				for _, d := range found {
					c.protected[d] = struct{}{}
				}
				continue
			}
			_ = closeReader(r)
			delete(c.sessions, id)
		}
		c.dead[id] = true
		c.report.Stale++
		if !c.o.DryRun {
			if err := c.s.fs.unlink(sessionsDir + "/" + id); err != nil && !missing(err) {
				return unwritten("remove", sessionsDir+"/"+id, err)
			}
		}
	}
	return nil
}

// graceful is how old a file must be before it is taken for a leftover of a
// process that nobody can ask.
const graceful = time.Hour

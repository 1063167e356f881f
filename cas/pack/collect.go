package pack

import (
	"context"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/table"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// Collect implements cas.Collector. One collection runs at a time, in whatever
// process.
//
// It marks what the snapshots need, publishes in the log that it is about to
// remove the rest (condemns it), looks then at what sessions hold, and removes
// what is neither marked nor held. A session that finds a condemned blob takes
// it for absent and stores it anew; one that held a blob before is seen. A
// snapshot that is committed meanwhile is marked before the removal, with the
// log locked; its session let go of nothing before that. So nothing waits for
// anything but the log. If the collector dies, the next one pardons.
//
// What is left in packs with much garbage is copied, pack by pack: beyond what
// the store takes, that takes at any time at most the room of two packs (one
// that is copied, one that is being removed), and on a full disk that of one.
func (s *Store) Collect(ctx context.Context, o cas.CollectOptions) (cas.CollectReport, error) {
	if err := o.Validate(); err != nil {
		return cas.CollectReport{}, fmt.Errorf("pack: %w", err)
	}
	begin := s.start
	if !o.DryRun {
		begin = func(ctx context.Context) error { return s.startWrite(ctx, "collect") }
	}
	if err := begin(ctx); err != nil {
		return cas.CollectReport{}, err
	}
	defer s.stop()
	if o.Now.IsZero() {
		o.Now = s.o.Clock()
	}
	s.collectMu.Lock()
	defer s.collectMu.Unlock()
	s.collecting.Store(true)
	defer s.collecting.Store(false)
	c := &collection{s: s, o: o}
	err := c.run(ctx)
	if err != nil {
		err = fmt.Errorf("pack: collect: %w", err)
	}
	return c.report, err
}

// collection is one run of the collector.
type collection struct {
	s      *Store
	o      cas.CollectOptions
	report cas.CollectReport

	version uint64                   // of the catalog that was marked
	seen    map[digest.Digest]uint64 // versions of the marked snapshots
	garbage map[*packInfo][]stored   // by pack, in order of place
	held    holdSet
	wanted  holdSet // what a snapshot needs and was not there when it was marked

	removing   *removal
	short      error  // why the log had no room to name all of it
	generation uint64 // of the log while this was found
	condemned  bool   // something was
}

func (c *collection) run(ctx context.Context) error {
	s := c.s
	if s.commits != nil {
		unlock, err := s.collectAlone(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		for _, x := range s.openSessions() {
			x.expire() // nobody can see the difference, so dry runs do it, too
		}
		// What does not reach the log is no garbage yet; on a full disk that is so.
		if err := s.commits.submit(ctx, &request{flush: true}); err != nil && !errors.Is(err, kvferry.ErrNoSpace) {
			return err
		}
		if !c.o.DryRun {
			if err := s.endTails(ctx); err != nil {
				return err
			}
		}
	}
	if err := s.refresh(ctx); err != nil {
		return err
	}
	if err := s.whole(); err != nil {
		return err
	}
	stale, err := s.tidy(ctx, c.o.DryRun)
	if err != nil {
		return err
	}
	c.report.Stale = stale
	if err := c.mark(ctx); err != nil {
		c.report = cas.CollectReport{Stale: stale}
		return err
	}
	return c.rounds(ctx)
}

// collectAlone keeps other collectors out, those of other processes included.
func (s *Store) collectAlone(ctx context.Context) (func(), error) {
	f, err := s.fs.Open(markerName, vfs.ReadOnly)
	if missing(err) {
		return nil, fmt.Errorf("pack: %s lost %s: put it back, or run check --repair: %w: %w", s.root, markerName, err, kvferry.ErrCorrupt)
	}
	if err != nil {
		return nil, failed("open", markerName, err)
	}
	if err := f.Lock(ctx); err != nil {
		_ = f.Close() // it was only read
		return nil, failed("lock", markerName, err)
	}
	return func() { _ = f.Close() }, nil // closing unlocks
}

// mark marks what the snapshots that stay need, and drops the others. One that
// was named or committed again meanwhile stays after all.
func (c *collection) mark(ctx context.Context) error {
	s := c.s
	s.st().table.ClearAll(table.Marked)
	versions := s.st().versions() // first: what is committed again meanwhile is marked again
	entries, version := s.st().entries()
	kept, dropped := c.o.Split(entries, c.o.Now)
	c.seen = map[digest.Digest]uint64{}
	if err := c.markAll(ctx, kept, versions); err != nil {
		return err
	}
	c.version = version
	if c.o.DryRun || len(dropped) == 0 {
		c.report.Dropped = dropped
		return nil
	}
	var rescued []cas.Entry
	err := s.commits.submit(ctx, &request{room: frees, build: func(v *view, o *ops) error {
		c.report.Dropped, rescued = nil, nil // it may run twice
		named := map[digest.Digest]bool{}
		for _, root := range v.names {
			named[root] = true
		}
		for _, e := range dropped {
			switch l, ok := v.snapshots[e.Root]; {
			case !ok:
			case named[e.Root] || l.version != versions[e.Root]:
				rescued = append(rescued, e)
				continue
			default:
				o.forget(e.Root)
			}
			c.report.Dropped = append(c.report.Dropped, e)
		}
		return nil
	}})
	if err != nil {
		return err
	}
	return c.markAll(ctx, rescued, versions)
}

// versions returns when each snapshot was committed last.
func (st *state) versions() map[digest.Digest]uint64 {
	st.mu.RLock()
	defer st.mu.RUnlock()
	out := make(map[digest.Digest]uint64, len(st.snapshots))
	for root, l := range st.snapshots {
		out[root] = l.version
	}
	return out
}

func (c *collection) markAll(ctx context.Context, entries []cas.Entry, versions map[digest.Digest]uint64) error {
	for _, e := range entries {
		err := c.o.References(ctx, e, func(d digest.Digest) error {
			if !c.s.st().table.Set(d, table.Marked, true) {
				c.wanted.add(prefixOf(d)) // it may be healed meanwhile
			}
			return ctx.Err()
		})
		if err != nil {
			return fmt.Errorf("references of %v: %w", e.Root, err)
		}
		if _, again := c.seen[e.Root]; !again {
			c.report.Kept = append(c.report.Kept, e)
		}
		c.seen[e.Root] = versions[e.Root]
	}
	return nil
}

// markNew marks the snapshots that were committed since the last look.
func (c *collection) markNew(ctx context.Context) error {
	st := c.s.st()
	versions := st.versions()
	entries, version := st.entries()
	if version == c.version {
		return nil
	}
	var fresh []cas.Entry
	for _, e := range entries {
		if v, ok := c.seen[e.Root]; !ok || v != versions[e.Root] {
			fresh = append(fresh, e)
		}
	}
	c.version = version
	return c.markAll(ctx, fresh, versions)
}

// hold collects what sessions hold now, of this process and of others.
func (c *collection) hold() error {
	c.held = holdSet{}
	for _, x := range c.s.openSessions() {
		x.holdMu.Lock()
		for _, prefix := range x.holds.slots {
			if prefix != 0 {
				c.held.add(prefix)
			}
		}
		x.holdMu.Unlock()
	}
	others, err := c.s.streams.others()
	if err != nil {
		return err
	}
	for _, o := range others {
		if o.dead {
			continue
		}
		for _, name := range o.pins {
			if _, err := c.s.readPins(name, c.s.o.Clock(), &c.held); err != nil && !errors.Is(err, kvferry.ErrCorrupt) {
				return err
			}
		}
	}
	return nil
}

// collectable reports whether nothing needs the blob.
func (c *collection) collectable(d digest.Digest, at table.Place, p *packInfo) bool {
	return p.class == cas.Snapshot && !at.Has(table.Marked) && !c.held.has(prefixOf(d)) && !c.wanted.has(prefixOf(d))
}

package pack

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/kvferry/kvferry/cas/pack/internal/table"
	"github.com/kvferry/kvferry/digest"
)

// sweep removes what is neither marked nor held.
func (c *collection) sweep(ctx context.Context) error {
	for {
		err := c.sweepOnce(ctx)
		if !errors.Is(err, errReplaced) {
			return err
		}
	}
}

func (c *collection) sweepOnce(ctx context.Context) error {
	c.generation = c.s.journal.Generation()
	if err := c.look(ctx); err != nil {
		return err
	}
	c.find()
	if c.o.DryRun {
		c.tell()
		return nil
	}
	if err := c.condemn(ctx); err != nil {
		return err
	}
	for {
		if err := c.look(ctx); err != nil {
			return err
		}
		err := c.remove(ctx)
		if !errors.Is(err, errAgain) {
			return err
		}
	}
}

// look marks what was committed lately, then sees what sessions hold: one that
// commits in between is seen in the catalog before anything is removed.
func (c *collection) look(ctx context.Context) error {
	if err := c.s.refresh(ctx); err != nil {
		return err
	}
	if err := c.markNew(ctx); err != nil {
		return err
	}
	return c.hold()
}

var (
	// errAgain says that the catalog changed since it was marked.
	errAgain = errors.New("pack: the catalog changed")
	// errReplaced says that a checkpoint came between: it does not tell who
	// opens the store what is condemned, and what was marked and listed may be
	// that of another state.
	errReplaced = errors.New("pack: the log was replaced")
)

// find lists the garbage by pack.
func (c *collection) find() {
	st := c.s.st()
	c.garbage = map[*packInfo][]stored{}
	st.table.All(func(d digest.Digest, at table.Place, _ uint8) bool {
		p := st.packs.at(at.Slot())
		if p != nil && c.collectable(d, at, p) {
			c.garbage[p] = append(c.garbage[p], stored{d, at.Offset(), at.Size()})
		}
		return true
	})
	for _, list := range c.garbage {
		slices.SortFunc(list, func(a, b stored) int { return cmp.Compare(a.off, b.off) })
	}
}

// tell fills in the report what stays and what goes.
func (c *collection) tell() {
	c.report.Deleted, c.report.DeletedBytes = 0, 0
	for _, list := range c.garbage {
		for _, b := range list {
			c.report.Deleted++
			c.report.DeletedBytes += b.bytes
		}
	}
	blobs, bytes := c.s.st().total()
	c.report.Live, c.report.LiveBytes = blobs-c.report.Deleted, bytes-c.report.DeletedBytes
}

// total counts the blobs that the log knows.
func (st *state) total() (blobs, bytes int64) {
	for _, p := range st.packs.all() {
		blobs += p.blobs.Load()
		bytes += p.live.Load()
	}
	return blobs, bytes
}

// condemn publishes what is about to be removed.
func (c *collection) condemn(ctx context.Context) error {
	first := true
	return c.pieces(func(part []piece) error {
		err := c.s.commits.submit(ctx, &request{lazy: true, room: prepares, build: func(_ *view, o *ops) error {
			if first { // what a collector left that died
				o.pardon()
			}
			c.condemned = true
			for _, x := range part {
				o.condemn(x.p.id, x.list)
			}
			return nil
		}})
		first = first && err != nil
		return err
	})
}

// remove takes the garbage out of the log, unless a snapshot was committed
// that was not marked yet.
func (c *collection) remove(ctx context.Context) error {
	err := c.pieces(func(part []piece) error {
		blobs, bytes := int64(0), int64(0)
		err := c.s.commits.submit(ctx, &request{room: frees, build: func(_ *view, o *ops) error {
			blobs, bytes = 0, 0 // it may run twice
			switch {
			case c.s.journal.Generation() != c.generation:
				return errReplaced
			case c.s.st().catalogVersion() != c.version:
				return errAgain
			}
			for _, x := range part {
				var gone []stored
				for _, b := range x.list {
					at, there := c.s.st().is(b.d, x.p, b.off)
					if there && c.collectable(b.d, at, x.p) {
						gone = append(gone, b)
						bytes += b.bytes
					}
				}
				if len(gone) > 0 {
					o.remove(x.p.id, gone)
				}
				blobs += int64(len(gone))
			}
			return nil
		}})
		if err != nil {
			return err
		}
		c.report.Deleted += blobs
		c.report.DeletedBytes += bytes
		return nil
	})
	if err != nil {
		return err
	}
	c.report.Live, c.report.LiveBytes = c.s.st().total()
	if !c.condemned {
		return nil
	}
	return c.s.commits.submit(ctx, &request{lazy: true, room: frees, build: func(_ *view, o *ops) error { o.pardon(); return nil }})
}

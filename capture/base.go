package capture

import (
	"bytes"
	"context"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// base is a KV group of the snapshot that an incremental capture builds on.
type base struct {
	stored *manifest.Group
	pages  indexed
	// kept says by page number that the session keeps every blob of the page.
	kept []bool
}

// checkSince refuses a base whose digests cannot be those of the capture,
// before anything is read.
func (o *Options) checkSince() error {
	if o.Since == (digest.Digest{}) || o.Since.Algorithm() == o.algorithm() {
		return nil
	}
	return fmt.Errorf("capture: snapshot %v cannot be the base of a capture whose digests are %v: "+
		"capture in the base's format and with its key, or without a base: %w", o.Since, o.algorithm(), kvferry.ErrInvalid)
}

// open loads the base of the capture and makes the session keep its pages. The
// engine runs meanwhile: what is looked up now need not be under the pause.
func (c *taking) open(ctx context.Context, s cas.Store) error {
	if c.opts.Since == (digest.Digest{}) {
		return nil
	}
	l, err := load(ctx, s, c.opts.Since, LoadOptions{Key: c.opts.Key})
	if err != nil {
		return err
	}
	if err := matchIdentity(l.snapshot, &c.opts.Identity); err != nil {
		return err
	}
	if len(l.snapshot.Groups) != len(c.groups) {
		return fmt.Errorf("snapshot of %d KV groups, engine of %d: %w", len(l.snapshot.Groups), len(c.groups), kvferry.ErrLayoutMismatch)
	}
	bases := make([]*base, len(c.groups))
	for i, g := range c.groups {
		if bases[i], err = c.baseOf(ctx, g, l.snapshot); err != nil {
			return err
		}
	}
	c.bases = bases
	return nil
}

// baseOf returns the base of one group, whose blobs the session keeps.
func (c *taking) baseOf(ctx context.Context, g Group, s *manifest.Snapshot) (*base, error) {
	stored, ok := findStored(s, g.Name)
	if !ok {
		return nil, fmt.Errorf("the snapshot has no KV group %q: %w", g.Name, kvferry.ErrLayoutMismatch)
	}
	if have := g.Pager.Meta(); !have.Equal(stored.Meta) {
		return nil, fmt.Errorf("group %q: snapshot of %v, engine of %v: %w", g.Name, stored.Meta, have, kvferry.ErrLayoutMismatch)
	}
	if stored.Table.Algorithm() != c.opts.algorithm() {
		return nil, fmt.Errorf("group %q: snapshot of %v digests, capture of %v: %w",
			g.Name, stored.Table.Algorithm(), c.opts.algorithm(), kvferry.ErrInvalid)
	}
	b := &base{stored: stored, pages: indexPages(stored.Indices), kept: make([]bool, stored.Table.Pages())}
	if err := c.keep(ctx, &stored.Table, ascending(stored.Table.Pages()), b.kept); err != nil {
		return nil, err
	}
	return b, nil
}

// findStored finds a group of a snapshot by name. One group each match whatever
// the names, as at a restore.
func findStored(s *manifest.Snapshot, name string) (*manifest.Group, bool) {
	if len(s.Groups) == 1 {
		return &s.Groups[0], true
	}
	for i := range s.Groups {
		if s.Groups[i].Name == name {
			return &s.Groups[i], true
		}
	}
	return nil, false
}

// keep looks, for each of the table's pages that numbers names, whether all
// its blobs are there, and makes the session keep them. Pages whose answer is
// true already are passed over.
func (c *taking) keep(ctx context.Context, t *manifest.Table, numbers []uint32, there []bool) error {
	const each = 4096 // pages of one worker's turn
	eg, gctx := newCrew(ctx)
	eg.SetLimit(c.opts.Workers)
	for lo := 0; lo < len(numbers); lo += each {
		eg.Go(func() error {
			for i := lo; i < min(lo+each, len(numbers)); i++ {
				if there[i] {
					continue
				}
				all, err := c.keepPage(gctx, t, int(numbers[i]))
				if err != nil {
					return err
				}
				there[i] = all
			}
			return nil
		})
	}
	if err := eg.Wait(); err != nil {
		return fmt.Errorf("look-up of known pages: %w", err)
	}
	return nil
}

func (c *taking) keepPage(ctx context.Context, t *manifest.Table, page int) (bool, error) {
	for p := range t.Parts() {
		has, err := c.session.Has(ctx, t.Digest(page, p))
		if !has || err != nil {
			return false, err
		}
	}
	return true, nil
}

// unchanged returns the number that a page of the captured group had in the
// base, if it is there at the same engine index with the same digests.
func (b *base) unchanged(g *manifest.Group, page int) (number int, ok bool) {
	number, ok = b.pages.number(g.Indices[page])
	return number, ok && bytes.Equal(b.stored.Table.Row(number), g.Table.Row(page))
}

// count returns how many pages of the captured group are as in the base.
func (b *base) count(g *manifest.Group) (n int) {
	for page := range g.Indices {
		if _, ok := b.unchanged(g, page); ok {
			n++
		}
	}
	return n
}

package capture

import (
	"context"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

// comparison is one batch of pages and what the engine is asked about them.
type comparison struct {
	want    []digest.Digest // of the base; invalid for pages that it does not have
	changed []int
	sums    []digest.Digest
}

// compare fills the group's table from the base and, for the pages that differ
// from it or that it does not have, from the engine.
func (c *taking) compare(ctx context.Context, cmp pager.Comparer, sp *span) error {
	g, b := &c.snapshot.Groups[sp.group], c.bases[sp.group]
	parts := len(g.Meta.Parts)
	x := comparison{want: make([]digest.Digest, 0, min(digestBatch, len(sp.ids))*parts)}
	wait := c.opts.patience(ctx)
	defer wait.stop()
	for lo := 0; lo < len(sp.ids); lo += digestBatch {
		ids := sp.ids[lo:min(lo+digestBatch, len(sp.ids))]
		x.want = b.appendDigests(x.want[:0], ids)
		err := wait.during(func(ctx context.Context) (err error) {
			x.changed, x.sums, err = cmp.ComparePages(ctx, c.opts.algorithm(), c.opts.Key, ids, x.want, x.changed[:0], x.sums[:0])
			return err
		})
		if err != nil {
			return err
		}
		if err := c.settle(g, sp, lo, len(ids), &x); err != nil {
			return err
		}
	}
	return nil
}

// appendDigests appends what the base holds at the given engine indices.
func (b *base) appendDigests(want []digest.Digest, ids []pager.PageID) []digest.Digest {
	for _, id := range ids {
		number, ok := b.pages.number(id)
		for p := range b.stored.Meta.Parts {
			d := digest.Digest{}
			if ok {
				d = b.stored.Table.Digest(number, p)
			}
			want = append(want, d)
		}
	}
	return want
}

// settle enters the digests of n pages from lo on, and checks the form of what
// the engine answered. Whether a page that it passed over is really unchanged,
// nobody can tell without copying it.
func (c *taking) settle(g *manifest.Group, sp *span, lo, n int, x *comparison) error {
	parts := len(g.Meta.Parts)
	if len(x.sums) != len(x.changed)*parts {
		return fmt.Errorf("the engine gave %d digests for %d changed pages of %d parts: %w",
			len(x.sums), len(x.changed), parts, kvferry.ErrCorrupt)
	}
	next := 0 // position within the batch from which on pages are unchanged
	for k, at := range x.changed {
		if at < next || at >= n {
			return fmt.Errorf("the engine named position %d of %d pages as changed, out of order: %w", at, n, kvferry.ErrCorrupt)
		}
		if err := c.same(g, sp, lo+next, lo+at); err != nil {
			return err
		}
		if err := c.note(g, sp, lo+at, x.sums[k*parts:]); err != nil {
			return err
		}
		next = at + 1
	}
	return c.same(g, sp, lo+next, lo+n)
}

// same enters the base's digests for the span's pages from first to end.
func (c *taking) same(g *manifest.Group, sp *span, first, end int) error {
	b := c.bases[sp.group]
	for i := first; i < end; i++ {
		number, ok := b.pages.number(sp.ids[i])
		if !ok {
			return fmt.Errorf("the engine calls page %d unchanged, which the base does not have: %w", sp.ids[i], kvferry.ErrCorrupt)
		}
		g.Table.SetRow(int(sp.numbers[i]), b.stored.Table, number)
	}
	return nil
}

package capture

import (
	"context"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

// digestBatch is how many pages are given to a Digester at once.
const digestBatch = 1 << 14

// skipKnown asks the groups that can digest pages where they live, and takes
// pages that the store holds already out of the spans: they need no copy.
func (c *taking) skipKnown(ctx context.Context, spans []span) error {
	for i := range spans {
		sp := &spans[i]
		d, ok := c.groups[sp.group].Pager.(pager.Digester)
		if !ok || len(sp.ids) == 0 {
			continue
		}
		err := c.digest(ctx, d, sp)
		if errors.Is(err, kvferry.ErrUnsupported) {
			continue // this algorithm cannot be had there
		}
		if err != nil {
			return fmt.Errorf("digests of group %q: %w", c.groups[sp.group].Name, err)
		}
		if err := c.dropStored(ctx, sp); err != nil {
			return err
		}
	}
	return nil
}

// digest fills the group's table from the engine.
func (c *taking) digest(ctx context.Context, d pager.Digester, sp *span) error {
	g := &c.snapshot.Groups[sp.group]
	parts := len(g.Meta.Parts)
	sums := make([]digest.Digest, min(digestBatch, len(sp.ids))*parts)
	for lo := 0; lo < len(sp.ids); lo += digestBatch {
		hi := min(lo+digestBatch, len(sp.ids))
		got := sums[:(hi-lo)*parts]
		if err := d.DigestPages(ctx, c.opts.algorithm(), c.opts.Key, sp.ids[lo:hi], got); err != nil {
			return err
		}
		for i, s := range got {
			if s.Algorithm() != c.opts.algorithm() {
				return fmt.Errorf("the engine gave no %v digest for page %d: %w",
					c.opts.algorithm(), sp.ids[lo+i/parts], kvferry.ErrCorrupt)
			}
			g.Table.Set(int(sp.numbers[lo+i/parts]), i%parts, s)
		}
	}
	sp.known = true
	return nil
}

// dropStored removes from the span the pages whose parts are all stored. The
// session keeps those blobs from then on.
func (c *taking) dropStored(ctx context.Context, sp *span) error {
	g := &c.snapshot.Groups[sp.group]
	stored := make([]bool, len(sp.ids))
	eg, gctx := newCrew(ctx)
	eg.SetLimit(c.opts.Workers)
	for lo := 0; lo < len(sp.ids); lo += 1024 {
		eg.Go(func() error {
			for i := lo; i < min(lo+1024, len(sp.ids)); i++ {
				all := true
				for p := range g.Meta.Parts {
					has, err := c.session.Has(gctx, g.Table.Digest(int(sp.numbers[i]), p))
					if err != nil {
						return err
					}
					if !has {
						all = false
						break
					}
				}
				stored[i] = all
			}
			return nil
		})
	}
	if err := eg.Wait(); err != nil {
		return fmt.Errorf("look-up of known pages: %w", err)
	}
	kept := 0
	for i := range sp.ids {
		if stored[i] {
			continue
		}
		sp.numbers[kept] = sp.numbers[i]
		kept++
	}
	skipped := len(sp.ids) - kept
	ids := make([]pager.PageID, kept) // sp.ids is the group's index hint: not to be changed
	sp.numbers = sp.numbers[:kept]
	for i, n := range sp.numbers {
		ids[i] = g.Indices[n]
	}
	sp.ids = ids
	n := int64(skipped)
	c.moved.pages += n
	c.moved.bytes += n * int64(g.Meta.PageBytes())
	c.skipped += n * int64(g.Meta.PageBytes())
	return nil
}

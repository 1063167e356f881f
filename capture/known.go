package capture

import (
	"context"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
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
		var err error
		if sp.digests, err = c.ask(ctx, sp); err != nil {
			return fmt.Errorf("digests of group %q: %w", c.groups[sp.group].Name, err)
		}
		if sp.digests == AtHost {
			continue
		}
		if err := c.dropStored(ctx, sp); err != nil {
			return err
		}
	}
	return nil
}

// ask fills the group's table from the engine, by the ability that has the
// least come out of it, and says where the digests are from.
func (c *taking) ask(ctx context.Context, sp *span) (Place, error) {
	p := c.groups[sp.group].Pager
	d, ok := p.(pager.Digester)
	if !ok {
		return AtHost, nil
	}
	if cmp, ok := p.(pager.Comparer); ok && c.bases != nil {
		err := c.compare(ctx, cmp, sp)
		if !errors.Is(err, kvferry.ErrUnsupported) {
			return Compared, err
		}
	}
	err := c.digest(ctx, d, sp)
	if errors.Is(err, kvferry.ErrUnsupported) {
		return AtHost, nil // this algorithm cannot be had there
	}
	return AtEngine, err
}

// digest fills the group's table from the engine.
func (c *taking) digest(ctx context.Context, d pager.Digester, sp *span) error {
	g := &c.snapshot.Groups[sp.group]
	parts := len(g.Meta.Parts)
	sums := make([]digest.Digest, min(digestBatch, len(sp.ids))*parts)
	wait := c.opts.patience(ctx)
	defer wait.stop()
	for lo := 0; lo < len(sp.ids); lo += digestBatch {
		hi := min(lo+digestBatch, len(sp.ids))
		got := sums[:(hi-lo)*parts]
		err := wait.during(func(ctx context.Context) error {
			return d.DigestPages(ctx, c.opts.algorithm(), c.opts.Key, sp.ids[lo:hi], got)
		})
		if err != nil {
			return err
		}
		for i := lo; i < hi; i++ {
			if err := c.note(g, sp, i, got[(i-lo)*parts:]); err != nil {
				return err
			}
		}
	}
	return nil
}

// note enters the digests that the engine gave for a page of the span.
func (c *taking) note(g *manifest.Group, sp *span, i int, sums []digest.Digest) error {
	for p := range g.Meta.Parts {
		if sums[p].Algorithm() != c.opts.algorithm() {
			return fmt.Errorf("the engine gave no %v digest for page %d: %w", c.opts.algorithm(), sp.ids[i], kvferry.ErrCorrupt)
		}
		g.Table.Set(int(sp.numbers[i]), p, sums[p])
	}
	return nil
}

// dropStored removes from the span the pages whose parts are all stored. The
// session keeps those blobs from then on.
func (c *taking) dropStored(ctx context.Context, sp *span) error {
	g := &c.snapshot.Groups[sp.group]
	stored := make([]bool, len(sp.ids))
	if c.bases != nil { // whose pages were looked up before the pause
		b := c.bases[sp.group]
		for i, n := range sp.numbers {
			if number, ok := b.unchanged(g, int(n)); ok {
				stored[i] = b.kept[number]
			}
		}
	}
	if err := c.keep(ctx, &g.Table, sp.numbers, stored); err != nil {
		return err
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

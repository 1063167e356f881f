package capture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/pager"
)

// taking is one capture on its way.
type taking struct {
	opts    Options
	groups  []Group
	session cas.Session
	bases   []*base // by group; nil if the capture has no base
	tune    *tuning

	snapshot manifest.Snapshot
	pause    Pause
	moved    tally
	skipped  int64
	reports  []GroupReport
}

// tally counts what went into the store.
type tally struct {
	pages                                  int64
	bytes, newBytes, storedBytes, newBlobs int64
	codecs                                 [codec.Planes + 1]CodecReport
}

func (t *tally) add(plain int, r cas.PutResult) {
	t.bytes += int64(plain)
	if r.New {
		t.newBytes += int64(plain)
		t.storedBytes += r.StoredBytes
		t.newBlobs++
		if r.Codec != 0 && int(r.Codec) < len(t.codecs) {
			t.codecs[r.Codec].add(CodecReport{r.Codec, 1, int64(plain), r.StoredBytes})
		}
	}
}

func (c *CodecReport) add(o CodecReport) {
	c.Codec = max(c.Codec, o.Codec)
	c.Blobs += o.Blobs
	c.Bytes += o.Bytes
	c.StoredBytes += o.StoredBytes
}

func (t *tally) merge(o tally) {
	t.pages += o.pages
	t.bytes += o.bytes
	t.newBytes += o.newBytes
	t.storedBytes += o.storedBytes
	t.newBlobs += o.newBlobs
	for i := range t.codecs {
		t.codecs[i].add(o.codecs[i])
	}
}

// used returns the codecs of which there are blobs, most bytes first.
func (t *tally) used() []CodecReport {
	used := slices.DeleteFunc(slices.Clone(t.codecs[:]), func(c CodecReport) bool { return c.Blobs == 0 })
	slices.SortStableFunc(used, func(a, b CodecReport) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return used
}

// take pauses the engine, copies its pages and stores them. The first error is
// that of resuming, which alone does not spoil the capture.
func (c *taking) take(ctx context.Context) (resumeErr, err error) {
	l, err := newLine(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() { // after everything: nothing may be in flight by then
		err = errors.Join(err, closeRing(l.ring))
	}()
	p := &pausing{groups: c.groups}
	defer func() { // also on a panic of the pager
		resumeErr = errors.Join(resumeErr, p.release(ctx))
		c.pause.Total = p.total
	}()
	if err := p.hold(ctx); err != nil {
		return nil, err
	}
	begin := time.Now()
	spans, err := c.tables(ctx)
	if err != nil {
		return nil, err
	}
	c.pause.Tables = time.Since(begin)
	begin = time.Now()
	if err := c.skipKnown(ctx, spans); err != nil {
		return nil, err
	}
	c.pause.Digest = time.Since(begin)
	begin = time.Now()
	c.tell(spans)
	l.plan(spans)
	err = l.run(ctx, func() {
		c.pause.Copy = time.Since(begin)
		resumeErr = p.release(ctx)
	})
	c.moved.merge(l.moved)
	return resumeErr, err
}

// tell notes for the report what is to be copied.
func (c *taking) tell(spans []span) {
	for _, sp := range spans {
		g := &c.snapshot.Groups[sp.group]
		c.reports = append(c.reports, GroupReport{
			Name: g.Name, Pages: g.Table.Pages(), CopiedPages: len(sp.ids),
			CopiedBytes: int64(len(sp.ids)) * int64(g.Meta.PageBytes()), Digests: sp.digests,
		})
	}
}

// span is what is to be copied of one group.
type span struct {
	group   int
	ids     []pager.PageID // pages in the order of copying
	numbers []uint32       // their numbers within the snapshot
	digests Place          // if not AtHost the table holds those that the copies must have
}

// tables reads page lists and sequences of the paused groups, numbers the
// pages and makes room for their digests.
func (c *taking) tables(ctx context.Context) ([]span, error) {
	c.snapshot = manifest.Snapshot{Identity: c.opts.Identity}
	spans := make([]span, len(c.groups))
	for i, g := range c.groups {
		meta := g.Pager.Meta()
		occupied, err := g.Pager.OccupiedPages(ctx)
		if err != nil {
			return nil, fmt.Errorf("occupied pages of group %q: %w", g.Name, err)
		}
		seqs, err := g.Pager.LogicalSeqs(ctx)
		if err != nil {
			return nil, fmt.Errorf("sequences of group %q: %w", g.Name, err)
		}
		if err := c.fits(g, len(occupied), seqs); err != nil {
			return nil, err
		}
		for k := range seqs {
			if s := &seqs[k]; s.FillInLastPage >= max(meta.PageTokens, 1) {
				return nil, fmt.Errorf("sequence %q of group %q fills %d of %d tokens of its last page (full is spelt 0): %w",
					s.ID, g.Name, s.FillInLastPage, meta.PageTokens, kvferry.ErrInvalid)
			}
		}
		order, numbered, err := manifest.Number(occupied, seqs)
		if err != nil {
			return nil, fmt.Errorf("group %q: %w", g.Name, err)
		}
		c.snapshot.Groups = append(c.snapshot.Groups, manifest.Group{
			Name:      g.Name,
			Meta:      meta,
			Table:     manifest.NewTable(c.opts.algorithm(), len(order), len(meta.Parts)),
			Indices:   order,
			Sequences: numbered,
		})
		spans[i] = span{group: i, ids: order, numbers: ascending(len(order))}
	}
	return spans, nil
}

// fits refuses, before anything is copied, what the snapshot's manifest could
// not hold.
func (c *taking) fits(g Group, pages int, seqs []pager.LogicalSeq) error {
	// The longest text of a page, of a page number, and of what is around an id.
	const perPage, perRef, perSeq = 175, 11, 64
	size, refs := int64(1024), int64(0)
	for _, s := range seqs {
		if !utf8.ValidString(s.ID) {
			return fmt.Errorf("sequence id %q of group %q is not UTF-8: %w", s.ID, g.Name, kvferry.ErrInvalid)
		}
		size += perSeq + 6*int64(len(s.ID))
		refs += int64(len(s.Pages))
	}
	if c.opts.Format != cas.FormatProcessFork {
		return nil // page tables are chunks, and sequences are ranges: manifest.Encode judges
	}
	if size += perPage*int64(pages) + perRef*refs; size > manifest.MaxDocumentBytes {
		return fmt.Errorf("%d pages in one processfork manifest, which holds at most %d bytes: use the native format: %w",
			pages, manifest.MaxDocumentBytes, kvferry.ErrUnsupported)
	}
	return nil
}

func ascending(n int) []uint32 {
	ns := make([]uint32, n)
	for i := range ns {
		ns[i] = uint32(i)
	}
	return ns
}

package capture

import (
	"context"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// health works out what is lost of one snapshot. Its error is not damage.
func (c *checking) health(ctx context.Context, e cas.Entry) (SnapshotHealth, error) {
	h := SnapshotHealth{Entry: e}
	snap, _, err := Load(ctx, c.store, e.Root, LoadOptions{Key: c.opts.Key})
	switch {
	case ctx.Err() != nil:
		return h, context.Cause(ctx)
	case err != nil && c.anothers(ctx, e.Root):
		h.Unchecked = true
		return h, nil
	case err != nil:
		h.Err = err
		return h, nil //nolint:nilerr // told in the report
	}
	rd, err := cas.NewReader(c.store, c.opts.Key)
	if err != nil {
		return h, err
	}
	if e.Image.Valid() {
		c.image(ctx, rd, e)
	}
	for i := range snap.Groups {
		if err := c.group(ctx, rd, &snap.Groups[i], &h); err != nil {
			return h, err
		}
	}
	return h, nil
}

// image reports an image that cannot be read: the snapshot can do without it,
// but not ProcessFork, and not a collection.
func (c *checking) image(ctx context.Context, rd *cas.Reader, e cas.Entry) {
	err := visitImage(e.Image, fetcher(ctx, rd), func(d digest.Digest) error {
		has, err := c.store.Has(ctx, d)
		if err == nil && !has {
			err = fmt.Errorf("blob %v: %w", d, kvferry.ErrNotFound)
		}
		return err
	})
	if err != nil && c.bad[e.Image] == nil {
		c.problem(cas.Problem{Digest: e.Image, Err: fmt.Errorf("capture: image of snapshot %v: %w", e.Root, err)})
	}
}

// group adds the losses of one group.
func (c *checking) group(ctx context.Context, rd *cas.Reader, g *manifest.Group, h *SnapshotHealth) error {
	var failed error
	scratch := make([]byte, largestPart(g))
	ls := losses(g, func(d digest.Digest, size int) error {
		if err := errors.Join(c.bad[d], c.foreign[d]); err != nil {
			return err
		}
		has, err := c.store.Has(ctx, d)
		switch {
		case err != nil:
			failed = errors.Join(failed, err)
			return nil
		case !has:
			return fmt.Errorf("capture: blob %v: %w", d, kvferry.ErrNotFound)
		case !c.report.Deep || c.fits(d, size): // a quick check reads no content
			return nil
		}
		return checkBlob(ctx, rd, d, scratch, size)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	lost := map[uint32]struct{}{}
	for _, l := range ls {
		for _, p := range l.Pages {
			lost[p] = struct{}{}
		}
	}
	h.Losses = append(h.Losses, ls...)
	h.PagesLost += len(lost)
	return failed
}

package capture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// rebuild lets the store mend what it keeps beside its blobs, and lists the
// snapshots again that its catalog may have lost.
func (c *checking) rebuild(ctx context.Context) error {
	r, ok := c.store.(cas.Repairer)
	if !ok {
		return nil
	}
	o := cas.RepairOptions{}
	if tell := c.opts.Progress; tell != nil {
		o.Progress = func(done, total int64) { tell(Progress{Bytes: done, TotalBytes: total}) }
	}
	var err error
	if c.report.Rebuilt, err = r.Repair(ctx, o); err != nil {
		return err
	}
	for _, p := range c.report.Rebuilt.Lost {
		c.problem(p)
	}
	if !c.report.Rebuilt.Incomplete {
		return nil
	}
	return c.relist(ctx)
}

// relist commits anew each native snapshot that the catalog does not know and
// of which all is there. It may be one that was removed: then it can be removed
// again, while one that is not listed is gone with the next collection. Page
// manifests of ProcessFork are shown as unlisted, as ever.
func (c *checking) relist(ctx context.Context) error {
	en, ok := c.store.(cas.Enumerator)
	if !ok {
		return nil
	}
	entries, err := c.store.Catalog().Entries(ctx)
	if err != nil {
		return err
	}
	listed := map[digest.Digest]bool{}
	for _, e := range entries {
		listed[e.Root] = true
	}
	rd, err := cas.NewReader(c.store, c.opts.Key)
	if err != nil {
		return err
	}
	rd.KeepDamaged()
	var roots []digest.Digest
	for b, err := range en.Blobs(ctx) {
		if err != nil {
			return err
		}
		if listed[b.Digest] || b.Digest.Algorithm() == digest.SHA256 {
			continue
		}
		data, err := rd.ReadAll(ctx, b.Digest, manifest.MaxDocumentBytes)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil && manifest.IsDocument(data) { // what is damaged is found later
			roots = append(roots, b.Digest)
		}
	}
	for _, root := range roots {
		if err := c.relistOne(ctx, root); err != nil {
			return err
		}
	}
	return nil
}

// errPartly says that not all of a snapshot is there.
var errPartly = errors.New("capture: not all of the snapshot is there")

func (c *checking) relistOne(ctx context.Context, root digest.Digest) (err error) {
	l, err := load(ctx, c.store, root, LoadOptions{Key: c.opts.Key})
	if err != nil {
		if broken(err) || newer(err) {
			return ctx.Err() // it cannot be told what it needs
		}
		return err
	}
	pages, seqs, bytes := measure(l.snapshot)
	e := cas.Entry{
		Root: root, Format: cas.FormatNative, Created: time.Now(),
		Pages: int64(pages), Sequences: int64(seqs), Bytes: bytes,
	}
	s, err := c.store.Begin(ctx, cas.SessionOptions{Owner: "repair"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Abort(context.WithoutCancel(ctx))) }()
	err = references(ctx, c.store, e, c.opts.Key, func(d digest.Digest) error {
		has, err := s.Has(ctx, d)
		if err == nil && !has {
			err = errPartly
		}
		return err
	})
	if errors.Is(err, errPartly) {
		return nil
	}
	if err == nil {
		err = s.Commit(ctx, e)
	}
	if err != nil {
		return fmt.Errorf("list snapshot %v again: %w", root, err)
	}
	c.report.Relisted = append(c.report.Relisted, e)
	return nil
}

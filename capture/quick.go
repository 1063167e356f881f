package capture

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// stored lets the store look at what it keeps: it reads at the speed of the
// disk, which decoding and hashing would not.
func (c *checking) stored(ctx context.Context, sc cas.Scrubber) error {
	total, err := c.stats(ctx)
	if err != nil {
		return err
	}
	var read atomic.Int64
	err = sc.Scrub(ctx, cas.ScrubOptions{
		Report: func(p cas.Problem) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if p.Digest.Valid() && !p.Leftover {
				c.bad[p.Digest] = p.Err
			}
			c.problem(p)
		},
		Progress: func(done, all int64) {
			for old := read.Load(); old < done && !read.CompareAndSwap(old, done); old = read.Load() {
			}
			if c.opts.Progress != nil {
				c.opts.Progress(Progress{Bytes: done, TotalBytes: all, TotalPages: int(total.Blobs)})
			}
		},
	})
	if err != nil {
		return err
	}
	c.report.Blobs, c.report.Bytes = total.Blobs, read.Load()
	unlisted, err := Unlisted(ctx, c.store)
	if err != nil {
		return err
	}
	for _, e := range unlisted {
		c.manifests[e.Root] = e
	}
	return nil
}

// anothers reports whether a snapshot that could not be loaded belongs to a
// tenant whose key was not given. A check in depth has tried every blob; after
// a quick one the root is looked at here, whose stored bytes are sound.
func (c *checking) anothers(ctx context.Context, root digest.Digest) bool {
	if c.foreign[root] != nil {
		return true
	}
	if c.report.Deep || c.bad[root] != nil || root.Algorithm() != digest.KeyedBLAKE3 {
		return false
	}
	rd, err := cas.NewReader(c.store, c.opts.Key)
	if err != nil {
		return false
	}
	_, err = rd.KeepDamaged().ReadAll(ctx, root, manifest.MaxDocumentBytes)
	return errors.Is(err, kvferry.ErrUnsupported) || errors.Is(err, kvferry.ErrCorrupt)
}

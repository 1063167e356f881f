//go:build unix

package dir

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

// sweepBatch is how many files are deleted at a time while sessions wait, a
// matter of milliseconds.
const sweepBatch = 512

// sweep deletes what is neither marked nor protected.
func (c *collection) sweep(ctx context.Context) error {
	var batch []blobFile
	flush := func(more ...blobFile) error {
		batch = append(batch, more...)
		if len(batch) == 0 || len(more) > 0 && len(batch) < sweepBatch {
			return nil
		}
		err := c.delete(ctx, batch)
		batch = batch[:0]
		return err
	}
	// Leases first: what is protected is live from the start, and dead
	// sessions are removed also where there is nothing to delete.
	if err := c.settled(ctx, func() error { return nil }); err != nil {
		return err
	}
	err := c.s.eachPresent(func(a digest.Algorithm, shard byte) error {
		return c.s.scanShard(ctx, a, shard, func(f blobFile) error {
			if c.keeps(f) {
				c.live(f)
				return nil
			}
			return flush(f)
		})
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return err
	}
	return c.sweepTemps(ctx)
}

func (c *collection) live(f blobFile) {
	c.report.Live++
	c.report.LiveBytes += f.size
}

// keeps tells whether f stays. What a session protects stays also in a
// temporary file: another session of the process may have found it there.
func (c *collection) keeps(f blobFile) bool {
	if _, ok := c.protected[f.d]; ok {
		return true
	}
	if f.owner != "" {
		return c.sessions[f.owner] != nil
	}
	if _, ok := c.marked[f.d]; ok {
		return true
	}
	return f.d.Algorithm() == digest.SHA256 && c.o.Now.Sub(f.modified) < graceful
}

// settled runs do inside the gate while every snapshot and image is marked and
// every lease read. If something came in the meantime it is marked outside of
// the gate, and the attempt repeated. In a dry run do runs as it is.
func (c *collection) settled(ctx context.Context, do func() error) error {
	for !c.o.DryRun {
		began := time.Now()
		err := c.s.exclude(ctx, func() error {
			if err := c.refresh(ctx); err != nil {
				return err
			}
			return do()
		})
		if !errors.Is(err, errChanged) {
			return errors.Join(err, rest(ctx, time.Since(began)))
		}
		if err := c.markNew(ctx); err != nil {
			return err
		}
	}
	return do()
}

// rest leaves the gate to the sessions for as long as they had to wait.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(min(d, 100*time.Millisecond)):
		return nil
	}
}

// markNew marks the snapshots and images that are not marked yet.
func (c *collection) markNew(ctx context.Context) error {
	roots, err := c.s.roots()
	if err != nil {
		return err
	}
	for _, root := range roots {
		if c.seen[root] {
			continue
		}
		e, err := c.s.entry(root)
		if errors.Is(err, kvferry.ErrNotFound) {
			continue // dropped already
		}
		if err != nil {
			return err
		}
		if err := c.mark(ctx, e); err != nil {
			if _, gone := c.s.entry(root); errors.Is(gone, kvferry.ErrNotFound) {
				continue // dropped while it was marked
			}
			return err
		}
	}
	return c.markImages(ctx)
}

// delete deletes those files of the batch that nobody came to need.
func (c *collection) delete(ctx context.Context, batch []blobFile) error {
	return c.settled(ctx, func() error {
		for _, f := range batch {
			if c.keeps(f) {
				c.live(f)
				continue
			}
			if !c.o.DryRun {
				if err := c.s.fs.unlink(f.rel); missing(err) {
					continue // set aside, or published by its session
				} else if err != nil {
					return unwritten("delete", f.rel, err)
				}
				if f.owner != "" {
					c.s.pending.forget(f.d, f.rel)
				}
			}
			c.report.Deleted++
			c.report.DeletedBytes += f.size
		}
		return nil
	})
}

// sweepTemps removes old temporary files: of the original, and of small files.
func (c *collection) sweepTemps(ctx context.Context) error {
	for _, dir := range []string{".", snapshotsDir, namesDir, imagesDir} {
		if err := c.sweepDir(ctx, dir); err != nil {
			return err
		}
	}
	return c.s.eachPresent(func(a digest.Algorithm, shard byte) error { return c.sweepDir(ctx, shardDir(a, shard)) })
}

func (c *collection) sweepDir(ctx context.Context, dir string) error {
	names, err := c.s.listOrNone(dir)
	if err != nil && !errors.Is(err, kvferry.ErrCorrupt) {
		return err
	}
	for _, name := range names {
		if _, digits, ok := tempOwner(name); !foreignTemp(name) && (!ok || digits != "") {
			continue
		}
		rel := dir + "/" + name
		st, err := c.s.fs.lstat(rel)
		if missing(err) || err == nil && (st.Mode&unix.S_IFMT != unix.S_IFREG || c.o.Now.Sub(time.Unix(st.Mtim.Unix())) < graceful) {
			continue
		}
		if err == nil && !c.o.DryRun {
			err = c.s.fs.unlink(rel)
		}
		if err != nil && !missing(err) {
			return unwritten("remove", rel, err)
		}
		c.report.Stale++
	}
	return ctx.Err()
}

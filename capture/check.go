package capture

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

// CheckOptions guide a Check. The zero value works.
type CheckOptions struct {
	// Key of a tenant, so that its blobs can be checked too.
	Key *digest.Key
	// Workers that read and hash; 0 means one per processor.
	Workers int
	// Progress, if set, is called from several goroutines; it counts blobs as
	// pages.
	Progress func(Progress)
}

// CheckReport says what a Check found.
type CheckReport struct {
	Blobs int64 // blobs read
	Bytes int64 // their plain bytes
	// Unchecked counts keyed blobs whose tenant's key was not given: they were
	// decoded but not hashed.
	Unchecked int64
	Bad       []cas.Problem    // damaged blobs, and damage outside blobs
	Snapshots []SnapshotHealth // every snapshot in the catalog
	Elapsed   time.Duration
}

// SnapshotHealth says what the damage of a store means for one snapshot.
type SnapshotHealth struct {
	Entry cas.Entry
	// Err says why the manifest or a page table cannot be read: then nothing
	// of the snapshot can be restored.
	Err    error
	Losses []Loss
	// PagesLost counts the pages that miss at least one part.
	PagesLost int
}

// Sound reports whether nothing at all was found.
func (r *CheckReport) Sound() bool {
	for _, s := range r.Snapshots {
		if s.Err != nil || len(s.Losses) > 0 {
			return false
		}
	}
	return len(r.Bad) == 0
}

// Check reads and hashes every blob of a store, looks at its catalog, and
// works out what the damage means for each snapshot. Damage is reported, not
// returned as an error. A store that cannot list its blobs is ErrUnsupported.
func Check(ctx context.Context, s cas.Store, o CheckOptions) (CheckReport, error) {
	start := time.Now()
	c := &checking{store: s, opts: o, bad: map[digest.Digest]error{}, usual: -1, lengths: map[digest.Digest]int{}}
	if err := c.blobs(ctx); err != nil {
		return CheckReport{}, fmt.Errorf("capture: check: %w", err)
	}
	if ch, ok := s.(cas.Checker); ok {
		err := ch.Check(ctx, func(p cas.Problem) { c.report.Bad = append(c.report.Bad, p) })
		if err != nil {
			return CheckReport{}, fmt.Errorf("capture: check: %w", err)
		}
	}
	entries, err := s.Catalog().Entries(ctx)
	if err != nil && !errors.Is(err, kvferry.ErrCorrupt) { // damaged entries were reported above
		return CheckReport{}, fmt.Errorf("capture: check: %w", err)
	}
	if _, ok := s.(cas.Checker); !ok && err != nil {
		c.report.Bad = append(c.report.Bad, cas.Problem{Err: err})
	}
	for _, e := range entries {
		h, err := c.health(ctx, e)
		if err != nil {
			return CheckReport{}, fmt.Errorf("capture: check: %w", err)
		}
		c.report.Snapshots = append(c.report.Snapshots, h)
	}
	c.report.Elapsed = time.Since(start)
	return c.report, nil
}

type checking struct {
	store  cas.Store
	opts   CheckOptions
	report CheckReport

	mu  sync.Mutex
	bad map[digest.Digest]error
	// Nearly all blobs are as long as the first one; lengths holds the others'.
	usual   int
	lengths map[digest.Digest]int
}

// noteLocked keeps the plain length of a sound blob.
func (c *checking) noteLocked(d digest.Digest, n int) {
	switch {
	case c.usual < 0:
		c.usual = n
	case n != c.usual:
		c.lengths[d] = n
	}
}

// fits reports whether a sound blob was seen to be size bytes long.
func (c *checking) fits(d digest.Digest, size int) bool {
	n, ok := c.lengths[d]
	if !ok {
		n = c.usual
	}
	return n == size
}

// blobs scrubs every blob.
func (c *checking) blobs(ctx context.Context) error {
	en, ok := c.store.(cas.Enumerator)
	if !ok {
		return fmt.Errorf("the store cannot list its blobs: %w", kvferry.ErrUnsupported)
	}
	total := 0
	if st, ok := c.store.(cas.Stater); ok {
		stats, err := st.Stats(ctx)
		if err != nil {
			return err
		}
		total = int(stats.Blobs)
	}
	m := newMeter(c.opts.Progress, total, 0)
	eg, ctx := errgroup.WithContext(ctx)
	queue := make(chan digest.Digest, 256)
	eg.Go(func() error {
		defer close(queue)
		return enqueue(ctx, en.Blobs(ctx), queue)
	})
	for range workers(c.opts.Workers) {
		eg.Go(func() error { return c.scrub(ctx, queue, m) })
	}
	return eg.Wait()
}

func enqueue(ctx context.Context, blobs iter.Seq2[cas.BlobInfo, error], queue chan<- digest.Digest) error {
	for b, err := range blobs {
		if err != nil {
			return err
		}
		select {
		case queue <- b.Digest:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// scrub is a worker: it reads blobs and keeps what is wrong with them.
func (c *checking) scrub(ctx context.Context, queue <-chan digest.Digest, m meter) error {
	rd, err := cas.NewReader(c.store, c.opts.Key)
	if err != nil {
		return err
	}
	scratch := make([]byte, 1<<20)
	for d := range queue {
		n, err := rd.Get(ctx, d, scratch)
		for errors.Is(err, kvferry.ErrShortBuffer) && len(scratch) < pager.MaxPageBytes {
			scratch = make([]byte, min(max(n, 4*len(scratch)), pager.MaxPageBytes))
			n, err = rd.Get(ctx, d, scratch)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.mu.Lock()
		c.report.Blobs++
		c.report.Bytes += int64(n)
		switch {
		case err == nil:
			c.noteLocked(d, n)
		case errors.Is(err, kvferry.ErrUnsupported) && d.Algorithm() == digest.KeyedBLAKE3 && c.opts.Key == nil:
			c.report.Unchecked++
		default:
			c.bad[d] = err
			c.report.Bad = append(c.report.Bad, cas.Problem{Digest: d, Err: err})
		}
		c.mu.Unlock()
		m.add(1, int64(n))
	}
	return nil
}

// health works out what is lost of one snapshot.
func (c *checking) health(ctx context.Context, e cas.Entry) (SnapshotHealth, error) {
	h := SnapshotHealth{Entry: e}
	var snap *manifest.Snapshot
	snap, _, h.Err = Load(ctx, c.store, e.Root, LoadOptions{Key: c.opts.Key, Lenient: true})
	if ctx.Err() != nil {
		return h, context.Cause(ctx)
	}
	if h.Err != nil {
		return h, nil
	}
	rd, err := cas.NewReader(c.store, c.opts.Key)
	if err != nil {
		return h, err
	}
	var failed error
	lost := map[string]bool{}
	for i := range snap.Groups {
		g := &snap.Groups[i]
		scratch := make([]byte, largestPart(g))
		ls := losses(g, func(d digest.Digest, size int) error {
			if err, ok := c.bad[d]; ok {
				return err
			}
			has, err := c.store.Has(ctx, d)
			if err != nil && failed == nil {
				failed = err
			}
			switch {
			case err != nil:
				return nil
			case !has:
				return fmt.Errorf("capture: blob %v: %w", d, kvferry.ErrNotFound)
			case c.fits(d, size):
				return nil
			}
			return checkBlob(ctx, rd, d, scratch, size)
		})
		for _, l := range ls {
			for _, p := range l.Pages {
				lost[fmt.Sprintf("%d/%d", i, p)] = true
			}
		}
		h.Losses = append(h.Losses, ls...)
	}
	h.PagesLost = len(lost)
	if ctx.Err() != nil {
		return h, context.Cause(ctx)
	}
	return h, failed
}

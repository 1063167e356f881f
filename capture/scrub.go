package capture

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

// checking is one Check on its way.
type checking struct {
	store  cas.Store
	opts   CheckOptions
	report CheckReport

	mu  sync.Mutex
	bad map[digest.Digest]error
	// foreign holds keyed blobs that the key does not fit: damaged, if a
	// snapshot that it opens needs them.
	foreign map[digest.Digest]error
	// manifests are the page manifests of ProcessFork that were met.
	manifests map[digest.Digest]cas.Entry
	// Nearly all blobs are as long as the first one; lengths holds the others'.
	usual   int
	lengths map[digest.Digest]int

	// large is one buffer for all workers: blobs that do not fit a worker's
	// own are rare, and what announces to be long may be a few bytes on disk.
	largeMu sync.Mutex
	large   []byte
}

func newChecking(s cas.Store, o CheckOptions) *checking {
	return &checking{
		store: s, opts: o, usual: -1,
		bad:       map[digest.Digest]error{},
		foreign:   map[digest.Digest]error{},
		manifests: map[digest.Digest]cas.Entry{},
		lengths:   map[digest.Digest]int{},
	}
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
	total, err := c.stats(ctx)
	if err != nil {
		return err
	}
	m := newMeter(c.opts.Progress, int(total.Blobs), total.StoredBytes)
	eg, ctx := newCrew(ctx)
	queue := make(chan []cas.BlobInfo, 16)
	eg.Go(func() error {
		defer close(queue)
		return enqueue(ctx, en.Blobs(ctx), queue)
	})
	for range workers(c.opts.Workers) {
		eg.Go(func() error { return c.scrub(ctx, queue, m) })
	}
	return eg.Wait()
}

// stats returns how much there is to do, if the store knows.
func (c *checking) stats(ctx context.Context) (cas.Stats, error) {
	st, ok := c.store.(cas.Stater)
	if !ok {
		return cas.Stats{}, nil
	}
	return st.Stats(ctx)
}

// read reads and hashes one blob, whatever its length.
func (c *checking) read(ctx context.Context, rd *cas.Reader, d digest.Digest, scratch []byte) (int, error) {
	n, err := rd.Get(ctx, d, scratch)
	if errors.Is(err, kvferry.ErrShortBuffer) {
		return c.scrubLarge(ctx, rd, d, n)
	}
	if err == nil {
		c.look(d, scratch[:n])
	}
	return n, err
}

// scrubLarge checks a blob that did not fit a worker's buffer; n is its length
// if that is known.
func (c *checking) scrubLarge(ctx context.Context, rd *cas.Reader, d digest.Digest, n int) (int, error) {
	c.largeMu.Lock()
	defer c.largeMu.Unlock()
	for {
		if want := min(max(n, 4<<20, 2*len(c.large)), pager.MaxPageBytes); len(c.large) < n || n == 0 {
			c.large = make([]byte, want)
		}
		got, err := rd.Get(ctx, d, c.large)
		if !errors.Is(err, kvferry.ErrShortBuffer) {
			if err == nil {
				c.look(d, c.large[:got])
			}
			return got, err
		}
		if len(c.large) >= pager.MaxPageBytes || got > pager.MaxPageBytes {
			return 0, fmt.Errorf("capture: blob %v is longer than %d bytes: %w", d, pager.MaxPageBytes, kvferry.ErrCorrupt)
		}
		n = got
	}
}

// look keeps a sound blob that is a manifest.
func (c *checking) look(d digest.Digest, data []byte) {
	e, ok := pageManifest(d, data)
	if !ok {
		return
	}
	c.mu.Lock()
	c.manifests[d] = e
	c.mu.Unlock()
}

// judge keeps the outcome of reading a blob. A foreign one could be decoded,
// but not hashed with the key that was given.
func (c *checking) judge(d digest.Digest, n int, err error, foreign bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, kvferry.ErrNotFound):
		return // collected meanwhile, or missed by the snapshots that need it
	case err == nil:
		c.noteLocked(d, n)
		c.report.Bytes += int64(n)
	case foreign:
		c.foreign[d] = err
		c.report.Unchecked++
	default:
		c.bad[d] = err
		c.report.Bad = append(c.report.Bad, cas.Problem{Digest: d, Err: err})
	}
	c.report.Blobs++
}

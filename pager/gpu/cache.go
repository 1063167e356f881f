package gpu

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
)

// cache is the Pager of one engine. Of the Engine it embeds, what touches
// neither memory nor abilities goes through as it is.
type cache struct {
	Engine
	guard    Guard // nil if the engine has none
	device   *cuda.Device
	kernels  *kernels.Set
	runs     *kernels.Runs // nil if there is nothing to copy
	meta     pager.Meta
	pages    int
	geometry geometry
	parts    []kernels.Part
	inPlace  bool // digests need no gathering
	limits   limits
	coder    *coder // nil: pages cross the link as they are
	paths    *Paths
	blocks   int
	drain    time.Duration
	awake    int            // looks for what is under way before the first rest
	engines  []*cuda.Stream // the engine's
	ways     [2]*way        // Out, In
	counts   counters
	workers  sync.WaitGroup

	closing  sync.Mutex
	released bool // guarded by closing

	mu      sync.Mutex
	closed  bool
	until   time.Time // of the closing's patience
	lost    error     // why the device is lost
	tickets pager.Ticket
	works   map[pager.Ticket]*work // completions not handed out
	spare   []*gate
	queue   cuda.Submission
	fenced  map[pager.PageID]struct{}
	written []uint64 // writes of each page; nil if the engine has no generations
}

var (
	_ pager.Pager    = (*cache)(nil)
	_ pager.Mover    = (*cache)(nil)
	_ pager.Digester = (*cache)(nil)
	_ pager.Comparer = (*cache)(nil)
)

// Meta implements pager.Pager.
func (c *cache) Meta() pager.Meta {
	m := c.meta
	m.Parts = slices.Clone(m.Parts)
	return m
}

// open returns why nothing can be done any more.
func (c *cache) open(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("gpu: %s: %w", op, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.openLocked(op)
}

func (c *cache) openLocked(op string) error {
	switch {
	case c.closed:
		return fmt.Errorf("gpu: %s: %w", op, kvferry.ErrClosed)
	case c.lost != nil:
		return fmt.Errorf("gpu: %s: %w", op, c.lost)
	}
	return nil
}

// lose notes that the device is lost, if err says so.
func (c *cache) lose(err error) bool {
	if !isLost(err) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost == nil {
		c.lost = err
	}
	return true
}

// Pause implements pager.Pager. Resume goes through whatever became of the
// device: the engine has to go on.
func (c *cache) Pause(ctx context.Context) error {
	if err := c.unclosed("pause"); err != nil {
		return err
	}
	return c.Engine.Pause(ctx)
}

// LogicalSeqs implements pager.Pager.
func (c *cache) LogicalSeqs(ctx context.Context) ([]pager.LogicalSeq, error) {
	if err := c.unclosed("logical sequences"); err != nil {
		return nil, err
	}
	return c.Engine.LogicalSeqs(ctx)
}

// InstallLogicalSeqs implements pager.Pager.
func (c *cache) InstallLogicalSeqs(ctx context.Context, seqs []pager.LogicalSeq) error {
	if err := c.unclosed("install sequences"); err != nil {
		return err
	}
	return c.Engine.InstallLogicalSeqs(ctx, seqs)
}

// OccupiedPages implements pager.Pager.
func (c *cache) OccupiedPages(ctx context.Context) ([]pager.PageID, error) {
	if err := c.unclosed("occupied pages"); err != nil {
		return nil, err
	}
	return c.Engine.OccupiedPages(ctx)
}

// AllocatePages implements pager.Pager.
func (c *cache) AllocatePages(ctx context.Context, n int) ([]pager.PageID, error) {
	if err := c.open(ctx, "allocate pages"); err != nil {
		return nil, err
	}
	return c.Engine.AllocatePages(ctx, n)
}

// unclosed is open for what a lost device does not hinder.
func (c *cache) unclosed(op string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("gpu: %s: %w", op, kvferry.ErrClosed)
	}
	return nil
}

// ReadPage implements pager.Pager.
func (c *cache) ReadPage(ctx context.Context, id pager.PageID, dst []byte) error {
	return c.movePage(ctx, pager.Out, id, dst)
}

// WritePage implements pager.Pager. Padding that the layout does not map keeps
// its bytes.
func (c *cache) WritePage(ctx context.Context, id pager.PageID, src []byte) error {
	return c.movePage(ctx, pager.In, id, src)
}

// movePage is a job of one page. When ctx ends first, the page is left alone if
// its copy has not begun, and waited for otherwise: the buffer is the caller's
// again when this returns, unless the error wraps ErrUnknownOutcome.
func (c *cache) movePage(ctx context.Context, d pager.Direction, id pager.PageID, buf []byte) error {
	w := &work{job: pager.Job{Direction: d, Pages: []pager.PageID{id}, Frames: [][]byte{buf}}}
	if err := c.submit(ctx, w); err != nil {
		return err
	}
	return c.finish(ctx, w)
}

// finish waits for a work without a ticket, which has an end even if ctx is done
// before.
func (c *cache) finish(ctx context.Context, w *work) error {
	select {
	case <-w.done:
	case <-ctx.Done():
		c.cancel(w, ctx.Err())
		<-w.done
	}
	return w.err
}

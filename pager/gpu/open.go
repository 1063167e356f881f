package gpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
)

// Pager is a Pager with its optional abilities: see View. It has to be closed.
type Pager struct{ cache *cache }

// New checks cfg, registers the layout with the device and returns a Pager. A
// layout that Validate refuses, regions that overlap or exceed their
// allocation, addresses of another device or of host memory are ErrInvalid;
// too little device or pinned memory is ErrOutOfMemory. All memory is taken
// here.
func New(cfg Config) (*Pager, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	m, err := cfg.Layout.Compile()
	if err != nil {
		return nil, fmt.Errorf("gpu: new: %w", err)
	}
	if err := cfg.checkRegions(); err != nil {
		return nil, fmt.Errorf("gpu: new: %w", err)
	}
	if cfg.Kernels.Device() != cfg.Device {
		return nil, fmt.Errorf("gpu: new: the kernels are not loaded on Config.Device: open them there: %w", kvferry.ErrInvalid)
	}
	c, err := newCache(&cfg, m)
	if err != nil {
		return nil, err
	}
	if err := c.start(&cfg, kernelRuns(m, cfg.Regions)); err != nil {
		return nil, errors.Join(err, c.release())
	}
	return &Pager{c}, nil
}

// newCache returns what needs no device.
func newCache(cfg *Config, m *pager.Mapping) (*cache, error) {
	c := &cache{
		Engine: cfg.Engine, device: cfg.Device, kernels: cfg.Kernels, meta: m.Meta(), pages: m.Pages(),
		blocks: cfg.Blocks, awake: looksAwake, drain: cmp.Or(cfg.DrainTimeout, DefaultDrainTimeout),
		works: make(map[pager.Ticket]*work), fenced: make(map[pager.PageID]struct{}),
	}
	c.guard, _ = cfg.Engine.(Guard)
	if _, ages := cfg.Engine.(pager.Generations); ages {
		c.written = make([]uint64, c.pages)
	}
	c.paths = DefaultPaths()
	if cfg.Paths != nil {
		c.paths = cfg.Paths.clone()
	}
	c.geometry = newGeometry(kernelRuns(m, cfg.Regions), int64(c.meta.PageBytes()))
	at := int64(0)
	for _, p := range c.meta.Parts {
		c.parts = append(c.parts, kernels.Part{Offset: at, Bytes: int64(p.Bytes)})
		at += int64(p.Bytes)
	}
	for i, d := range [...]pager.Direction{pager.Out, pager.In} {
		c.ways[i] = newWay(c, d)
	}
	var err error
	if c.limits, err = newLimits(&c.geometry, c.pages, cfg.StagingBytes); err != nil {
		return nil, err
	}
	c.coder, err = newCoder(cfg, c.meta, c.limits.batchPages)
	return c, err
}

// start takes what copies need on the device. Pages without bytes, or no pages,
// need nothing.
func (c *cache) start(cfg *Config, runs []kernels.Run) (err error) {
	if c.geometry.pageBytes == 0 || c.pages == 0 {
		return nil
	}
	if c.runs, err = c.kernels.NewRuns(runs, c.geometry.pageBytes); err != nil {
		return fmt.Errorf("gpu: new: %w", err)
	}
	c.inPlace = c.runs.InPlace(c.parts)
	c.limits.forDigests(len(c.parts), c.pages, c.inPlace, func(pages int) int64 { return kernels.ScratchBytes(c.parts, pages) })
	for _, handle := range cfg.Streams {
		s, err := c.device.ForeignStream(handle)
		if err != nil {
			return fmt.Errorf("gpu: new: the engine's stream %#x: %w", handle, err)
		}
		c.engines = append(c.engines, s)
	}
	for _, w := range c.ways {
		if err := w.take(cfg.Priority); err != nil {
			return err
		}
	}
	return nil
}

// View returns the pager with the abilities that it and its engine have: Mover,
// Digester with Comparer, and the engine's own.
func (p *Pager) View() pager.Pager {
	a := pager.Abilities{Mover: p.cache, Digester: p.cache}
	if r, ok := p.cache.Engine.(pager.Releaser); ok {
		a.Releaser = releasing{p.cache, r}
	}
	if r, ok := p.cache.Engine.(pager.Reserver); ok {
		a.Reserver = reserving{p.cache, r}
	}
	if g, ok := p.cache.Engine.(pager.Generations); ok {
		a.Generations = ageing{p.cache, g}
	}
	return pager.Compose(p.cache, a)
}

// Close ends what has not begun as NotStarted, waits DrainTimeout for copies
// under way and frees what New took. Copies that do not end keep their memory
// fenced: ErrUnknownOutcome. The engine's memory is not touched. After an error
// another Close tries again what failed; after none it does nothing.
func (p *Pager) Close() error {
	c := p.cache
	c.closing.Lock()
	defer c.closing.Unlock()
	if c.released {
		return nil
	}
	c.mu.Lock()
	c.closed, c.until = true, time.Now().Add(c.drain)
	c.mu.Unlock()
	for _, w := range c.ways {
		w.rouse()
	}
	c.workers.Wait()
	for _, w := range c.ways {
		w.crew.stop()
	}
	err := c.release()
	c.released = err == nil
	return err
}

// release frees what start took.
func (c *cache) release() error {
	var errs []error
	keep := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	if n := c.adrift(); n > 0 {
		return fmt.Errorf("gpu: close: %d batches of copies have no known end and keep their memory: %w", n, kvferry.ErrUnknownOutcome)
	}
	for _, w := range c.ways {
		w.close(keep)
	}
	for _, g := range c.spare {
		for _, e := range g.events {
			keep(e.Close())
		}
	}
	for _, s := range c.engines {
		keep(s.Close())
	}
	if c.runs != nil {
		keep(c.runs.Close())
	}
	if len(errs) > 0 {
		return fmt.Errorf("gpu: close: %w", errors.Join(errs...))
	}
	return nil
}

// adrift returns how many fenced batches have not ended by now either. On a lost
// device nothing moves any more.
func (c *cache) adrift() int {
	if c.lost != nil {
		return 0
	}
	ctx, cancel := context.WithDeadline(context.Background(), c.until)
	defer cancel()
	n := 0
	for _, w := range c.ways {
		for _, s := range w.stuck {
			if s.unmarked && w.mark(s) != nil {
				n++
				continue
			}
			if done, err := s.done.Done(); err == nil && done {
				continue
			}
			if s.done.Wait(ctx) != nil {
				n++
			}
		}
	}
	return n
}

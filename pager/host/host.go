// Package host is a Pager over host memory that somebody else owns: slices of
// a serving process, or a file of an engine that is mapped from /dev/shm.
//
// The engine describes its memory once, as a pager.Layout, and hands in the
// memory and an Engine: callbacks for what memory alone cannot tell. Reading
// and writing pages is then this package's work, in canonical order whatever
// the strides are, without allocation and from several goroutines.
//
//	slab := make([]byte, pages*pageBytes)
//	layout := &pager.Layout{Meta: meta, Pages: pages, Regions: …, Runs: …}
//	p, err := host.New(host.Config{Layout: layout, Regions: [][]byte{slab}, Engine: engine})
//
// Between Pause and Resume the engine must leave occupied pages and its
// sequences alone. It may go on to own pages that AllocatePages returned, but
// must neither use nor release them before they are installed in a sequence or
// released through ReleasePages.
package host

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

// Engine is what a serving process provides besides its memory. One that also
// implements Guard, pager.Releaser, pager.Reserver, pager.Generations or
// pager.Digester passes these abilities on to the Pager.
type Engine = pager.Engine

// Guard is an optional ability of an Engine: to refuse the copy of a page.
type Guard = pager.Guard

// Config says what New works on.
type Config struct {
	// Layout describes the memory. It is checked and not kept.
	Layout *pager.Layout
	// Regions is the memory, one slice for each region of the layout. They
	// must not overlap and stay valid while the Pager is used. Slices of a
	// mapped File need the File in Files.
	Regions [][]byte
	// Files are the mappings that Regions point into. Copies after one of them
	// was closed are ErrClosed, and its Close waits for copies under way. If
	// one is ReadOnly, WritePage is ErrReadOnly.
	Files []*File
	// Engine provides what memory cannot.
	Engine Engine
}

// New returns a Pager over cfg's memory. It has the abilities of cfg.Engine. A
// layout that Validate refuses and memory that does not fit it are ErrInvalid;
// a file that is already closed is ErrClosed.
func New(cfg Config) (pager.Pager, error) {
	if cfg.Layout == nil || cfg.Engine == nil {
		return nil, fmt.Errorf("host: new: layout and engine are needed: %w", kvferry.ErrInvalid)
	}
	m, err := cfg.Layout.Compile()
	if err != nil {
		return nil, fmt.Errorf("host: new: %w", err)
	}
	bound, err := m.Bind(cfg.Regions)
	if err != nil {
		return nil, fmt.Errorf("host: new: %w", err)
	}
	c := &cache{Engine: cfg.Engine, bound: bound, files: slices.Clone(cfg.Files)}
	c.guard, _ = cfg.Engine.(Guard)
	c.readOnly = slices.ContainsFunc(c.files, func(f *File) bool { return f.access == ReadOnly })
	if err := c.hold(); err != nil {
		return nil, fmt.Errorf("host: new: %w", err)
	}
	c.let()
	var a pager.Abilities
	a.Releaser, _ = cfg.Engine.(pager.Releaser)
	a.Reserver, _ = cfg.Engine.(pager.Reserver)
	a.Generations, _ = cfg.Engine.(pager.Generations)
	a.Digester, _ = cfg.Engine.(pager.Digester)
	return pager.Compose(c, a), nil
}

// cache is the Pager of one engine without its optional abilities.
type cache struct {
	Engine
	bound    *pager.Bound
	guard    Guard // nil if the engine has none
	files    []*File
	readOnly bool // one of files is
}

var _ pager.Pager = (*cache)(nil)

// Meta implements pager.Pager.
func (c *cache) Meta() pager.Meta {
	m := c.bound.Meta()
	m.Parts = slices.Clone(m.Parts)
	return m
}

// ReadPage implements pager.Pager.
func (c *cache) ReadPage(ctx context.Context, id pager.PageID, dst []byte) (err error) {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("host: read page %d: %w", id, err)
	}
	if c.guard != nil {
		if err := c.guard.CheckRead(id); err != nil {
			return fmt.Errorf("host: read page %d: %w", id, err)
		}
	}
	if err := c.hold(); err != nil {
		return fmt.Errorf("host: read page %d: %w", id, err)
	}
	defer c.let()
	if len(c.files) > 0 {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer lost(&err)
	}
	return c.bound.Gather(dst, id)
}

// WritePage implements pager.Pager. Padding that the layout does not map keeps
// its bytes.
func (c *cache) WritePage(ctx context.Context, id pager.PageID, src []byte) (err error) {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("host: write page %d: %w", id, err)
	}
	if c.guard != nil {
		if err := c.guard.CheckWrite(id); err != nil {
			return fmt.Errorf("host: write page %d: %w", id, err)
		}
	}
	if err := c.hold(); err != nil {
		return fmt.Errorf("host: write page %d: %w", id, err)
	}
	defer c.let()
	if c.readOnly {
		return fmt.Errorf("host: write page %d of a mapping for reading: %w", id, kvferry.ErrReadOnly)
	}
	if len(c.files) > 0 {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer lost(&err)
	}
	return c.bound.Scatter(id, src)
}

// lost turns the fault of an access to mapped memory, whose file was truncated
// by somebody else, into ErrClosed. Other panics go on.
func lost(err *error) {
	r := recover()
	if r == nil {
		return
	}
	fault, ok := r.(interface {
		runtime.Error
		Addr() uintptr
	})
	if !ok {
		panic(r)
	}
	*err = fmt.Errorf("host: the file behind the cache is shorter than it was (%w): %w", fault, kvferry.ErrClosed)
}

// hold keeps the mappings in place until let.
func (c *cache) hold() error {
	for i, f := range c.files {
		if err := f.hold(); err != nil {
			for _, held := range c.files[:i] {
				held.let()
			}
			return err
		}
	}
	return nil
}

func (c *cache) let() {
	for _, f := range c.files {
		f.let()
	}
}

// Package synthetic is a deterministic engine in memory: a Pager without a
// model, for tests, drills and benchmarks.
//
// Populate makes the pages that ProcessFork's SyntheticCachePager makes for the
// same geometry, count and seed, byte for byte, and the same sequence.
// PopulateKV makes pages that look like the keys and values of a language
// model. Both depend on their arguments alone.
//
// Three things of the original are not copied. An allocation never returns a
// page that is in use, whatever was populated before. Writing to a page that
// nobody allocated is an error. Pages that one page set and another differ in
// are really different with PopulateKV; with Populate, seeds and page indices
// are XOR-ed, so that two seeds which differ only in bits below the page count
// give the same pages in another order. Whoever wants diverging caches varies
// the upper half of the seed.
package synthetic

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

// DefaultCapacity is the number of pages of an engine whose Options name none.
const DefaultCapacity = 1 << 20

// Options configure an Engine.
type Options struct {
	// Meta is the geometry; the zero Meta stands for 8 tokens, 4 layers, 4
	// heads of 8, bf16.
	Meta pager.Meta
	// Capacity is the number of pages that the engine can hold; 0 stands for
	// DefaultCapacity. Memory is taken as pages come into use.
	Capacity int
}

// EnsureDefaults fills what is zero.
func (o *Options) EnsureDefaults() {
	if o.Meta.Dtype == 0 && o.Meta.Parts == nil {
		m, err := pager.Plain(8, 4, 4, 8, pager.BF16)
		if err != nil {
			panic(err) // a constant geometry
		}
		o.Meta = m
	}
	if o.Capacity == 0 {
		o.Capacity = DefaultCapacity
	}
}

// Validate returns ErrInvalid for a geometry that no pager can have and for a
// capacity that page ids cannot number.
func (o *Options) Validate() error {
	if o.Capacity < 0 || uint64(o.Capacity) > pager.MaxPages {
		return fmt.Errorf("synthetic: capacity of %d pages, want 0 to %d: %w", o.Capacity, int64(pager.MaxPages), kvferry.ErrInvalid)
	}
	return o.Meta.Validate()
}

// Engine is a synthetic engine. Its own methods are the nine operations of a
// Pager and what drives it from outside; With adds the optional abilities. All
// methods are safe for concurrent use.
type Engine struct {
	meta      pager.Meta
	pageBytes int

	// mu is held for reading by page copies and for writing by whatever
	// changes the tables. Copies of different pages do not meet: each touches
	// its own bytes, state and generation.
	mu     sync.RWMutex
	slab   *slab
	next   int // where the search for free pages begins
	used   int // pages that are not free
	seqs   []pager.LogicalSeq
	paused bool
	pauses int
	closed bool

	moves mover
}

var _ pager.Pager = (*Engine)(nil)

// New returns an empty engine, or ErrInvalid.
func New(o Options) (*Engine, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.Meta.Parts = slices.Clone(o.Meta.Parts)
	e := &Engine{meta: o.Meta, pageBytes: o.Meta.PageBytes()}
	e.slab = newSlab(e.pageBytes, o.Capacity)
	e.moves.init(e)
	return e, nil
}

// Close gives the engine's memory back after the copies under way. Every later
// operation is ErrClosed; a second Close is, too.
func (e *Engine) Close() error {
	e.moves.close()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return fmt.Errorf("synthetic: close: %w", kvferry.ErrClosed)
	}
	e.closed = true
	e.seqs = nil
	return e.slab.free()
}

// ready returns the error that forbids any operation. The caller holds mu.
func (e *Engine) ready(ctx context.Context, op string) error {
	if e.closed {
		return fmt.Errorf("synthetic: %s: %w", op, kvferry.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("synthetic: %s: %w", op, err)
	}
	return nil
}

// Meta implements pager.Pager.
func (e *Engine) Meta() pager.Meta {
	m := e.meta
	m.Parts = slices.Clone(m.Parts)
	return m
}

// Pause implements pager.Pager. A second pause without a resume is ErrInvalid.
func (e *Engine) Pause(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.ready(ctx, "pause"); err != nil {
		return err
	}
	if e.paused {
		return fmt.Errorf("synthetic: pause of a paused engine: %w", kvferry.ErrInvalid)
	}
	e.paused = true
	e.pauses++
	return nil
}

// Resume implements pager.Pager. It is ErrInvalid without a pause and does not
// look at ctx: an engine is never left paused because a caller gave up.
func (e *Engine) Resume(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return fmt.Errorf("synthetic: resume: %w", kvferry.ErrClosed)
	}
	if !e.paused {
		return fmt.Errorf("synthetic: resume of an engine that is not paused: %w", kvferry.ErrInvalid)
	}
	e.paused = false
	return nil
}

// Paused reports whether the engine is paused.
func (e *Engine) Paused() bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.paused
}

// Pauses returns how often the engine was paused.
func (e *Engine) Pauses() int {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.pauses
}

// FreePages returns how many pages can still be allocated.
func (e *Engine) FreePages() int {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.slab.capacity - e.used
}

// LogicalSeqs implements pager.Pager, in the order of installation.
func (e *Engine) LogicalSeqs(ctx context.Context) ([]pager.LogicalSeq, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if err := e.ready(ctx, "list sequences"); err != nil {
		return nil, err
	}
	return cloneSeqs(e.seqs), nil
}

// InstallLogicalSeqs implements pager.Pager. Sequences that CheckSeqs refuses,
// or that name a page which is free, are ErrInvalid.
func (e *Engine) InstallLogicalSeqs(ctx context.Context, seqs []pager.LogicalSeq) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.ready(ctx, "install sequences"); err != nil {
		return err
	}
	exists := func(id pager.PageID) bool { return e.slab.state(id) != free }
	if err := pager.CheckSeqs(seqs, e.meta.PageTokens, exists); err != nil {
		return fmt.Errorf("synthetic: install sequences: %w", err)
	}
	e.seqs = cloneSeqs(seqs)
	return nil
}

func cloneSeqs(seqs []pager.LogicalSeq) []pager.LogicalSeq {
	out := make([]pager.LogicalSeq, len(seqs))
	for i := range seqs {
		out[i] = seqs[i].Clone()
	}
	return out
}

package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/host"
)

// Pager offers the engine's cache to kvferry. It is a pager.Releaser and a
// pager.Reserver and gives pager.Generations.
//
// Installing a list of sequences leaves those alone that are in it unchanged:
// they run on after the pause. Others of the engine's sequences are dropped,
// and new ones are parked until Resume binds their states. A page belongs to
// the restore that allocated it until a sequence that names it was installed
// and a pause has ended, or states were bound, since.
func (e *Engine) Pager() (pager.Pager, error) {
	l, err := e.layout()
	if err != nil {
		return nil, err
	}
	if e.remote != nil {
		p, err := e.remote.memory.Pager(l, adapter{e})
		if err != nil {
			return nil, fmt.Errorf("engine: %w", err)
		}
		return p, nil
	}
	p, err := host.New(host.Config{Layout: l, Regions: slices.Concat(e.cache.Keys, e.cache.Values), Engine: adapter{e}})
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	return p, nil
}

// layout describes the cache: a region per layer for the keys and one for the
// values, pages one after the other in each.
func (e *Engine) layout() (*pager.Layout, error) {
	c := e.model.Config()
	meta, err := pager.Plain(uint32(e.cfg.PageTokens), uint32(c.Layers), uint32(c.KVHeads), uint32(c.HeadDim()), pager.BF16)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	l := &pager.Layout{Meta: meta, Pages: e.cfg.Pages, Runs: make([][]pager.Run, 2)}
	n := int64(e.cache.PageStride())
	for part := range l.Runs {
		for i := range c.Layers {
			l.Runs[part] = append(l.Runs[part], pager.Run{
				Region: len(l.Regions), Canonical: int64(i) * n, Bytes: n, Count: 1,
			})
			l.Regions = append(l.Regions, pager.Region{Bytes: int64(e.cfg.Pages) * n, Stride: n})
		}
	}
	return l, nil
}

// adapter gives an Engine the methods that package host calls.
type adapter struct{ e *Engine }

var (
	_ host.Engine       = adapter{}
	_ host.Guard        = adapter{}
	_ pager.Releaser    = adapter{}
	_ pager.Reserver    = adapter{}
	_ pager.Generations = adapter{}
)

// Pause waits for the step in flight and keeps the next ones waiting.
func (a adapter) Pause(ctx context.Context) error {
	if err := a.e.enter(ctx); err != nil {
		return fmt.Errorf("engine: pause: %w", err)
	}
	a.e.mu.Lock()
	defer a.e.mu.Unlock()
	a.e.paused = true
	a.e.saved = a.e.statesLocked()
	return nil
}

// Resume lets steps go on. It does not look at ctx: an engine is never left
// paused because a caller gave up.
func (a adapter) Resume(context.Context) error {
	a.e.mu.Lock()
	defer a.e.mu.Unlock()
	if !a.e.paused {
		return fmt.Errorf("engine: resume of an engine that is not paused: %w", kvferry.ErrInvalid)
	}
	a.e.paused = false
	a.e.blocks.settle()
	a.e.leave()
	return nil
}

// lock takes the tables for an operation, unless ctx is done.
func (a adapter) lock(ctx context.Context, op string) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("engine: %s: %w", op, err)
	}
	a.e.mu.Lock()
	return a.e.mu.Unlock, nil
}

// OccupiedPages returns the pages that sequences refer to, and those that a
// restore wrote and has not installed.
func (a adapter) OccupiedPages(ctx context.Context) ([]pager.PageID, error) {
	unlock, err := a.lock(ctx, "list pages")
	if err != nil {
		return nil, err
	}
	defer unlock()
	var out []pager.PageID
	for p := range a.e.blocks.refs {
		if a.e.blocks.occupied(uint32(p)) {
			out = append(out, pager.PageID(p))
		}
	}
	return out, nil
}

// LogicalSeqs returns all live sequences, also those that have no page yet.
func (a adapter) LogicalSeqs(ctx context.Context) ([]pager.LogicalSeq, error) {
	unlock, err := a.lock(ctx, "list sequences")
	if err != nil {
		return nil, err
	}
	defer unlock()
	var out []pager.LogicalSeq
	for _, s := range a.e.seqs {
		out = append(out, s.logical(a.e.cfg.PageTokens))
	}
	return out, nil
}

// CheckRead lets pages be read that hold data.
func (a adapter) CheckRead(id pager.PageID) error {
	a.e.mu.Lock()
	defer a.e.mu.Unlock()
	if !a.e.blocks.occupied(uint32(id)) {
		return fmt.Errorf("engine: page %d holds nothing: %w", id, kvferry.ErrNotFound)
	}
	return nil
}

// CheckWrite lets a restore write the pages that it has on loan.
func (a adapter) CheckWrite(id pager.PageID) error {
	a.e.mu.Lock()
	defer a.e.mu.Unlock()
	b := a.e.blocks
	if !b.exists(uint32(id)) || b.loans[id] == loanNone {
		return fmt.Errorf("engine: page %d was not allocated: %w", id, kvferry.ErrNotFound)
	}
	if b.loans[id] == loanOpen {
		b.loans[id] = loanFull
	}
	b.gens[id]++
	return nil
}

// Generations implements pager.Generations.
func (a adapter) Generations(ctx context.Context, ids []pager.PageID, dst []uint64) error {
	unlock, err := a.lock(ctx, "read generations")
	if err != nil {
		return err
	}
	defer unlock()
	if len(ids) != len(dst) {
		return fmt.Errorf("engine: room for %d generations of %d pages: %w", len(dst), len(ids), kvferry.ErrInvalid)
	}
	for i, id := range ids {
		if int(id) >= len(a.e.blocks.gens) {
			return fmt.Errorf("engine: generation of page %d of %d: %w", id, a.e.cfg.Pages, kvferry.ErrNotFound)
		}
		dst[i] = a.e.blocks.gens[id]
	}
	return nil
}

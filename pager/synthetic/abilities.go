package synthetic

import (
	"context"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

// Ability is a set of optional abilities of a Pager.
type Ability uint8

// The abilities, to be combined with |.
const (
	Releaser Ability = 1 << iota
	Reserver
	Generations
	Digester // with pager.Comparer
	Mover
	AllAbilities Ability = 1<<iota - 1
	NoAbility    Ability = 0
)

// With returns the engine as a Pager in which type assertion finds exactly the
// given abilities. All views share the engine's state.
func (e *Engine) With(set Ability) pager.Pager {
	var a pager.Abilities
	if set&Releaser != 0 {
		a.Releaser = releaser{e}
	}
	if set&Reserver != 0 {
		a.Reserver = reserver{e}
	}
	if set&Generations != 0 {
		a.Generations = generations{e}
	}
	if set&Digester != 0 {
		a.Digester = digester{e}
	}
	if set&Mover != 0 {
		a.Mover = &e.moves
	}
	return pager.Compose(e, a)
}

type (
	releaser    struct{ e *Engine }
	reserver    struct{ e *Engine }
	generations struct{ e *Engine }
	digester    struct{ e *Engine }
)

var (
	_ pager.Releaser    = releaser{}
	_ pager.Reserver    = reserver{}
	_ pager.Generations = generations{}
	_ pager.Digester    = digester{}
	_ pager.Comparer    = digester{}
)

// repeats reports whether an id occurs twice.
func repeats(ids []pager.PageID) bool {
	seen := make(map[pager.PageID]struct{}, len(ids))
	for _, id := range ids {
		seen[id] = struct{}{}
	}
	return len(seen) != len(ids)
}

func (r releaser) ReleasePages(ctx context.Context, ids []pager.PageID) error {
	e := r.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.ready(ctx, "release pages"); err != nil {
		return err
	}
	if repeats(ids) {
		return fmt.Errorf("synthetic: release pages: an index repeats: %w", kvferry.ErrInvalid)
	}
	for _, id := range ids {
		if e.slab.state(id) == free {
			return fmt.Errorf("synthetic: release page %d: %w", id, kvferry.ErrNotFound)
		}
	}
	e.giveLocked(ids)
	return nil
}

func (r reserver) ReservePages(ctx context.Context, ids []pager.PageID) error {
	e := r.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.ready(ctx, "reserve pages"); err != nil {
		return err
	}
	if repeats(ids) {
		return fmt.Errorf("synthetic: reserve pages: an index repeats: %w", kvferry.ErrInvalid)
	}
	for _, id := range ids {
		if uint64(id) >= uint64(e.slab.capacity) {
			return fmt.Errorf("synthetic: reserve page %d of %d: %w", id, e.slab.capacity, kvferry.ErrNotFound)
		}
		if e.slab.state(id) != free {
			return fmt.Errorf("synthetic: reserve page %d: %w", id, kvferry.ErrExists)
		}
	}
	for i, id := range ids {
		if err := e.takeLocked(id); err != nil {
			e.giveLocked(ids[:i])
			return err
		}
	}
	return nil
}

func (g generations) Generations(ctx context.Context, ids []pager.PageID, dst []uint64) error {
	e := g.e
	e.mu.Lock() // for writing: a copy under way may be counting up
	defer e.mu.Unlock()
	if err := e.ready(ctx, "generations"); err != nil {
		return err
	}
	if len(ids) != len(dst) {
		return fmt.Errorf("synthetic: generations of %d pages into %d: %w", len(ids), len(dst), kvferry.ErrInvalid)
	}
	for k, id := range ids {
		if uint64(id) >= uint64(e.slab.capacity) {
			return fmt.Errorf("synthetic: generation of page %d of %d: %w", id, e.slab.capacity, kvferry.ErrNotFound)
		}
		dst[k] = 0
		if c, i := e.slab.find(id); c != nil {
			dst[k] = c.gens[i]
		}
	}
	return nil
}

package mem

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// catalog is the store's snapshots and names.
type catalog struct {
	store *Store

	mu        sync.RWMutex
	snapshots map[digest.Digest]*listed
	names     map[string]digest.Digest
	commits   uint64
}

// listed is a snapshot; its entry has no names, those are in catalog.names.
type listed struct {
	entry  cas.Entry
	commit uint64 // which commit wrote it
}

var _ cas.Catalog = (*catalog)(nil)

func (c *catalog) init(s *Store) {
	c.store = s
	c.snapshots = map[digest.Digest]*listed{}
	c.names = map[string]digest.Digest{}
}

// checkEntry returns ErrInvalid if e cannot be committed.
func checkEntry(e cas.Entry) error {
	if !e.Root.Valid() {
		return fmt.Errorf("mem: commit: the root is invalid: %w", kvferry.ErrInvalid)
	}
	if !e.Format.Valid() {
		return fmt.Errorf("mem: commit %v with format %.40q: %w", e.Root, e.Format, kvferry.ErrInvalid)
	}
	if e.Image.Valid() && e.Image.Algorithm() != digest.SHA256 {
		return fmt.Errorf("mem: commit %v with image %v: %w", e.Root, e.Image, kvferry.ErrInvalid)
	}
	for _, name := range e.Names {
		if err := cas.CheckName(name); err != nil {
			return err
		}
	}
	return nil
}

// publish makes a checked entry visible and points its names at it.
func (c *catalog) publish(e cas.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range e.Names {
		c.names[name] = e.Root
	}
	e.Names = nil
	e.Created = e.Created.Round(0).UTC() // no monotonic reading
	c.commits++
	c.snapshots[e.Root] = &listed{entry: e, commit: c.commits}
}

// listLocked returns the snapshots, oldest first, with their names.
func (c *catalog) listLocked() []cas.Entry {
	names := map[digest.Digest][]string{}
	for name, root := range c.names {
		names[root] = append(names[root], name)
	}
	out := make([]cas.Entry, 0, len(c.snapshots))
	for root, l := range c.snapshots {
		e := l.entry
		e.Names = names[root]
		slices.Sort(e.Names)
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b cas.Entry) int {
		return cmp.Or(a.Created.Compare(b.Created), a.Root.Compare(b.Root))
	})
	return out
}

// Entries implements cas.Catalog.
func (c *catalog) Entries(ctx context.Context) ([]cas.Entry, error) {
	if err := c.store.checkOpen(ctx, "list snapshots"); err != nil {
		return nil, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.listLocked(), nil
}

// Lookup implements cas.Catalog.
func (c *catalog) Lookup(ctx context.Context, name string) (cas.Entry, error) {
	if err := c.store.checkOpen(ctx, "look up name"); err != nil {
		return cas.Entry{}, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	root, ok := c.names[name]
	if !ok {
		return cas.Entry{}, nameNotFound("look up", name)
	}
	return c.entryLocked(root), nil
}

func nameNotFound(op, name string) error {
	return fmt.Errorf("mem: %s name %.140q: %w", op, name, kvferry.ErrNotFound)
}

// SetName implements cas.Catalog.
func (c *catalog) SetName(ctx context.Context, name string, root digest.Digest) error {
	if err := c.store.checkOpen(ctx, "set name"); err != nil {
		return err
	}
	if err := cas.CheckName(name); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.snapshots[root] == nil {
		return notFound("set name of snapshot", root)
	}
	c.names[name] = root
	return nil
}

// Remove implements cas.Catalog.
func (c *catalog) Remove(ctx context.Context, name string) (cas.Removed, error) {
	if err := c.store.checkOpen(ctx, "remove name"); err != nil {
		return cas.Removed{}, err
	}
	if err := cas.CheckName(name); err != nil {
		return cas.Removed{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	root, ok := c.names[name]
	if !ok {
		return cas.Removed{}, nameNotFound("remove", name)
	}
	delete(c.names, name)
	e := c.entryLocked(root)
	if len(e.Names) > 0 {
		return cas.Removed{Entry: e}, nil
	}
	delete(c.snapshots, root)
	return cas.Removed{Entry: e, Dropped: true}, nil
}

// entryLocked returns the snapshot root, which is there, with its names.
func (c *catalog) entryLocked(root digest.Digest) cas.Entry {
	e := c.snapshots[root].entry
	for name, r := range c.names {
		if r == root {
			e.Names = append(e.Names, name)
		}
	}
	slices.Sort(e.Names)
	return e
}

// Drop implements cas.Catalog.
func (c *catalog) Drop(ctx context.Context, root digest.Digest) error {
	if err := c.store.checkOpen(ctx, "drop"); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.snapshots[root] == nil {
		return notFound("drop snapshot", root)
	}
	delete(c.snapshots, root)
	for name, r := range c.names {
		if r == root {
			delete(c.names, name)
		}
	}
	return nil
}

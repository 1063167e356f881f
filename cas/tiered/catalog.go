package tiered

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// catalog is far's with the changes of the queue applied.
type catalog struct{ s *Store }

var _ cas.Catalog = catalog{}

// Catalog implements cas.Store.
func (s *Store) Catalog() cas.Catalog { return catalog{s} }

// queued reports whether far's catalog alone does not tell.
func (s *Store) queued() bool { return s.queue != nil && !s.queue.empty() }

// view is a catalog that changes can be applied to.
type view struct {
	entries map[digest.Digest]cas.Entry // without names
	names   map[string]digest.Digest
}

// view returns the catalog, and beside it far's error, if far could not list
// all.
func (s *Store) view(ctx context.Context) (*view, error) {
	q := s.queue
	q.apply.RLock()
	defer q.apply.RUnlock()
	entries, err := s.far.Catalog().Entries(ctx)
	v := &view{entries: map[digest.Digest]cas.Entry{}, names: map[string]digest.Digest{}}
	for _, e := range entries {
		for _, name := range e.Names {
			v.names[name] = e.Root
		}
		e.Names = nil
		v.entries[e.Root] = e
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range q.pending {
		v.apply(c, q.entries)
	}
	return v, err
}

// apply does what far's catalog will do.
func (v *view) apply(c *change, queued map[digest.Digest]cas.Entry) {
	switch c.kind {
	case changeCommit:
		if e, ok := queued[c.root]; ok {
			v.entries[c.root] = e
		}
		if _, ok := v.entries[c.root]; ok {
			for _, name := range c.names {
				v.names[name] = c.root
			}
		}
	case changeName:
		if _, ok := v.entries[c.root]; ok {
			v.names[c.names[0]] = c.root
		}
	case changeRemove:
		root := v.names[c.names[0]]
		delete(v.names, c.names[0])
		for _, r := range []digest.Digest{root, c.root} { // the name may be gone already, see removeName
			if len(v.namesOf(r)) == 0 {
				delete(v.entries, r)
			}
		}
	case changeDrop:
		delete(v.entries, c.root)
		for _, name := range v.namesOf(c.root) {
			delete(v.names, name)
		}
	}
}

func (v *view) namesOf(root digest.Digest) []string {
	var out []string
	for name, r := range v.names {
		if r == root {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// entry returns the snapshot with its names.
func (v *view) entry(root digest.Digest) (cas.Entry, bool) {
	e, ok := v.entries[root]
	e.Names = v.namesOf(root)
	return e, ok
}

// list returns all snapshots in the catalog's order.
func (v *view) list() []cas.Entry {
	names := map[digest.Digest][]string{}
	for name, root := range v.names {
		names[root] = append(names[root], name)
	}
	out := make([]cas.Entry, 0, len(v.entries))
	for root, e := range v.entries {
		e.Names = names[root]
		slices.Sort(e.Names)
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b cas.Entry) int {
		return cmp.Or(a.Created.Compare(b.Created), a.Root.Compare(b.Root))
	})
	return out
}

// Entries implements cas.Catalog. Where far fails, what is queued is listed
// beside the error.
func (c catalog) Entries(ctx context.Context) ([]cas.Entry, error) {
	if err := c.s.start(ctx, "list snapshots"); err != nil {
		return nil, err
	}
	defer c.s.stop()
	if !c.s.queued() {
		return c.s.far.Catalog().Entries(ctx)
	}
	v, err := c.s.view(ctx)
	return v.list(), err
}

// Lookup implements cas.Catalog. A name that a queued snapshot has is found
// also where far fails.
func (c catalog) Lookup(ctx context.Context, name string) (cas.Entry, error) {
	if err := c.s.start(ctx, "look up name"); err != nil {
		return cas.Entry{}, err
	}
	defer c.s.stop()
	if !c.s.queued() {
		return c.s.far.Catalog().Lookup(ctx, name)
	}
	v, err := c.s.view(ctx)
	if e, ok := v.entry(v.names[name]); ok {
		return e, nil
	}
	return cas.Entry{}, missing(fmt.Sprintf("look up name %.140q", name), err)
}

// missing is ErrNotFound, or why nobody can tell.
func missing(what string, farErr error) error {
	if farErr != nil {
		return fmt.Errorf("tiered: %s: not queued, and far: %w", what, farErr)
	}
	return fmt.Errorf("tiered: %s: %w", what, kvferry.ErrNotFound)
}

// edit changes the catalog: in far at once if nothing is queued, else by the
// change that queue returns.
func (s *Store) edit(ctx context.Context, op string, far func(cas.Catalog) error, queue func(v *view, farErr error) (*change, error)) error {
	if err := s.start(ctx, op); err != nil {
		return err
	}
	defer s.stop()
	if s.queue == nil {
		return far(s.far.Catalog())
	}
	s.queue.edit.Lock()
	defer s.queue.edit.Unlock()
	if s.queue.empty() {
		return far(s.far.Catalog())
	}
	c, err := queue(s.view(ctx))
	if err != nil {
		return err
	}
	return s.queue.push(c, nil)
}

// SetName implements cas.Catalog.
func (c catalog) SetName(ctx context.Context, name string, root digest.Digest) error {
	return c.s.edit(ctx, "set name",
		func(far cas.Catalog) error { return far.SetName(ctx, name, root) },
		func(v *view, farErr error) (*change, error) {
			if err := cas.CheckName(name); err != nil {
				return nil, err
			}
			if _, ok := v.entries[root]; !ok {
				return nil, missing(fmt.Sprintf("set name of snapshot %v", root), farErr)
			}
			return &change{kind: changeName, root: root, names: []string{name}}, nil
		})
}

// Remove implements cas.Catalog.
func (c catalog) Remove(ctx context.Context, name string) (out cas.Removed, err error) {
	err = c.s.edit(ctx, "remove name",
		func(far cas.Catalog) (err error) {
			out, err = far.Remove(ctx, name)
			return err
		},
		func(v *view, farErr error) (*change, error) {
			if err := cas.CheckName(name); err != nil {
				return nil, err
			}
			root, ok := v.names[name]
			if !ok {
				return nil, missing(fmt.Sprintf("remove name %.140q", name), farErr)
			}
			if farErr != nil && !errors.Is(farErr, kvferry.ErrCorrupt) {
				return nil, missing(fmt.Sprintf("remove name %.140q", name), farErr) // other names may be there
			}
			delete(v.names, name)
			out.Entry, _ = v.entry(root)
			out.Dropped = len(out.Entry.Names) == 0
			c := &change{kind: changeRemove, names: []string{name}}
			if out.Dropped {
				c.root = root
			}
			return c, nil
		})
	if err != nil {
		out = cas.Removed{}
	}
	return out, err
}

// Drop implements cas.Catalog.
func (c catalog) Drop(ctx context.Context, root digest.Digest) error {
	return c.s.edit(ctx, "drop",
		func(far cas.Catalog) error { return far.Drop(ctx, root) },
		func(v *view, farErr error) (*change, error) {
			if _, ok := v.entries[root]; !ok {
				return nil, missing(fmt.Sprintf("drop snapshot %v", root), farErr)
			}
			return &change{kind: changeDrop, root: root}, nil
		})
}

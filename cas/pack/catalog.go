package pack

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// catalog implements cas.Catalog over the state.
type catalog struct{ s *Store }

var _ cas.Catalog = catalog{}

// read runs do with the catalog as it is now.
func (c catalog) read(ctx context.Context, do func(st *state) error) error {
	if err := c.s.start(ctx); err != nil {
		return err
	}
	defer c.s.stop()
	if err := c.s.refresh(ctx); err != nil {
		return err
	}
	return do(c.s.st())
}

// change commits what build says.
func (c catalog) change(ctx context.Context, op string, room room, build func(v *view, o *ops) error) error {
	if err := c.s.startWrite(ctx, op); err != nil {
		return err
	}
	defer c.s.stop()
	if err := c.s.commits.submit(ctx, &request{room: room, build: build}); err != nil {
		return fmt.Errorf("pack: %s: %w", op, err)
	}
	return nil
}

// Entries implements cas.Catalog.
func (c catalog) Entries(ctx context.Context) (out []cas.Entry, err error) {
	err = c.read(ctx, func(st *state) error {
		out, _ = st.entries()
		_, holes := c.s.damage.all(c.s.journal)
		return errors.Join(holes...)
	})
	return out, err
}

// Lookup implements cas.Catalog.
func (c catalog) Lookup(ctx context.Context, name string) (e cas.Entry, err error) {
	err = c.read(ctx, func(st *state) error {
		if err := cas.CheckName(name); err != nil {
			return err
		}
		st.mu.RLock()
		defer st.mu.RUnlock()
		root, ok := st.names[name]
		if ok {
			e, ok = st.entryLocked(root)
		}
		if !ok {
			if _, holes := c.s.damage.all(c.s.journal); len(holes) > 0 {
				return fmt.Errorf("pack: name %q: %w, but the store is damaged: %w", name, kvferry.ErrNotFound, errors.Join(holes...))
			}
			return fmt.Errorf("pack: name %q: %w", name, kvferry.ErrNotFound)
		}
		return nil
	})
	return e, err
}

// SetName implements cas.Catalog.
func (c catalog) SetName(ctx context.Context, name string, root digest.Digest) error {
	return c.change(ctx, "name "+name, spends, func(v *view, o *ops) error {
		if err := cas.CheckName(name); err != nil {
			return err
		}
		if !root.Valid() {
			return fmt.Errorf("the digest is invalid: %w", kvferry.ErrInvalid)
		}
		if _, ok := v.snapshots[root]; !ok {
			return fmt.Errorf("snapshot %v: %w", root, kvferry.ErrNotFound)
		}
		o.name(name, root)
		return nil
	})
}

// Remove implements cas.Catalog.
func (c catalog) Remove(ctx context.Context, name string) (cas.Removed, error) {
	var out cas.Removed
	err := c.change(ctx, "remove", frees, func(v *view, o *ops) error {
		if err := cas.CheckName(name); err != nil {
			return err
		}
		root, ok := v.names[name]
		if !ok {
			return fmt.Errorf("name %q: %w", name, kvferry.ErrNotFound)
		}
		l, ok := v.snapshots[root]
		out.Entry = l.entry
		if !ok {
			out.Entry = cas.Entry{Root: root}
		}
		for other, r := range v.names {
			if r == root && other != name {
				out.Entry.Names = append(out.Entry.Names, other)
			}
		}
		slices.Sort(out.Entry.Names)
		out.Dropped = len(out.Entry.Names) == 0
		if out.Dropped {
			o.forget(root)
		} else {
			o.unname(name)
		}
		return nil
	})
	if err != nil {
		return cas.Removed{}, err
	}
	return out, nil
}

// Drop implements cas.Catalog.
func (c catalog) Drop(ctx context.Context, root digest.Digest) error {
	return c.change(ctx, "drop", frees, func(v *view, o *ops) error {
		if !root.Valid() {
			return fmt.Errorf("the digest is invalid: %w", kvferry.ErrInvalid)
		}
		if _, ok := v.snapshots[root]; !ok {
			return fmt.Errorf("snapshot %v: %w", root, kvferry.ErrNotFound)
		}
		o.forget(root)
		return nil
	})
}

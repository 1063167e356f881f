//go:build unix

package dir

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// catalog implements cas.Catalog over the directories snapshots/ and names/.
// Its writers exclude each other by a lock, so that no name is left pointing
// at a snapshot that is being dropped.
type catalog struct{ s *Store }

var _ cas.Catalog = catalog{}

func entryPath(root digest.Digest) string { return snapshotsDir + "/" + flatName(root) }
func namePath(name string) string         { return namesDir + "/" + name }

// Entries implements cas.Catalog.
func (c catalog) Entries(ctx context.Context) ([]cas.Entry, error) {
	if err := c.s.start(ctx); err != nil {
		return nil, err
	}
	defer c.s.stop()
	entries, badNames, err := c.s.entries(ctx)
	return entries, errors.Join(badNames, err)
}

// entries returns the snapshots that can be read, and beside them the errors of
// the names and of the snapshots that cannot.
func (s *Store) entries(ctx context.Context) (_ []cas.Entry, badNames, damage error) {
	names, badNames := s.names(ctx)
	roots, err := s.roots()
	if err != nil {
		return nil, badNames, err
	}
	out := make([]cas.Entry, 0, len(roots))
	for _, root := range roots {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		e, err := s.entry(root)
		switch {
		case err == nil:
			e.Names = names[root]
			out = append(out, e)
		case !errors.Is(err, kvferry.ErrNotFound): // dropped since it was listed
			damage = errors.Join(damage, err)
		}
	}
	slices.SortFunc(out, func(a, b cas.Entry) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return a.Root.Compare(b.Root)
	})
	return out, badNames, damage
}

// roots lists the snapshots' files. Other files are ignored.
func (s *Store) roots() ([]digest.Digest, error) {
	list, err := s.listOrNone(snapshotsDir)
	if err != nil {
		return nil, err
	}
	var out []digest.Digest
	for _, e := range list {
		if root, err := parseFlatName(e); err == nil {
			out = append(out, root)
		}
	}
	return out, nil
}

func (s *Store) entry(root digest.Digest) (cas.Entry, error) {
	b, err := s.fs.readSmall(entryPath(root), recordMax)
	if err != nil {
		return cas.Entry{}, fmt.Errorf("dir: snapshot %v: %w", root, err)
	}
	e, err := decodeEntry(b, root)
	if err != nil {
		return e, fmt.Errorf("dir: %s: %w", entryPath(root), err)
	}
	return e, nil
}

// names returns the names of each snapshot, sorted, and beside them the errors
// of the names that cannot be read.
func (s *Store) names(ctx context.Context) (map[digest.Digest][]string, error) {
	list, err := s.listOrNone(namesDir)
	if err != nil {
		return nil, err
	}
	out := map[digest.Digest][]string{}
	var damage error
	slices.Sort(list)
	for _, name := range list {
		if cas.CheckName(name) != nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		root, err := s.target(name)
		if err == nil {
			out[root] = append(out[root], name)
		} else if !errors.Is(err, kvferry.ErrNotFound) {
			damage = errors.Join(damage, err)
		}
	}
	return out, damage
}

func (s *Store) target(name string) (digest.Digest, error) {
	b, err := s.fs.readSmall(namePath(name), recordMax)
	if err != nil {
		return digest.Digest{}, fmt.Errorf("dir: name %s: %w", name, err)
	}
	root, err := decodeName(b, name)
	if err != nil {
		return root, fmt.Errorf("dir: %s: %w", namePath(name), err)
	}
	return root, nil
}

// listOrNone lists the names in a directory that may be missing in a store
// that the original made.
func (s *Store) listOrNone(rel string) ([]string, error) {
	entries, err := s.fs.list(rel)
	if missing(err) {
		return nil, nil
	}
	if misplaced(err) {
		return nil, fmt.Errorf("dir: %s is no directory: %w", rel, kvferry.ErrCorrupt)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, failed("list", rel, err)
}

// Lookup implements cas.Catalog.
func (c catalog) Lookup(ctx context.Context, name string) (cas.Entry, error) {
	if err := c.s.start(ctx); err != nil {
		return cas.Entry{}, err
	}
	defer c.s.stop()
	if err := cas.CheckName(name); err != nil {
		return cas.Entry{}, err
	}
	root, err := c.s.target(name)
	if err != nil {
		return cas.Entry{}, err
	}
	e, err := c.s.entry(root)
	if err != nil {
		return cas.Entry{}, fmt.Errorf("dir: name %s: %w", name, err)
	}
	names, err := c.s.names(ctx)
	e.Names = names[root]
	if err != nil && ctx.Err() == nil {
		err = nil // another name is damaged, which Entries and Check tell
	}
	if !slices.Contains(e.Names, name) { // it moved meanwhile
		e.Names = append(e.Names, name)
		slices.Sort(e.Names)
	}
	return e, err
}

// change runs do, which changes the catalog, with no other writer beside it.
func (c catalog) change(ctx context.Context, op, key string, do func() error) error {
	if err := c.s.startWrite(ctx, op); err != nil {
		return err
	}
	defer c.s.stop()
	if err := c.s.locked(ctx, catalogLock, do); err != nil {
		return fmt.Errorf("dir: %s %s: %w", op, key, err)
	}
	return nil
}

// SetName implements cas.Catalog.
func (c catalog) SetName(ctx context.Context, name string, root digest.Digest) error {
	return c.change(ctx, "set name", fmt.Sprintf("%.140q", name), func() error {
		if err := cas.CheckName(name); err != nil {
			return err
		}
		if !root.Valid() {
			return kvferry.ErrInvalid
		}
		if _, err := c.s.entry(root); err != nil {
			return err
		}
		return c.s.apply([]edit{{rel: namePath(name), content: encodeName(name, root)}})
	})
}

// Remove implements cas.Catalog. The name goes before the snapshot: a crash
// leaves a snapshot without names rather than names without a snapshot.
func (c catalog) Remove(ctx context.Context, name string) (r cas.Removed, err error) {
	err = c.change(ctx, "remove name", fmt.Sprintf("%.140q", name), func() error {
		if err := cas.CheckName(name); err != nil {
			return err
		}
		root, unread := c.s.target(name)
		if unread != nil && !unreadable(unread) {
			return unread
		}
		if err := c.s.remove(namePath(name)); err != nil || unread != nil {
			return err
		}
		r, err = c.s.afterName(context.WithoutCancel(ctx), root) // not half of it
		return err
	})
	return r, err
}

// afterName drops the snapshot root, one name of which was removed, if that
// was the last one.
func (s *Store) afterName(ctx context.Context, root digest.Digest) (cas.Removed, error) {
	r := cas.Removed{Entry: cas.Entry{Root: root}}
	names, damage := s.names(ctx)
	if damage != nil && !unreadable(damage) {
		return r, damage
	}
	e, err := s.entry(root)
	if err == nil {
		r.Entry = e
	} else if errors.Is(err, kvferry.ErrNotFound) {
		return r, nil
	} else if !unreadable(err) {
		return r, err
	}
	r.Entry.Names = names[root]
	if len(r.Entry.Names) > 0 || damage != nil {
		return r, nil //nolint:nilerr // a name that cannot be read may be one of the snapshot's: it stays
	}
	err = s.removeEntry(r.Entry)
	r.Dropped = err == nil
	return r, err
}

// unreadable tells damage, and records of a newer version, from failures to
// look.
func unreadable(err error) bool {
	return errors.Is(err, kvferry.ErrCorrupt) || errors.Is(err, kvferry.ErrUnsupported)
}

// Drop implements cas.Catalog.
func (c catalog) Drop(ctx context.Context, root digest.Digest) error {
	return c.change(ctx, "drop", root.String(), func() error {
		if !root.Valid() {
			return kvferry.ErrInvalid
		}
		return c.s.drop(ctx, root)
	})
}

// drop removes the names first: a crash leaves a snapshot without names rather
// than names without a snapshot. A damaged snapshot can be dropped too: that a
// damaged name might point at it does not keep it, and its image's marker,
// which nobody knows any more, stays.
func (s *Store) drop(ctx context.Context, root digest.Digest) error {
	if _, err := s.fs.lstat(entryPath(root)); missing(err) {
		return fmt.Errorf("dir: snapshot %v: %w", root, kvferry.ErrNotFound)
	} else if err != nil {
		return failed("stat", entryPath(root), err)
	}
	names, err := s.names(ctx)
	if err != nil && !unreadable(err) {
		return err
	}
	for _, name := range names[root] {
		if err := s.remove(namePath(name)); err != nil {
			return fmt.Errorf("dir: names %s: %w", strings.Join(names[root], ", "), err)
		}
	}
	e, err := s.entry(root)
	if err != nil && !unreadable(err) {
		return err
	}
	e.Root = root
	return s.removeEntry(e)
}

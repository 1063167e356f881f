//go:build unix

package dir

import (
	"errors"
	"path"

	"github.com/kvferry/kvferry"
)

// edit is the replacement, or removal, of one file of the catalog.
type edit struct {
	rel     string
	content []byte
	remove  bool
	temp    string // durable file with the content; empty: not written yet

	old  []byte // what was there, nil if nothing
	done bool
}

// apply makes all edits, each at once and durably, in their order. If one
// fails, those before are undone.
func (s *Store) apply(edits []edit) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, s.undo(edits))
		}
	}()
	for i := range edits {
		if err := s.prepareEdit(&edits[i]); err != nil {
			return err
		}
	}
	for i := range edits {
		e := &edits[i]
		if err := s.makeEdit(e); err != nil {
			return err
		}
		dir := path.Dir(e.rel)
		if i+1 < len(edits) && path.Dir(edits[i+1].rel) == dir {
			continue
		}
		if err := s.fs.syncPath(dir); err != nil {
			return unwritten("sync", dir, err)
		}
	}
	return nil
}

// prepareEdit reads what e replaces, and writes the new content beside it if
// that was not done yet.
func (s *Store) prepareEdit(e *edit) (err error) {
	limit := recordMax
	if path.Dir(e.rel) == imagesDir {
		limit = markerMax
	}
	if e.old, err = s.fs.readSmall(e.rel, limit); err != nil {
		if !errors.Is(err, kvferry.ErrNotFound) && !errors.Is(err, kvferry.ErrCorrupt) {
			return err
		}
		e.old = nil // what is damaged is not brought back
	}
	if e.remove || e.temp != "" {
		return nil
	}
	e.temp, err = s.writeTemp(e.rel, e.content)
	return err
}

func (s *Store) makeEdit(e *edit) error {
	if e.remove {
		if err := s.fs.unlink(e.rel); err != nil && !missing(err) {
			return unwritten("remove", e.rel, err)
		}
	} else if err := s.fs.rename(e.temp, e.rel); err != nil {
		return unwritten("publish", e.rel, err)
	}
	e.done = true
	return nil
}

// undo brings back what the edits replaced, the last first.
func (s *Store) undo(edits []edit) error {
	var errs []error
	for i := len(edits) - 1; i >= 0; i-- {
		switch e := edits[i]; {
		case !e.done && e.temp != "":
			s.discard(e.temp)
		case e.done && e.old != nil:
			errs = append(errs, s.publish(e.rel, e.old))
		case e.done && !e.remove:
			errs = append(errs, s.remove(e.rel))
		}
	}
	return errors.Join(errs...)
}

//go:build unix

package dir

import (
	"errors"
	"path"

	"github.com/kvferry/kvferry"
)

// edit is the replacement of one file of the catalog.
type edit struct {
	rel     string
	content []byte

	temp string
	old  []byte // what was there, nil if nothing
	done bool
}

// apply makes all edits, each at once and durably, in their order. If one
// fails, those before are undone.
func (s *Store) apply(edits ...edit) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, s.undo(edits))
		}
	}()
	for i := range edits {
		e := &edits[i]
		if e.old, err = s.fs.readSmall(e.rel, recordMax); err != nil {
			if !errors.Is(err, kvferry.ErrNotFound) && !errors.Is(err, kvferry.ErrCorrupt) {
				return err
			}
			e.old = nil // what is damaged is not brought back
		}
		if e.temp, err = s.writeTemp(e.rel, e.content); err != nil {
			return err
		}
	}
	for i := range edits {
		e := &edits[i]
		if err := s.fs.rename(e.temp, e.rel); err != nil {
			return unwritten("publish", e.rel, err)
		}
		e.done = true
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

// undo brings back what the edits replaced, the last first.
func (s *Store) undo(edits []edit) error {
	var errs []error
	for i := len(edits) - 1; i >= 0; i-- {
		switch e := edits[i]; {
		case !e.done && e.temp != "":
			s.discard(e.temp)
		case e.done && e.old != nil:
			errs = append(errs, s.publish(e.rel, e.old))
		case e.done:
			errs = append(errs, s.remove(e.rel))
		}
	}
	return errors.Join(errs...)
}

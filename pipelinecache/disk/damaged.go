package disk

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/kvferry/kvferry/internal/vfs"
	"github.com/kvferry/kvferry/pipelinecache"
)

// treat does with a damaged file what the options say. It is nil when nothing
// needs to be said: the caller reports the damage.
func (s *Store) treat(f pipelinecache.Fingerprint, damaged vfs.Info) error {
	var err error
	switch s.opt.Damaged {
	case Leave:
		return nil
	case Remove:
		_, err = s.dropFile(f, damaged)
	default:
		err = s.setAside(f, damaged)
	}
	if err != nil {
		return fmt.Errorf("and it cannot be put out of the way: %w", err)
	}
	return nil
}

// dropFile removes the file of an artifact unless it was replaced, and tells
// whether it did. A file that is gone is no error.
func (s *Store) dropFile(f pipelinecache.Fingerprint, was vfs.Info) (bool, error) {
	s.names.Lock()
	defer s.names.Unlock()
	if same, err := s.sameLocked(f, was); !same {
		return false, err
	}
	if err := s.fs.Remove(artifactName(f)); err != nil {
		return false, unlessGone(err)
	}
	s.forget(f)
	return true, nil
}

// setAside renames the file of an artifact unless it was replaced.
func (s *Store) setAside(f pipelinecache.Fingerprint, was vfs.Info) error {
	s.names.Lock()
	defer s.names.Unlock()
	if same, err := s.sameLocked(f, was); !same {
		return err
	}
	if err := s.fs.Rename(artifactName(f), asideName(f)); err != nil {
		return unlessGone(err)
	}
	s.forget(f)
	return s.undoLocked(f, was)
}

// undoLocked gives a file its name back that another process put between the
// look and the rename. If there is a still newer one, it is a miss less.
func (s *Store) undoLocked(f pipelinecache.Fingerprint, was vfs.Info) error {
	moved, err := s.fs.Stat(asideName(f))
	if err != nil || moved.ID == was.ID {
		return unlessGone(err)
	}
	if _, err := s.fs.Stat(artifactName(f)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return unlessGone(s.fs.Rename(asideName(f), artifactName(f)))
}

// sameLocked tells whether the file of an artifact is still the one that was
// looked at, unchanged. One that is gone is another one.
func (s *Store) sameLocked(f pipelinecache.Fingerprint, was vfs.Info) (bool, error) {
	now, err := s.fs.Stat(artifactName(f))
	if err != nil {
		return false, unlessGone(err)
	}
	return now.ID == was.ID && now.Size == was.Size && now.Modified.Equal(was.Modified), nil
}

func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

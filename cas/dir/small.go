//go:build unix

package dir

import (
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
)

// readSmall returns the content of the regular file rel, which must not be
// longer than limit.
func (f *files) readSmall(rel string, limit int) ([]byte, error) {
	fd, size, err := f.openRegular(rel)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }() // read only
	if size > int64(limit) {
		return nil, fmt.Errorf("dir: %s has %d bytes, more than %d: %w", rel, size, limit, kvferry.ErrCorrupt)
	}
	b := make([]byte, size)
	n, err := f.read(fd, rel, 0, b)
	return b[:n], failed("read", rel, err)
}

// openRegular opens rel for reading and returns its size. What is not there is
// ErrNotFound, and what is no regular file ErrCorrupt.
func (f *files) openRegular(rel string) (fd int, size int64, err error) {
	fd, err = f.open(rel, unix.O_RDONLY)
	switch {
	case missing(err):
		return -1, 0, fmt.Errorf("dir: %s: %w", rel, kvferry.ErrNotFound)
	case misplaced(err):
		return -1, 0, fmt.Errorf("dir: %s is no regular file: %w", rel, kvferry.ErrCorrupt)
	case err != nil:
		return -1, 0, failed("open", rel, err)
	}
	var st unix.Stat_t
	if err = f.hit("stat", rel); err == nil {
		err = unix.Fstat(fd, &st)
	}
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
		return fd, st.Size, nil
	}
	_ = unix.Close(fd) // nothing was read
	if err != nil {
		return -1, 0, failed("stat", rel, err)
	}
	return -1, 0, fmt.Errorf("dir: %s is no regular file: %w", rel, kvferry.ErrCorrupt)
}

// writeTemp writes a new file next to rel, makes its content durable and
// returns its path.
func (s *Store) writeTemp(rel string, content []byte) (temp string, err error) {
	return s.newTemp(rel, content, func(fd int, temp string) error {
		if err := s.fs.hit("fsync", temp); err != nil {
			return err
		}
		_, err := uninterrupted(func() (int, error) { return 0, unix.Fsync(fd) })
		return err
	})
}

// createTemp writes a new file next to rel and returns its path.
func (s *Store) createTemp(rel string, content []byte) (temp string, err error) {
	return s.newTemp(rel, content, func(int, string) error { return nil })
}

func (s *Store) newTemp(rel string, content []byte, finish func(fd int, temp string) error) (temp string, err error) {
	temp = path.Join(path.Dir(rel), tempName(s.id, s.temps.Add(1)))
	fd, err := s.fs.open(temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return "", unwritten("create", temp, err)
	}
	if err = s.fs.write(fd, temp, content); err == nil {
		err = finish(fd, temp)
	}
	if err = errors.Join(err, s.fs.close(fd, temp)); err != nil {
		s.discard(temp)
		return "", unwritten("write", temp, err)
	}
	return temp, nil
}

// publish puts content at rel, durably and at once, replacing what is there.
func (s *Store) publish(rel string, content []byte) error {
	temp, err := s.writeTemp(rel, content)
	if err != nil {
		return err
	}
	if err := s.fs.rename(temp, rel); err != nil {
		s.discard(temp)
		return unwritten("publish", rel, err)
	}
	dir := path.Dir(rel)
	return unwritten("sync", dir, s.fs.syncPath(dir))
}

// remove deletes rel durably; what is not there is ErrNotFound.
func (s *Store) remove(rel string) error {
	if err := s.fs.unlink(rel); err != nil {
		if missing(err) {
			return fmt.Errorf("dir: %s: %w", rel, kvferry.ErrNotFound)
		}
		return unwritten("remove", rel, err)
	}
	dir := path.Dir(rel)
	return unwritten("sync", dir, s.fs.syncPath(dir))
}

// discard removes a temporary file after an error. What it cannot remove is
// left to the next collection.
func (s *Store) discard(temp string) { _ = s.fs.unlink(temp) }

//go:build linux || darwin || freebsd

package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// OS returns the directory root of this system. It must exist, and may be a
// symbolic link itself; below it none is followed.
func OS(root string) (FS, error) {
	fd, err := uninterrupted(func() (int, error) {
		return unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, failure("open", root, err)
	}
	return &system{fd: fd, root: root}, nil
}

var _ FS = (*system)(nil)

// system is a directory of the system.
type system struct {
	root string // its path, for messages

	mu     sync.RWMutex // held for reading while fd is used
	fd     int
	closed bool
}

// do runs f with the root directory. The error names the whole path.
func (s *system) do(op, name string, f func(root int) error) error {
	if !fs.ValidPath(name) {
		return failure(op, name, unix.EINVAL)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return failure(op, s.path(name), unix.EBADF)
	}
	return failure(op, s.path(name), f(s.fd))
}

// in runs f with the directory that holds name, which is not the root.
func (s *system) in(op, name string, f func(dir int, base string) error) error {
	return s.do(op, name, func(root int) error {
		if name == "." {
			return unix.EBUSY
		}
		return within(root, name, f)
	})
}

func within(root int, name string, f func(dir int, base string) error) error {
	dir, base := path.Split(name)
	if dir == "" {
		return f(root, base)
	}
	fd, err := openBeneath(root, dir[:len(dir)-1], unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written through it
	return f(fd, base)
}

func (s *system) path(name string) string { return filepath.Join(s.root, filepath.FromSlash(name)) }

func (s *system) Mkdir(name string) error {
	return s.in("mkdir", name, func(dir int, base string) error { return unix.Mkdirat(dir, base, 0o777) })
}

func (s *system) Remove(name string) error {
	return s.in("unlink", name, func(dir int, base string) error {
		err := unix.Unlinkat(dir, base, 0)
		if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EPERM) {
			// Which of them a directory is depends on the system; what is no
			// directory keeps the first error.
			if again := unix.Unlinkat(dir, base, unix.AT_REMOVEDIR); !errors.Is(again, unix.ENOTDIR) {
				return again
			}
		}
		return err
	})
}

func (s *system) Rename(from, to string) error {
	if !fs.ValidPath(to) {
		return failure("rename", to, unix.EINVAL)
	}
	return s.in("rename", from, func(a int, old string) error {
		if to == "." {
			return unix.EBUSY
		}
		if path.Dir(from) == path.Dir(to) {
			return unix.Renameat(a, old, a, path.Base(to))
		}
		return within(s.fd, to, func(b int, base string) error { return unix.Renameat(a, old, b, base) })
	})
}

func (s *system) List(name string) ([]Info, error) {
	var all []Info
	err := s.do("readdir", name, func(root int) error {
		fd, err := openBeneath(root, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		d := os.NewFile(uintptr(fd), name)
		names, err := d.Readdirnames(-1)
		for _, base := range names {
			switch info, err := statAt(fd, base); {
			case err == nil:
				all = append(all, info)
			case !errors.Is(err, unix.ENOENT): // else it was removed meanwhile
				return errors.Join(err, d.Close())
			}
		}
		return errors.Join(err, d.Close())
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func (s *system) Stat(name string) (Info, error) {
	var info Info
	err := s.do("stat", name, func(root int) error {
		return within(root, name, func(dir int, base string) (err error) {
			info, err = statAt(dir, base)
			return err
		})
	})
	return info, err
}

func statAt(dir int, base string) (Info, error) {
	var st unix.Stat_t
	_, err := uninterrupted(func() (int, error) {
		return 0, unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		return Info{}, err
	}
	return describe(base, &st), nil
}

func describe(base string, st *unix.Stat_t) Info {
	kind := st.Mode & unix.S_IFMT
	sec, nsec := st.Mtim.Unix()
	return Info{
		Name: base, Size: st.Size, Dir: kind == unix.S_IFDIR, Regular: kind == unix.S_IFREG,
		ID: st.Ino, Modified: time.Unix(sec, nsec), AllocatedBytes: 512 * st.Blocks,
	}
}

func (s *system) SyncDir(name string) error {
	return s.do("fsyncdir", name, func(root int) error {
		fd, err := openBeneath(root, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		return errors.Join(syncWhole(fd), unix.Close(fd))
	})
}

func (s *system) FreeBytes() (free int64, err error) {
	err = s.do("statfs", ".", func(root int) error {
		var st unix.Statfs_t
		_, err := uninterrupted(func() (int, error) { return 0, unix.Fstatfs(root, &st) })
		free = freeBytes(&st)
		return err
	})
	return free, err
}

func (s *system) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return failure("close", s.root, unix.EBADF)
	}
	s.closed = true
	return failure("close", s.root, unix.Close(s.fd))
}

// uninterrupted repeats a system call that a signal interrupted.
func uninterrupted(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

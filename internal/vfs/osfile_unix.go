//go:build linux || darwin || freebsd

package vfs

import (
	"context"
	"errors"
	"io"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

var _ File = (*osFile)(nil)

// osFile is an open file of the system.
type osFile struct {
	name   string // its path, for messages
	direct bool

	mu     sync.RWMutex // held for reading while fd is used
	fd     int
	closed bool
	words  []*osWord // guarded by mu held for writing

	locked atomic.Bool // a lock was taken, and perhaps given back since
}

// openFlags never wait, and make no terminal the process's own.
const openFlags = unix.O_NONBLOCK | unix.O_NOCTTY

func (s *system) Open(name string, how Mode) (File, error) {
	op, flags := "open", unix.O_RDONLY|openFlags
	if how&(ReadWrite|Create) != 0 {
		flags = unix.O_RDWR | openFlags
	}
	if how&Create != 0 {
		op, flags = "create", flags|unix.O_CREAT
		if how&Exclusive != 0 {
			flags |= unix.O_EXCL
		}
	}
	f := &osFile{name: s.path(name)}
	err := s.do(op, name, func(root int) (err error) {
		f.fd, err = openBeneath(root, name, flags, 0o666)
		if err != nil {
			return err
		}
		if err := regular(f.fd); err != nil {
			_ = unix.Close(f.fd) // nothing was done through it
			return err
		}
		f.direct = how&Direct != 0 && goDirect(f.fd)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func regular(fd int) error {
	var st unix.Stat_t
	if _, err := uninterrupted(func() (int, error) { return 0, unix.Fstat(fd, &st) }); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return nil
	case unix.S_IFDIR:
		return unix.EISDIR
	}
	return unix.ENXIO
}

// enter begins an operation, which ends with f.mu.RUnlock.
func (f *osFile) enter(op string) error {
	f.mu.RLock()
	if f.closed {
		f.mu.RUnlock()
		return failure(op, f.name, unix.EBADF)
	}
	return nil
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.enter("read"); err != nil {
		return 0, err
	}
	defer f.mu.RUnlock()
	if f.direct && !fits(p, off) {
		return 0, failure("read", f.name, unix.EINVAL)
	}
	for done := 0; ; {
		if done == len(p) {
			return done, nil
		}
		n, err := unix.Pread(f.fd, p[done:], off+int64(done))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return done, failure("read", f.name, err)
		}
		done += n
		// A direct file ends in the middle of a block, where reading on could
		// only fail.
		if n == 0 || f.direct && n%BlockBytes != 0 && done < len(p) && f.endsAt(off+int64(done)) {
			return done, io.EOF
		}
	}
}

// endsAt tells whether the file is no longer than off.
func (f *osFile) endsAt(off int64) bool {
	var st unix.Stat_t
	return unix.Fstat(f.fd, &st) == nil && st.Size <= off
}

func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.enter("write"); err != nil {
		return 0, err
	}
	defer f.mu.RUnlock()
	if f.direct && !fits(p, off) {
		return 0, failure("write", f.name, unix.EINVAL)
	}
	done := 0
	for done < len(p) {
		n, err := unix.Pwrite(f.fd, p[done:], off+int64(done))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return done, failure("write", f.name, err)
		}
		if n == 0 {
			return done, failure("write", f.name, io.ErrShortWrite)
		}
		done += n
	}
	return done, nil
}

// call runs a system call on the file.
func (f *osFile) call(op string, do func(fd int) error) error {
	if err := f.enter(op); err != nil {
		return err
	}
	defer f.mu.RUnlock()
	return failure(op, f.name, do(f.fd))
}

func (f *osFile) Sync() error { return f.call("fsync", syncData) }

func (f *osFile) Truncate(size int64) error {
	return f.call("truncate", func(fd int) error {
		_, err := uninterrupted(func() (int, error) { return 0, unix.Ftruncate(fd, size) })
		return err
	})
}

func (f *osFile) Allocate(size int64) error {
	return f.call("allocate", func(fd int) error { return reserve(fd, size) })
}

func (f *osFile) Stat() (info Info, err error) {
	err = f.call("stat", func(fd int) error {
		var st unix.Stat_t
		_, err := uninterrupted(func() (int, error) { return 0, unix.Fstat(fd, &st) })
		info = describe(path.Base(f.name), &st)
		return err
	})
	if err != nil {
		return Info{}, err
	}
	return info, nil
}

func (f *osFile) Lock(ctx context.Context) error {
	for wait := 50 * time.Microsecond; ; wait = min(2*wait, 2*time.Millisecond) {
		free, err := f.TryLock()
		if free || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return failure("flock", f.name, ctx.Err())
		case <-time.After(wait):
		}
	}
}

func (f *osFile) TryLock() (bool, error) {
	busy := false
	err := f.call("flock", func(fd int) error {
		_, err := uninterrupted(func() (int, error) { return 0, unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
		busy = errors.Is(err, unix.EWOULDBLOCK)
		if busy {
			return nil
		}
		if err == nil {
			f.locked.Store(true)
		}
		return err
	})
	return err == nil && !busy, err
}

func (f *osFile) Unlock() error {
	return f.call("unlock", func(fd int) error { return unix.Flock(fd, unix.LOCK_UN) })
}

func (f *osFile) Direct() bool { return f.direct }

func (f *osFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return failure("close", f.name, unix.EBADF)
	}
	f.closed = true
	for _, w := range f.words {
		w.unmap()
	}
	if f.locked.Load() {
		// Closing would keep the lock for as long as a child that is just being
		// started has the descriptor, too: until its exec.
		_ = unix.Flock(f.fd, unix.LOCK_UN)
	}
	return failure("close", f.name, unix.Close(f.fd))
}

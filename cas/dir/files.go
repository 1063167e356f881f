//go:build unix

package dir

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// files is the seam between the store and the system: every operation on
// files goes through it, by paths below the root, and can be made to fail.
type files struct {
	fd    int    // the root directory
	root  string // its path, for messages
	fault func(op, path string) error
}

func (f *files) hit(op, rel string) error {
	if f.fault == nil {
		return nil
	}
	return f.fault(op, rel)
}

// open returns a descriptor of rel. It never waits, not even for a fifo.
func (f *files) open(rel string, flags int) (int, error) {
	op := "open"
	if flags&unix.O_CREAT != 0 {
		op = "create"
	}
	if err := f.hit(op, rel); err != nil {
		return -1, err
	}
	return openBeneath(f.fd, rel, flags|unix.O_NONBLOCK|unix.O_NOCTTY, 0o666)
}

// in runs do with a descriptor of the directory that holds rel.
func (f *files) in(rel string, do func(dirfd int, name string) error) error {
	dir, name := path.Split(rel)
	if dir == "" {
		return do(f.fd, name)
	}
	fd, err := openBeneath(f.fd, dir[:len(dir)-1], unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written through it
	return do(fd, name)
}

func (f *files) lstat(rel string) (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := f.hit("stat", rel); err != nil {
		return st, err
	}
	err := f.in(rel, func(fd int, name string) error {
		_, err := uninterrupted(func() (int, error) {
			return 0, unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		})
		return err
	})
	return st, err
}

// statAt tells whether rel is there, whose directory is open as dirfd.
func (f *files) statAt(dirfd int, rel string) error {
	if err := f.hit("stat", rel); err != nil {
		return err
	}
	var st unix.Stat_t
	_, err := uninterrupted(func() (int, error) {
		return 0, unix.Fstatat(dirfd, path.Base(rel), &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return err
}

func (f *files) mkdir(rel string) error {
	if err := f.hit("mkdir", rel); err != nil {
		return err
	}
	return f.in(rel, func(fd int, name string) error { return unix.Mkdirat(fd, name, 0o777) })
}

func (f *files) unlink(rel string) error {
	if err := f.hit("unlink", rel); err != nil {
		return err
	}
	return f.in(rel, func(fd int, name string) error { return unix.Unlinkat(fd, name, 0) })
}

// rename moves from over to, whose directory may be another.
func (f *files) rename(from, to string) error {
	if err := f.hit("rename", to); err != nil {
		return err
	}
	return f.in(from, func(a int, old string) error {
		if path.Dir(from) == path.Dir(to) {
			return unix.Renameat(a, old, a, path.Base(to))
		}
		return f.in(to, func(b int, name string) error { return unix.Renameat(a, old, b, name) })
	})
}

// syncPath makes the file or directory rel durable.
func (f *files) syncPath(rel string) error {
	if err := f.hit("fsync", rel); err != nil {
		return err
	}
	fd, err := openBeneath(f.fd, rel, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	_, err = uninterrupted(func() (int, error) { return 0, unix.Fsync(fd) })
	return errors.Join(err, unix.Close(fd))
}

func (f *files) syncAll(fd int) error {
	if err := f.hit("syncfs", "."); err != nil {
		return err
	}
	return syncWhole(fd)
}

// write writes all of the buffers to fd. When a fault is injected, half of the
// bytes are written first, as a full disk does it.
func (f *files) write(fd int, rel string, bufs ...[]byte) error {
	injected := f.hit("write", rel)
	if injected != nil {
		for i, b := range bufs {
			bufs[i] = b[:len(b)/2]
		}
	}
	for len(bufs) > 0 {
		if len(bufs[0]) == 0 {
			bufs = bufs[1:]
			continue
		}
		n, err := uninterrupted(func() (int, error) { return unix.Writev(fd, bufs) })
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrShortWrite
		}
		for n > 0 {
			k := min(n, len(bufs[0]))
			bufs[0] = bufs[0][k:]
			n -= k
			if len(bufs[0]) == 0 {
				bufs = bufs[1:]
			}
		}
	}
	return injected
}

// read fills the buffers in turn from offset off of fd and returns the number
// of bytes there were.
func (f *files) read(fd int, rel string, off int64, bufs ...[]byte) (int, error) {
	if err := f.hit("read", rel); err != nil {
		return 0, err
	}
	total := 0
	for _, b := range bufs {
		for len(b) > 0 {
			n, err := uninterrupted(func() (int, error) { return unix.Pread(fd, b, off) })
			if err != nil {
				return total, err
			}
			if n == 0 {
				return total, nil
			}
			b, off, total = b[n:], off+int64(n), total+n
		}
	}
	return total, nil
}

func (f *files) close(fd int, rel string) error {
	err := unix.Close(fd)
	return errors.Join(f.hit("close", rel), err)
}

// list returns the entries of the directory rel in no order.
func (f *files) list(rel string) ([]os.DirEntry, error) {
	if err := f.hit("readdir", rel); err != nil {
		return nil, err
	}
	fd, err := openBeneath(f.fd, rel, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	d := os.NewFile(uintptr(fd), filepath.Join(f.root, rel))
	entries, err := d.ReadDir(-1)
	return entries, errors.Join(err, d.Close())
}

// lock takes the lock how of fd, asking again and again so that a wait ends
// with ctx.
func (f *files) lock(ctx context.Context, fd int, rel string, how int) error {
	for wait := 50 * time.Microsecond; ; wait = min(2*wait, 2*time.Millisecond) {
		free, err := f.tryLock(fd, rel, how)
		if free || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// tryLock takes the lock how of fd unless somebody else has it.
func (f *files) tryLock(fd int, rel string, how int) (bool, error) {
	if err := f.hit("flock", rel); err != nil {
		return false, err
	}
	_, err := uninterrupted(func() (int, error) { return 0, unix.Flock(fd, how|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// unlock gives fd's lock back. Unlocking a descriptor that is open cannot
// fail.
func unlock(fd int) { _ = unix.Flock(fd, unix.LOCK_UN) }

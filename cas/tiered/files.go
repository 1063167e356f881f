package tiered

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/kvferry/kvferry"
)

const (
	changeSuffix = ".op"
	tempSuffix   = ".tmp"
)

// files is the directory of the queue. Every operation goes through it and can
// be made to fail.
type files struct {
	path  string
	dir   *os.File // locked, while the queue is open
	fault func(op, path string) error

	mu     sync.Mutex
	poison error // why nothing can be written any more
}

func (f *files) hit(op, name string) error {
	if f.fault == nil {
		return nil
	}
	return f.fault(op, name)
}

// failed wraps an error of the system.
func (f *files) failed(op, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		err = fmt.Errorf("%w: %w", kvferry.ErrNoSpace, err)
	case errors.Is(err, syscall.EROFS):
		err = fmt.Errorf("%w: %w", kvferry.ErrReadOnly, err)
	}
	return fmt.Errorf("tiered: queue: %s %s: %w", op, filepath.Join(f.path, name), err)
}

// openFiles opens the directory, which it makes if need be, and locks it. One
// that another process or store has is ErrReadOnly.
func openFiles(path string, fault func(op, path string) error) (*files, error) {
	f := &files{path: path, fault: fault}
	if err := f.make(path); err != nil {
		return nil, f.failed("make", ".", err)
	}
	if err := f.hit("open", "."); err != nil {
		return nil, f.failed("open", ".", err)
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, f.failed("open", ".", err)
	}
	if err := lockDir(dir); err != nil {
		return nil, errors.Join(f.failed("lock", ".", err), dir.Close())
	}
	f.dir = dir
	return f, nil
}

// make makes the directory and those above it, durably.
func (f *files) make(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f.make(filepath.Dir(path)); err != nil {
		return err
	}
	if err := f.hit("mkdir", path); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	above, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	err = f.hit("fsync", filepath.Dir(path))
	if err == nil {
		err = above.Sync()
	}
	return errors.Join(err, above.Close())
}

func (f *files) close() error { return f.dir.Close() }

func fileOf(seq uint64) string { return fmt.Sprintf("%016x%s", seq, changeSuffix) }

// seqOf reads the name of a change's file, or of one that was being written.
func seqOf(name, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	seq, err := strconv.ParseUint(digits, 16, 64)
	return seq, err == nil && fmt.Sprintf("%016x", seq) == digits
}

// load reads every change, in order, and removes what was being written when a
// process ended.
func (f *files) load() ([]*change, error) {
	if err := f.hit("list", "."); err != nil {
		return nil, f.failed("list", ".", err)
	}
	list, err := os.ReadDir(f.path)
	if err != nil {
		return nil, f.failed("list", ".", err)
	}
	var out []*change
	for _, entry := range list {
		if _, ok := seqOf(entry.Name(), tempSuffix); ok {
			if err := f.removeFile(entry.Name()); err != nil {
				return nil, err
			}
		}
		seq, ok := seqOf(entry.Name(), changeSuffix)
		if !ok {
			continue
		}
		c, err := f.read(entry.Name())
		if err != nil {
			return nil, err
		}
		c.seq = seq
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *change) int { return cmp.Compare(a.seq, b.seq) })
	return out, nil
}

func (f *files) read(name string) (*change, error) {
	if err := f.hit("read", name); err != nil {
		return nil, f.failed("read", name, err)
	}
	file, err := os.Open(filepath.Join(f.path, name))
	if err != nil {
		return nil, f.failed("read", name, err)
	}
	b, err := io.ReadAll(io.LimitReader(file, maxChangeBytes+1))
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, f.failed("read", name, err)
	}
	c, err := decodeChange(b)
	if err != nil {
		return nil, f.failed("read", name, err)
	}
	return c, nil
}

// write makes the change durable under its number. If it fails, the change is
// not there, as far as the system lets us see to that.
func (f *files) write(c *change) error {
	if err := f.poisoned(); err != nil {
		return err
	}
	name := fileOf(c.seq)
	temp := strings.TrimSuffix(name, changeSuffix) + tempSuffix
	err := f.writeTemp(temp, c.encode())
	if err == nil {
		if err = f.hit("rename", name); err == nil {
			err = os.Rename(filepath.Join(f.path, temp), filepath.Join(f.path, name))
		}
		if err == nil {
			if err = f.sync(); err == nil {
				return nil
			}
			temp = name // to be taken back
		}
	}
	return errors.Join(f.failed("write", name, err), f.takeBack(temp))
}

// takeBack removes a file whose change is not acknowledged.
func (f *files) takeBack(name string) error {
	err := os.Remove(filepath.Join(f.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return f.failed("remove", name, err)
}

func (f *files) writeTemp(name string, b []byte) error {
	if err := f.hit("create", name); err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(f.path, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if err = f.hit("write", name); err != nil {
		b = b[:len(b)/2] // as a full disk does it
	}
	_, werr := file.Write(b)
	if err = errors.Join(err, werr); err == nil {
		if err = f.hit("fsync", name); err == nil {
			err = file.Sync()
		}
	}
	return errors.Join(err, file.Close())
}

// remove removes a change that far has, durably.
func (f *files) remove(c *change) error {
	if err := f.poisoned(); err != nil {
		return err
	}
	if err := f.removeFile(fileOf(c.seq)); err != nil {
		return err
	}
	return f.failed("fsync", ".", f.sync())
}

func (f *files) removeFile(name string) error {
	if err := f.hit("remove", name); err != nil {
		return f.failed("remove", name, err)
	}
	if err := os.Remove(filepath.Join(f.path, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f.failed("remove", name, err)
	}
	return nil
}

// sync makes names durable. After it failed once nobody knows which are: the
// kernel may have forgotten what it could not write.
func (f *files) sync() error {
	err := f.hit("fsync", ".")
	if err == nil {
		err = f.dir.Sync()
	}
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.poison = fmt.Errorf("tiered: queue %s: %w: %w", f.path, kvferry.ErrPoisoned, err)
	}
	return err
}

func (f *files) poisoned() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.poison
}

package fsdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
)

// maxUnsynced is how many files and directories may wait for a Flush; a write
// that goes beyond flushes.
const maxUnsynced = 1 << 13

// files are those of an index. One goroutine at a time uses them.
type files struct {
	fs      vfs.FS
	written atomic.Uint64
	temps   uint64
	poison  error

	fresh map[string]struct{} // files that end with .new, by the path without it
	dirty map[string]struct{} // directories that were changed
}

// staged is a file that is written but has no name yet.
type staged struct{ tmp, path string }

// stage writes a file that will be path.
func (f *files) stage(path string, content []byte) (staged, error) {
	f.temps++
	s := staged{tmpName + "/" + strconv.FormatUint(f.temps, 10), path}
	file, err := f.fs.Open(s.tmp, vfs.Create|vfs.Exclusive)
	if err != nil {
		return s, err
	}
	n, err := file.WriteAt(content, 0)
	f.written.Add(uint64(n))
	if err = errors.Join(err, file.Close()); err != nil {
		_ = f.fs.Remove(s.tmp) // the next opening removes it otherwise
	}
	return s, err
}

// drop removes files that will not be published.
func (f *files) drop(all []staged) {
	for _, s := range all {
		_ = f.fs.Remove(s.tmp) // the next opening removes it otherwise
	}
}

// publish gives staged files their names, with .new. If the first cannot have it
// nothing was done. If another cannot, what is there is not what it was, and no
// more is written.
func (f *files) publish(all []staged) error {
	for i, s := range all {
		if err := f.rename(s.tmp, s.path+newSuffix); err != nil {
			f.drop(all[i:])
			if i > 0 {
				f.fail(err)
			}
			return err
		}
		f.fresh[s.path] = struct{}{}
		f.dirty[dirOf(s.path)] = struct{}{}
	}
	return nil
}

// rename makes the directories that a name needs if they are missing.
func (f *files) rename(from, to string) error {
	err := f.fs.Rename(from, to)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f.mkdir(dirOf(to)); err != nil {
		return err
	}
	return f.fs.Rename(from, to)
}

// mkdir makes a directory below the root, and the one above it if it is missing.
func (f *files) mkdir(dir string) error {
	above := dirOf("./" + dir)
	if len(above) > 1 {
		above = above[2:]
	}
	err := f.fs.Mkdir(dir)
	if errors.Is(err, fs.ErrNotExist) && above != "." {
		if err = f.mkdir(above); err == nil {
			err = f.fs.Mkdir(dir)
		}
	}
	if err == nil {
		f.dirty[above] = struct{}{}
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// remove removes the file of a record, and the directories that it leaves empty.
// A failure may leave either of two versions: no more is written.
func (f *files) remove(path string) error {
	for _, p := range [...]string{path, path + newSuffix} {
		if err := f.fs.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			f.fail(err)
			return err
		}
	}
	delete(f.fresh, path)
	dir := dirOf(path)
	f.dirty[dir] = struct{}{}
	for dir != scopesName && f.fs.Remove(dir) == nil { // else it holds others
		delete(f.dirty, dir)
		dir = dirOf(dir)
		f.dirty[dir] = struct{}{}
	}
	return nil
}

// fail stops all writes.
func (f *files) fail(err error) {
	if f.poison == nil {
		f.poison = err
	}
}

// refuse is the error of a write after a failure.
func (f *files) refuse() error {
	if f.poison == nil {
		return nil
	}
	return fmt.Errorf("fsdir: %w: %w", kvferry.ErrPoisoned, f.poison)
}

// full reports whether it is time to flush.
func (f *files) full() bool { return len(f.fresh)+len(f.dirty) > maxUnsynced }

// flush makes everything durable: the files, and with their names the directories.
func (f *files) flush() error {
	paths := slices.Collect(maps.Keys(f.fresh))
	if err := each(paths, f.settle); err != nil {
		f.fail(err)
		return err
	}
	for _, path := range paths {
		f.dirty[dirOf(path)] = struct{}{}
		delete(f.fresh, path)
	}
	if err := each(slices.Collect(maps.Keys(f.dirty)), f.syncDir); err != nil {
		f.fail(err)
		return err
	}
	clear(f.dirty)
	return nil
}

// A flush of more than few files has several of them synchronised at a time: the
// file system writes its journal once for those that wait together.
const (
	few      = 64
	flushers = 32
)

// each calls do for all paths, and returns the first error.
func each(paths []string, do func(path string) error) error {
	if len(paths) <= few {
		for _, path := range paths {
			if err := do(path); err != nil {
				return err
			}
		}
		return nil
	}
	g, ctx := errgroup.WithContext(context.Background())
	var next atomic.Int64
	for range flushers {
		g.Go(func() error {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(paths) {
					return nil
				}
				if err := do(paths[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// syncDir makes a directory durable, if nobody removed it, who may.
func (f *files) syncDir(dir string) error {
	if err := f.fs.SyncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// settle makes a file durable, and gives it its name.
func (f *files) settle(path string) error {
	file, err := f.fs.Open(path+newSuffix, vfs.ReadWrite)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody removed it, who may
	}
	if err != nil {
		return err
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	return f.fs.Rename(path+newSuffix, path)
}

// replace writes a file in the root durably, at once.
func (f *files) replace(name string, content []byte) error {
	s, err := f.stage(name, content)
	if err != nil {
		return err
	}
	file, err := f.fs.Open(s.tmp, vfs.ReadWrite)
	if err == nil {
		err = errors.Join(file.Sync(), file.Close())
	}
	if err == nil {
		err = f.fs.Rename(s.tmp, name)
	}
	if err != nil {
		f.drop([]staged{s})
		return err
	}
	return f.fs.SyncDir(".")
}

// typed says what an error of the file system is.
func typed(op string, err error) error {
	kind := error(nil)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		kind = kvferry.ErrNoSpace
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EACCES):
		kind = kvferry.ErrReadOnly
	}
	if kind == nil {
		return fmt.Errorf("fsdir: %s: %w", op, err)
	}
	return fmt.Errorf("fsdir: %s: %w: %w", op, kind, err)
}

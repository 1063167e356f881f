package vfs

import (
	"context"
	"errors"
)

// WithFaults returns f with a hook that is asked before each operation, with
// the operation's name and the path of the file or directory; for a rename
// that is the new one. If it returns an error the operation fails with it. Half
// of the bytes of a write that fails so are written, of a direct file half of
// the blocks.
//
// The names are open, create, mkdir, unlink, rename, readdir, stat, fsyncdir,
// statfs, and of files read, write, fsync, truncate, allocate, stat, flock,
// watch and close. Lock asks once, however long it waits; Unlock and loading
// a Word do not ask. A close that fails closes nevertheless.
//
// An fsync or fsyncdir that fails on a Disk makes the disk forget what it would
// have made durable, as Linux does: no later one makes up for it.
func WithFaults(f FS, hook func(op, path string) error) FS { return &faulty{FS: f, hook: hook} }

type faulty struct {
	FS
	hook func(op, path string) error
}

func (f *faulty) ask(op, name string) error { return failure(op, name, f.hook(op, name)) }

func (f *faulty) Open(name string, how Mode) (File, error) {
	op := "open"
	if how&Create != 0 {
		op = "create"
	}
	if err := f.ask(op, name); err != nil {
		return nil, err
	}
	file, err := f.FS.Open(name, how)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, fs: f, name: name}, nil
}

func (f *faulty) Mkdir(name string) error {
	if err := f.ask("mkdir", name); err != nil {
		return err
	}
	return f.FS.Mkdir(name)
}

func (f *faulty) Remove(name string) error {
	if err := f.ask("unlink", name); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

func (f *faulty) Rename(from, to string) error {
	if err := f.ask("rename", to); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

func (f *faulty) List(name string) ([]Info, error) {
	if err := f.ask("readdir", name); err != nil {
		return nil, err
	}
	return f.FS.List(name)
}

func (f *faulty) Stat(name string) (Info, error) {
	if err := f.ask("stat", name); err != nil {
		return Info{}, err
	}
	return f.FS.Stat(name)
}

func (f *faulty) SyncDir(name string) error {
	if err := f.ask("fsyncdir", name); err != nil {
		f.dropDir(name)
		return err
	}
	return f.FS.SyncDir(name)
}

// dropDir passes on what a further WithFaults around f tells.
func (f *faulty) dropDir(name string) {
	if u, ok := f.FS.(unsyncedDir); ok {
		u.dropDir(name)
	}
}

func (f *faulty) FreeBytes() (int64, error) {
	if err := f.ask("statfs", "."); err != nil {
		return 0, err
	}
	return f.FS.FreeBytes()
}

type faultyFile struct {
	File
	fs   *faulty
	name string
}

func (f *faultyFile) ask(op string) error { return f.fs.ask(op, f.name) }

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.ask("read"); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	injected := f.ask("write")
	if injected == nil {
		return f.File.WriteAt(p, off)
	}
	half := len(p) / 2
	if f.Direct() {
		half -= half % BlockBytes
	}
	n, err := f.File.WriteAt(p[:half], off)
	return n, errors.Join(injected, err)
}

// unsynced is a file that can be told that its data was not made durable, and
// unsyncedDir a file system that of a directory.
type (
	unsynced    interface{ dropDirty() }
	unsyncedDir interface{ dropDir(name string) }
)

func (f *faultyFile) Sync() error {
	if err := f.ask("fsync"); err != nil {
		if u, ok := f.File.(unsynced); ok {
			u.dropDirty()
		}
		return err
	}
	return f.File.Sync()
}

// dropDirty passes on what a further WithFaults around f tells.
func (f *faultyFile) dropDirty() {
	if u, ok := f.File.(unsynced); ok {
		u.dropDirty()
	}
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.ask("truncate"); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultyFile) Allocate(size int64) error {
	if err := f.ask("allocate"); err != nil {
		return err
	}
	return f.File.Allocate(size)
}

func (f *faultyFile) Stat() (Info, error) {
	if err := f.ask("stat"); err != nil {
		return Info{}, err
	}
	return f.File.Stat()
}

func (f *faultyFile) Lock(ctx context.Context) error {
	if err := f.ask("flock"); err != nil {
		return err
	}
	return f.File.Lock(ctx)
}

func (f *faultyFile) TryLock() (bool, error) {
	if err := f.ask("flock"); err != nil {
		return false, err
	}
	return f.File.TryLock()
}

func (f *faultyFile) Watch(off int64) (*Word, error) {
	if err := f.ask("watch"); err != nil {
		return nil, err
	}
	return f.File.Watch(off)
}

func (f *faultyFile) Close() error {
	return errors.Join(f.ask("close"), f.File.Close())
}

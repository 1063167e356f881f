package lsm

import (
	"bytes"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// watchedFile is an open file of a watchedFS.
type watchedFile struct {
	vfs.File

	fs       *watchedFS
	log, dir bool
	vital    bool      // see watchedFS.opened
	manifest *manifest // nil: it is none
	// behind: a synchronisation of the log was asked for and left undone.
	behind atomic.Bool
}

// did notes the outcome of a write, and returns it unless it is kept from Pebble.
func (f *watchedFile) did(err error) error {
	if f.fs.did(err) != nil && (f.dir || f.vital && f.fs.opened.Load()) {
		return nil
	}
	return err
}

func (f *watchedFile) Write(p []byte) (int, error) {
	err := f.fs.refuse()
	if err == nil {
		var written []byte
		if f.manifest != nil {
			written = bytes.Clone(p) // Pebble lets a file's Write change what it is given
		}
		var n int
		n, err = f.File.Write(p)
		f.fs.written.Add(uint64(n))
		if f.manifest != nil {
			f.manifest.add(written[:n])
		}
	}
	if err = f.did(err); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *watchedFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fs.refuse(); err != nil {
		return 0, err
	}
	n, err := f.File.WriteAt(p, off)
	f.fs.written.Add(uint64(n))
	return n, f.fs.did(err)
}

func (f *watchedFile) Sync() error { return f.sync(f.File.Sync) }

func (f *watchedFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *watchedFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.did(err)
}

func (f *watchedFile) Preallocate(off, length int64) error {
	return f.did(f.File.Preallocate(off, length))
}

// sync synchronises a file, the log only if somebody wants it.
func (f *watchedFile) sync(now func() error) error {
	if f.log && f.fs.durable.Load() == 0 {
		f.behind.Store(true)
		return nil
	}
	err := f.fs.refuse()
	if err == nil {
		f.behind.Store(false)
		err = now()
	}
	if err == nil && f.manifest != nil {
		err = f.fs.manifest.set(f.manifest.numbers())
	}
	return f.did(err)
}

// Close makes a log durable: Pebble begins the next one behind it, and takes what
// is torn for damage everywhere but at the end of the last.
func (f *watchedFile) Close() error {
	var err error
	if f.behind.Load() && f.fs.failed() == nil {
		err = f.did(f.File.SyncData())
	}
	if closed := f.File.Close(); err == nil {
		err = closed
	}
	return f.did(err)
}

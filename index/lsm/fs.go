package lsm

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kvferry/kvferry"
)

// refusalPause is how long those wait who want to make a file after a write
// failed: Pebble tries again at once and for ever.
const refusalPause = 20 * time.Millisecond

// watchedFS is Pebble's file system. It counts what is written, remembers the
// first failure and lets nothing more be written after it, and synchronises the
// log only when somebody wants that.
type watchedFS struct {
	vfs.FS

	written atomic.Uint64
	durable atomic.Int64 // how many want the log synchronised
	reason  atomic.Pointer[error]
	broken  chan struct{} // closed at the first failure

	manifest *mark // what is in Pebble's newest manifest

	stopped chan struct{}
	once    sync.Once
	// opened: Pebble panics, with locks held, when its log cannot be written, or a
	// directory not be synchronised, and when its list of tables cannot be it goes on
	// with numbers of tables that do not fit together. It is told that all is well, of
	// the log and the list from its opening on, and the index that it is not.
	opened atomic.Bool
}

func watch(fs vfs.FS) *watchedFS {
	return &watchedFS{FS: fs, stopped: make(chan struct{}), broken: make(chan struct{})}
}

// fail remembers the first failure of a write.
func (w *watchedFS) fail(err error) {
	if err != nil && w.reason.CompareAndSwap(nil, &err) {
		close(w.broken)
	}
}

// failed returns it, or nil.
func (w *watchedFS) failed() error {
	if err := w.reason.Load(); err != nil {
		return *err
	}
	return nil
}

// did notes the outcome of a write and returns it.
func (w *watchedFS) did(err error) error {
	w.fail(err)
	return err
}

// refuse is the error of a write after a failure.
func (w *watchedFS) refuse() error {
	if err := w.failed(); err != nil {
		return fmt.Errorf("%w: %w", kvferry.ErrPoisoned, err)
	}
	return nil
}

// linger returns err after a while.
func (w *watchedFS) linger(err error) error {
	t := time.NewTimer(refusalPause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.stopped:
	}
	return err
}

// stop ends all waiting.
func (w *watchedFS) stop() { w.once.Do(func() { close(w.stopped) }) }

// file returns f, watched.
func (w *watchedFS) file(name string, f vfs.File, err error) (vfs.File, error) {
	if w.did(err) != nil && w.pretend(name) {
		f, err = vfs.NewMem().Create("log", vfs.WriteCategoryUnspecified) // nobody reads it
	}
	if err != nil {
		return nil, err
	}
	file := &watchedFile{File: f, fs: w, log: isLog(name), dir: name == "", vital: w.isVital(name)}
	if number, ok := manifestNumber(w.PathBase(name)); ok {
		file.manifest = &manifest{number: number}
	}
	return file, nil
}

// pretend reports whether a failure to write a file is kept from Pebble.
func (w *watchedFS) pretend(name string) bool { return w.isVital(name) && w.opened.Load() }

// isVital reports whether a file is a log, a list of tables, or the name of the
// newest list.
func (w *watchedFS) isVital(name string) bool {
	base := w.PathBase(name)
	return isLog(name) || strings.HasPrefix(base, manifestPrefix) || strings.HasPrefix(base, markerPrefix)
}

// markerPrefix begins the names of empty files that have a name of another at the
// end of theirs.
const markerPrefix = "marker."

func isLog(name string) bool { return strings.HasSuffix(name, ".log") }

func (w *watchedFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	err := w.refuse()
	if err != nil && !w.pretend(name) {
		return nil, w.linger(err)
	}
	var f vfs.File
	if err == nil {
		f, err = w.FS.Create(name, c)
	}
	return w.file(name, f, err)
}

func (w *watchedFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (f vfs.File, err error) {
	if err = w.refuse(); err == nil {
		f, err = w.FS.ReuseForWrite(from, to, c)
	}
	return w.file(to, f, err)
}

func (w *watchedFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	if err := w.refuse(); err != nil {
		return nil, err
	}
	f, err := w.FS.OpenReadWrite(name, c, o...)
	return w.file(name, f, err)
}

func (w *watchedFS) OpenDir(name string) (vfs.File, error) {
	f, err := w.FS.OpenDir(name)
	return w.file("", f, err)
}

func (w *watchedFS) Rename(from, to string) error {
	if err := w.refuse(); err != nil {
		return err
	}
	return w.did(w.FS.Rename(from, to))
}

func (w *watchedFS) Link(from, to string) error {
	if err := w.refuse(); err != nil {
		return err
	}
	return w.did(w.FS.Link(from, to))
}

// Remove and RemoveAll let nothing go after a failure: what would replace it may
// not be there.
func (w *watchedFS) Remove(name string) error {
	if err := w.refuse(); err != nil {
		return err
	}
	return w.FS.Remove(name)
}

func (w *watchedFS) RemoveAll(name string) error {
	if err := w.refuse(); err != nil {
		return err
	}
	return w.FS.RemoveAll(name)
}

// Unwrap implements vfs.FS.
func (w *watchedFS) Unwrap() vfs.FS { return w.FS }

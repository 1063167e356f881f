//go:build unix

package dir

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// Options say how a store is opened. The zero value opens a store for reading
// and writing and creates it where there is none.
type Options struct {
	// ReadOnly opens an existing store without creating, changing or locking
	// anything; every write is ErrReadOnly.
	ReadOnly bool
	// MustExist makes a directory that is missing, or no store, ErrNotFound
	// instead of a new store.
	MustExist bool
	// QuotaBytes bounds the bytes of the blobs as stored; 0 means no bound.
	// The blobs are counted when a session begins, so that what other
	// processes store while it runs is not seen.
	QuotaBytes int64
	// Clock tells the time for leases and ages; nil means time.Now.
	Clock func() time.Time
	// DropUnlisted lets a collection delete page and image manifests that
	// neither a snapshot nor an image marker refers to. By default they are
	// kept, because ProcessFork lists its captures nowhere else.
	DropUnlisted bool
	// Fault, if not nil, is asked before every operation on files with its
	// name and its path below the root, and makes it fail by returning an
	// error. Half of the bytes of a failed write are written. It is for tests
	// and must be safe for concurrent use.
	Fault func(op, path string) error
}

// Store is a store in a directory. It implements cas.Store and the optional
// abilities to enumerate, quarantine, describe, check and collect.
type Store struct {
	fs      files
	o       Options
	id      string // names the temporary files that belong to no session
	clock   func() time.Time
	group   int // more files or directories than this are synchronised as a whole; < 0: never
	workers int // files that are synchronised at a time
	temps   atomic.Int64
	gate    *gate // nil if read-only
	// patience is how long a collector waits for the gate.
	patience time.Duration
	tools    sync.Pool
	pending  pendingTable
	shards   [digest.SHA256 + 1][shards]atomic.Bool // directories known to be there
	device   uint64                                 // of the root
	above    atomic.Bool                            // the directories above the shards are durable
	quota    quota

	mu       sync.Mutex
	closed   bool
	running  int           // operations
	idle     chan struct{} // closed when closed and running is 0
	sessions map[*session]struct{}
}

var (
	_ cas.Store       = (*Store)(nil)
	_ cas.Collector   = (*Store)(nil)
	_ cas.Checker     = (*Store)(nil)
	_ cas.Enumerator  = (*Store)(nil)
	_ cas.Quarantiner = (*Store)(nil)
	_ cas.Stater      = (*Store)(nil)
)

// syncTogether is the number of files, or directories, above which one
// synchronisation of the file system is cheaper than one of each.
const syncTogether = 16

// Open opens the store in the directory path, which may be a symbolic link;
// below it no link is ever followed. A directory that is no store is made one
// unless the options say otherwise (else ErrNotFound). A store of a newer
// format is ErrUnsupported, and one whose format cannot be read ErrCorrupt.
func Open(path string, o Options) (*Store, error) {
	if o.QuotaBytes < 0 {
		return nil, fmt.Errorf("dir: quota of %d bytes: %w", o.QuotaBytes, kvferry.ErrInvalid)
	}
	s := &Store{o: o, id: newID(), clock: o.Clock, group: syncTogether, workers: syncWorkers, patience: gatePatience, idle: make(chan struct{}), sessions: map[*session]struct{}{}}
	if s.clock == nil {
		s.clock = time.Now
	}
	s.pending.init()
	s.fs = files{fd: -1, root: path, fault: o.Fault}
	if err := s.open(path); err != nil {
		if s.fs.fd >= 0 {
			_ = unix.Close(s.fs.fd) // nothing was written through it
		}
		return nil, err
	}
	return s, nil
}

func (s *Store) open(path string) error {
	if !s.o.ReadOnly && !s.o.MustExist {
		if err := s.makeRoot(path); err != nil {
			return s.asReadOnly(unwritten("create", path, err))
		}
	}
	if err := s.fs.hit("open", "."); err != nil {
		return failed("open", path, err)
	}
	fd, err := uninterrupted(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if missing(err) || errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("dir: %s is no directory: %w", path, kvferry.ErrNotFound)
	}
	if err != nil {
		return failed("open", path, err)
	}
	s.fs.fd = fd
	if err := s.knowDevice(); err != nil {
		return err
	}
	v, marked, err := s.readVersion()
	if errors.Is(err, kvferry.ErrNotFound) && !s.o.ReadOnly && !s.o.MustExist {
		err = nil
	}
	if err != nil {
		return err
	}
	if s.o.ReadOnly {
		return nil
	}
	if err := s.prepare(v, marked); err != nil {
		return err
	}
	return s.openGate()
}

// makeRoot makes the directory path and those above it, durably.
func (s *Store) makeRoot(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	var made []string // from path upwards
	for at := path; ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil {
			break
		} else if !errors.Is(err, os.ErrNotExist) || at == filepath.Dir(at) {
			return err
		}
		made = append(made, at)
	}
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	for _, at := range made {
		if err := s.syncAbove(filepath.Dir(at)); err != nil {
			return err
		}
	}
	return nil
}

// syncAbove makes the entries of a directory durable that lies above the store.
func (s *Store) syncAbove(path string) error {
	if err := s.fs.hit("fsync", path); err != nil {
		return err
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// openGate makes all lock files, so that a collection needs no room later.
func (s *Store) openGate() error {
	fds := map[string]int{}
	for _, rel := range []string{turnLock, gateLock, collectLock, catalogLock} {
		fd, err := s.fs.openLock(rel)
		if err != nil {
			for _, fd := range fds {
				_ = unix.Close(fd) // nothing was written to it
			}
			return err
		}
		fds[rel] = fd
	}
	_ = unix.Close(fds[collectLock])
	_ = unix.Close(fds[catalogLock])
	s.gate = &gate{fs: &s.fs, turn: fds[turnLock], main: fds[gateLock]}
	return nil
}

// knowDevice learns whether many files can be synchronised together.
func (s *Store) knowDevice() error {
	var st unix.Stat_t
	if err := unix.Fstat(s.fs.fd, &st); err != nil {
		return failed("stat", s.fs.root, err)
	}
	s.device = uint64(st.Dev) //nolint:unconvert // its type differs between systems
	if !syncWholeReports() || !syncWholeKnown(s.fs.fd) {
		s.group = -1
	}
	return nil
}

// start begins an operation that stop ends. The store's descriptors stay open
// until then.
func (s *Store) start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("dir: store %s: %w", s.fs.root, kvferry.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.running++
	return nil
}

// startWrite is start for operations that change the store.
func (s *Store) startWrite(ctx context.Context, op string) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	if s.o.ReadOnly {
		s.stop()
		return fmt.Errorf("dir: %s in %s: %w", op, s.fs.root, kvferry.ErrReadOnly)
	}
	return nil
}

func (s *Store) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if s.closed && s.running == 0 {
		close(s.idle)
	}
}

func (s *Store) openSessions() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.sessions))
}

// Catalog implements cas.Store.
func (s *Store) Catalog() cas.Catalog { return catalog{s} }

// Close implements cas.Store. It waits for the calls that are running. A
// second Close is ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fmt.Errorf("dir: close %s: %w", s.fs.root, kvferry.ErrClosed)
	}
	s.closed = true
	if s.running == 0 {
		close(s.idle)
	}
	s.mu.Unlock()

	<-s.idle
	var errs []error
	for _, x := range s.openSessions() {
		errs = append(errs, x.end())
	}
	if s.gate != nil {
		s.gate.close()
	}
	return errors.Join(append(errs, unix.Close(s.fs.fd))...)
}

//go:build unix

package dir

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
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
	if !syncWholeReports() {
		s.group = -1
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
		if err := os.MkdirAll(path, 0o777); err != nil {
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

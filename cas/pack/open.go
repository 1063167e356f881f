package pack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/journal"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/internal/vfs"
)

// Open opens the store in the directory path, which may be a symbolic link;
// below it no link is ever followed. A directory that is no store is made one,
// if nothing but foreign files is in it and the options allow it (else
// ErrNotFound). After a crash it is made whole first, without help. A store of
// a newer version is ErrUnsupported, one of another kind ErrInvalid, and one
// whose log or index is damaged ErrCorrupt unless it is opened for reading or
// repair.
func Open(path string, o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.ensureDefaults()
	s := &Store{o: o, root: path, fs: o.fs, idle: make(chan struct{}), sessions: map[uint64]*session{}}
	s.started = o.Clock()
	s.streams.s = s
	s.keeper = &session{s: s, class: cas.Cache}
	for c := range s.pending {
		s.pending[c].init()
	}
	if s.fs == nil {
		if err := s.openRoot(path); err != nil {
			return nil, err
		}
	}
	if err := s.open(context.Background()); err != nil {
		return nil, errors.Join(err, s.shut())
	}
	return s, nil
}

func (s *Store) openRoot(path string) error {
	if !s.o.ReadOnly && !s.o.MustExist {
		if err := vfs.OSMake(path); err != nil && !odd(err) {
			return unwritten("create", path, err)
		}
	}
	root, err := vfs.OS(path)
	if missing(err) {
		return fmt.Errorf("pack: %s is no directory: %w", path, kvferry.ErrNotFound)
	}
	if odd(err) {
		return fmt.Errorf("pack: %s is no directory (%w): %w", path, err, kvferry.ErrInvalid)
	}
	if err != nil {
		return failed("open", path, err)
	}
	s.fs = root
	return nil
}

func (s *Store) open(ctx context.Context) error {
	if err := s.identify(); err != nil {
		return err
	}
	before, err := s.scanDue()
	if err != nil {
		return err
	}
	s.reader = packfile.NewReader(packfile.ReaderOptions{FS: s.fs, Direct: !s.o.Buffered})
	j, err := journal.Open(ctx, journal.Options{FS: s.fs, StoreID: s.id, ReadOnly: s.o.ReadOnly, Repair: s.o.Repair, MustExist: true, Verify: s.verify, Damaged: s.demandScan})
	if err != nil {
		return s.asReadOnly(s.advised(failed("open the log of", s.root, err)))
	}
	s.journal = j
	if err := s.load(ctx, func(context.Context) (uint64, error) { return j.Base(), nil }); err != nil {
		return s.advised(err)
	}
	s.current.Store(s.target)
	if err := s.judge(before); err != nil || s.o.ReadOnly {
		return err
	}
	s.commits = startCommitter(s)
	dead, err := s.deadStreams()
	if err != nil || len(dead) == 0 {
		return err
	}
	_, err = s.tidy(ctx, false)
	return err
}

// judge decides whether the store can be used with the damage that was found.
// Another repair may have been due before.
func (s *Store) judge(before bool) error {
	due, err := s.scanDue()
	if err != nil {
		return err
	}
	if due && (before || !s.o.Repair) {
		s.damage.hole(fmt.Errorf("pack: %s: a repair has not ended: run check --repair: %w", s.root, kvferry.ErrCorrupt))
	}
	damage, holes := s.damage.all(s.journal)
	switch {
	case s.o.ReadOnly || len(damage) == 0:
		return nil
	case !s.o.Repair:
		return s.advised(errors.Join(damage...))
	case len(holes) > 0:
		return s.demandScan()
	}
	return nil
}

// advised tells what can be done about damage.
func (s *Store) advised(err error) error {
	if !errors.Is(err, kvferry.ErrCorrupt) || strings.Contains(err.Error(), "check --repair") {
		return err
	}
	return fmt.Errorf("pack: %s is damaged: run check, and check --repair: %w", s.root, err)
}

// asReadOnly tells who cannot write that reading may work.
func (s *Store) asReadOnly(err error) error {
	if errors.Is(err, kvferry.ErrReadOnly) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%w: it can be opened for reading only", unwritten("open", s.root, err))
	}
	return err
}

func (s *Store) makeDirs() error {
	made := false
	for _, dir := range []string{packsDir, streamsDir, indexDir, logDir} {
		switch err := s.fs.Mkdir(dir); {
		case err == nil:
			made = true
		case !errors.Is(err, fs.ErrExist):
			if _, serr := s.fs.Stat(dir); serr == nil { // there, on a file system that refuses before it looks
				continue
			}
			return unwritten("create", dir, err)
		}
	}
	if !made {
		return nil
	}
	return unwritten("sync", ".", s.fs.SyncDir("."))
}

// create makes a new store. The marker comes last: until then there is none.
// Of two processes that do so at once, one wins.
func (s *Store) create() error {
	if err := s.refuseOthers(); err != nil {
		return err
	}
	for i := range s.id {
		s.id[i] = byte(randomID() >> 8)
	}
	draft, err := s.draftMarker()
	if err == nil {
		err = s.install(draft)
	}
	if err != nil {
		_ = s.fs.Remove(draft) // the first error counts
		return unwritten("write", markerName, err)
	}
	return nil
}

// install gives the marker its name, unless another process was faster.
func (s *Store) install(draft string) error {
	if err := s.makeDirs(); err != nil {
		return err
	}
	lock, err := s.fs.Open(makingName, vfs.Create)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // nothing was written to it; closing unlocks
	if err := lock.Lock(context.Background()); err != nil {
		return err
	}
	m, err := s.readMarker()
	switch {
	case err == nil:
		if err := s.fs.Remove(draft); err != nil && !missing(err) { // a collection may have been faster
			return err
		}
		return s.accept(m)
	case !missing(err):
		return err
	}
	if err := s.clearLogs(); err != nil {
		return err
	}
	if err := journal.Create(context.Background(), s.fs, s.id); err != nil {
		return err
	}
	if err := s.fs.Rename(draft, markerName); err != nil {
		return err
	}
	if err := s.fs.SyncDir("."); err != nil {
		return err
	}
	if err := s.fs.Remove(makingName); err != nil && !missing(err) {
		return err
	}
	return nil
}

// refuseOthers keeps from making a store in the directory of a store of
// another kind.
func (s *Store) refuseOthers() error {
	list, err := s.fs.List(".")
	if err != nil {
		return failed("list", s.root, err)
	}
	for _, e := range list {
		if e.Name == "blobs" && e.Dir {
			return fmt.Errorf("pack: %s holds a store of files (dir:): %w", s.root, kvferry.ErrInvalid)
		}
	}
	return nil
}

// clearLogs removes what a process left that died while it made the store. It
// had no id that anybody knows yet, and no packs.
func (s *Store) clearLogs() error {
	logs, err := s.fs.List(logDir)
	if err != nil {
		return err
	}
	for _, e := range logs {
		if n := strings.TrimSuffix(strings.TrimSuffix(e.Name, ".log"), ".new"); n != e.Name && hexName(n) && e.Regular {
			if err := s.fs.Remove(logDir + "/" + e.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

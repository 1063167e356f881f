package pack

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/journal"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/internal/vfs"
)

// marker is the content of kvferry.json.
type marker struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	ID      string `json:"id"`
}

const (
	markerFormat  = "kvferry-pack"
	markerVersion = 1
	markerMax     = 4096
	draftPrefix   = "." + markerName + "." // of a marker that is being made; 16 hex follow
	makingName    = logDir + "/create"     // locked by who makes the store
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
		if err := vfs.OSMake(path); err != nil {
			return unwritten("create", path, err)
		}
	}
	root, err := vfs.OS(path)
	if missing(err) {
		return fmt.Errorf("pack: %s is no directory: %w", path, kvferry.ErrNotFound)
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
	s.reader = packfile.NewReader(packfile.ReaderOptions{FS: s.fs, Direct: !s.o.Buffered})
	j, err := journal.Open(ctx, journal.Options{FS: s.fs, StoreID: s.id, ReadOnly: s.o.ReadOnly, Repair: s.o.Repair, Verify: s.verify})
	if err != nil {
		return s.asReadOnly(failed("open the log of", s.root, err))
	}
	s.journal = j
	if err := s.load(ctx, func(context.Context) (uint64, error) { return j.Base(), nil }); err != nil {
		return err
	}
	s.current.Store(s.target)
	s.damage = append(s.damage, j.Damage()...)
	if s.o.ReadOnly {
		return nil
	}
	if len(s.damage) > 0 && !s.o.Repair {
		return fmt.Errorf("pack: %s is damaged: run check, and check --repair: %w", s.root, errors.Join(s.damage...))
	}
	s.commits = startCommitter(s)
	dead, err := s.deadStreams()
	if err != nil || len(dead) == 0 {
		return err
	}
	_, err = s.tidy(ctx, false)
	return err
}

// asReadOnly tells who cannot write that reading may work.
func (s *Store) asReadOnly(err error) error {
	if errors.Is(err, kvferry.ErrReadOnly) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: it can be opened for reading only", unwritten("open", s.root, err))
	}
	return err
}

// identify reads the marker, or makes the store.
func (s *Store) identify() error {
	m, err := s.readMarker()
	if missing(err) && !s.o.ReadOnly && !s.o.MustExist {
		return s.create()
	}
	if missing(err) {
		return fmt.Errorf("pack: %s is no store: %w", s.root, kvferry.ErrNotFound)
	}
	if err != nil {
		return err
	}
	return s.accept(m)
}

func (s *Store) readMarker() (marker, error) {
	var m marker
	f, err := s.fs.Open(markerName, vfs.ReadOnly)
	if err != nil {
		return m, failed("open", markerName, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	buf := make([]byte, markerMax)
	n, err := f.ReadAt(buf, 0)
	if err != nil && !endOfFile(err) {
		return m, failed("read", markerName, err)
	}
	if err := json.Unmarshal(buf[:n], &m); err != nil {
		return m, fmt.Errorf("pack: %s/%s cannot be read (%w): %w", s.root, markerName, err, kvferry.ErrCorrupt)
	}
	return m, nil
}

func (s *Store) accept(m marker) error {
	id, err := hex.DecodeString(m.ID)
	switch {
	case m.Format != markerFormat:
		return fmt.Errorf("pack: %s is a store of the format %.40q: %w", s.root, m.Format, kvferry.ErrInvalid)
	case m.Version > markerVersion:
		return fmt.Errorf("pack: %s is of version %d, this build knows %d: update kvferry: %w", s.root, m.Version, markerVersion, kvferry.ErrUnsupported)
	case m.Version < 1 || err != nil || len(id) != len(s.id):
		return fmt.Errorf("pack: %s/%s is damaged: %w", s.root, markerName, kvferry.ErrCorrupt)
	}
	s.id = [16]byte(id)
	if s.o.ReadOnly {
		return nil
	}
	return s.makeDirs()
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
	text, err := json.MarshalIndent(marker{markerFormat, markerVersion, hex.EncodeToString(s.id[:])}, "", "\t")
	if err != nil {
		return err
	}
	draft := fmt.Sprintf("%s%016x", draftPrefix, randomID())
	f, err := s.fs.Open(draft, vfs.Create|vfs.Exclusive)
	if err != nil {
		return unwritten("create", markerName, err)
	}
	_, err = f.WriteAt(append(text, '\n'), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
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
// another kind, or of what is left of one without its marker.
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
	logs, err := s.fs.List(logDir)
	if err != nil && !missing(err) {
		return failed("list", logDir, err)
	}
	for _, e := range logs {
		if strings.HasSuffix(e.Name, ".log") {
			if packs, err := s.fs.List(packsDir); err == nil && len(packs) > 0 {
				return fmt.Errorf("pack: %s has packs but lost %s: put it back, or move the rest away: %w", s.root, markerName, kvferry.ErrCorrupt)
			}
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
		if strings.HasSuffix(e.Name, ".log") || strings.HasSuffix(e.Name, ".new") {
			if err := s.fs.Remove(logDir + "/" + e.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

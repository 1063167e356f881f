package pack

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/kvferry/kvferry"
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

// identify reads the marker, or makes the store.
func (s *Store) identify() error {
	m, err := s.readMarker()
	if missing(err) {
		parts, perr := s.parts()
		if perr != nil {
			return perr
		}
		if parts > 0 { // or another process made the store just now
			m, err = s.readMarker()
		}
		switch {
		case !missing(err):
		case parts > 0:
			err = fmt.Errorf("pack: %s lost %s: put it back, or run check --repair, which takes the store's id from its %d other files: %w",
				s.root, markerName, parts, kvferry.ErrCorrupt)
		case s.o.ReadOnly || s.o.MustExist:
			return fmt.Errorf("pack: %s is no store: %w", s.root, kvferry.ErrNotFound)
		default:
			return s.create()
		}
	}
	if err == nil {
		err = s.accept(m)
	}
	if s.lenient() && (err == nil || errors.Is(err, kvferry.ErrCorrupt)) {
		err = s.recognise(err)
	}
	if err != nil || s.o.ReadOnly {
		return err
	}
	return s.makeDirs()
}

// lenient reports whether the store is opened with what can be read of it.
func (s *Store) lenient() bool { return s.o.ReadOnly || s.o.Repair }

func (s *Store) readMarker() (marker, error) {
	var m marker
	f, err := s.fs.Open(markerName, vfs.ReadOnly)
	if odd(err) {
		return m, fmt.Errorf("pack: %s/%s is no regular file (%w): put the one that was there back: %w", s.root, markerName, err, kvferry.ErrInvalid)
	}
	if err != nil {
		return m, failed("open", markerName, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	buf := make([]byte, markerMax)
	n, err := f.ReadAt(buf, 0)
	if err != nil && !endOfFile(err) {
		return m, failed("read", markerName, err)
	}
	return parseMarker(s.root, buf[:n])
}

func parseMarker(root string, text []byte) (m marker, err error) {
	if err := json.Unmarshal(text, &m); err != nil {
		return marker{}, badMarker(root, err)
	}
	return m, nil
}

// badMarker says what to do about a marker that cannot be read.
func badMarker(root string, err error) error {
	return fmt.Errorf("pack: %s/%s is damaged (%w): run check --repair, which takes the store's id from its other files: %w", root, markerName, err, kvferry.ErrCorrupt)
}

func (s *Store) accept(m marker) error {
	id, err := hex.DecodeString(m.ID)
	switch {
	case m.Format != markerFormat:
		return fmt.Errorf("pack: %s is a store of the format %.40q: %w", s.root, m.Format, kvferry.ErrInvalid)
	case m.Version > markerVersion:
		return fmt.Errorf("pack: %s is of version %d, this build knows %d: update kvferry: %w", s.root, m.Version, markerVersion, kvferry.ErrUnsupported)
	case m.Version < 1 || err != nil || len(id) != len(s.id):
		return badMarker(s.root, errors.Join(err, fmt.Errorf("version %d, id %.40q", m.Version, m.ID)))
	}
	s.id = [16]byte(id)
	return nil
}

// parts counts the files that only a store that was used has.
func (s *Store) parts() (n int, err error) {
	for _, p := range []struct{ dir, suffix string }{{packsDir, ".pack"}, {indexDir, ".idx"}} {
		list, err := s.fs.List(p.dir)
		if err != nil && !missing(err) {
			return 0, failed("list", p.dir, err)
		}
		for _, e := range list {
			if digits, ok := strings.CutSuffix(e.Name, p.suffix); ok && hexName(digits) && e.Regular {
				n++
			}
		}
	}
	return n, nil
}

// draftMarker writes a marker under a temporary name.
func (s *Store) draftMarker() (draft string, err error) {
	text, err := json.MarshalIndent(marker{markerFormat, markerVersion, hex.EncodeToString(s.id[:])}, "", "\t")
	if err != nil {
		return "", err
	}
	draft = fmt.Sprintf("%s%016x", draftPrefix, randomID())
	f, err := s.fs.Open(draft, vfs.Create|vfs.Exclusive)
	if err != nil {
		return draft, unwritten("create", markerName, err)
	}
	_, err = f.WriteAt(append(text, '\n'), 0)
	if err == nil {
		err = f.Sync()
	}
	return draft, unwritten("write", markerName, errors.Join(err, f.Close()))
}

// recognise holds the marker against the other files, each of which has the
// store's id under a checksum, as the marker has not. What is wrong with the
// marker is err, if that is known already.
func (s *Store) recognise(err error) error {
	logs, lerr := journal.StoreIDs(s.fs)
	if lerr != nil {
		return lerr
	}
	if err == nil && (len(logs) == 0 || logs[len(logs)-1] == s.id) {
		return nil
	}
	id, verr := s.vote(logs)
	switch {
	case verr != nil:
		return errors.Join(err, verr)
	case err == nil && id == s.id: // it is the log that is not of this store
		return nil
	case err == nil:
		err = badMarker(s.root, fmt.Errorf("its id is %x, that of the other files %x", s.id, id))
	}
	if s.o.ReadOnly {
		return err
	}
	s.id = id
	s.damage.note(err)
	draft, err := s.draftMarker()
	if err == nil {
		err = unwritten("rename", markerName, s.fs.Rename(draft, markerName))
	}
	if err != nil {
		_ = s.fs.Remove(draft) // the first error counts
		return err
	}
	return unwritten("sync", ".", s.fs.SyncDir("."))
}

// voters is how many packs are asked for the store's id.
const voters = 64

// vote returns the id that most files have.
func (s *Store) vote(logs [][16]byte) ([16]byte, error) {
	votes := map[[16]byte]int{}
	for _, id := range logs {
		votes[id]++
	}
	list, err := s.fs.List(packsDir)
	if err != nil && !missing(err) {
		return s.id, failed("list", packsDir, err)
	}
	for _, e := range list[:min(len(list), voters)] {
		if id, ok := packfile.ParseName(e.Name); ok && e.Regular {
			if h, err := s.packHeader(packfile.Path(id)); err == nil {
				votes[h.Store]++
			}
		}
	}
	var best [16]byte
	most := 0
	for id, n := range votes {
		if n > most {
			best, most = id, n
		}
	}
	for id, n := range votes {
		if n == most && id != best {
			return s.id, fmt.Errorf("pack: %s has files of several stores: %w", s.root, kvferry.ErrCorrupt)
		}
	}
	if most == 0 {
		return s.id, fmt.Errorf("pack: %s has no file that tells the store's id: %w", s.root, kvferry.ErrCorrupt)
	}
	return best, nil
}

// packHeader reads the header of a pack without the reader, which is not there
// while the store is being recognised.
func (s *Store) packHeader(path string) (packfile.Header, error) {
	f, err := s.fs.Open(path, vfs.ReadOnly)
	if err != nil {
		return packfile.Header{}, failed("open", path, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	var head [vfs.BlockBytes]byte
	if n, err := f.ReadAt(head[:], 0); n < len(head) {
		return packfile.Header{}, failed("read", path, errors.Join(err, kvferry.ErrCorrupt))
	}
	return packfile.ParseHeader(head[:])
}

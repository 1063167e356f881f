//go:build unix

package dir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

const (
	formatName    = "kvferry-dir"
	formatVersion = 1
	versionMax    = 4096 // bytes of kvferry.json

	originOurs    = "kvferry"
	originForeign = "processfork"
)

// version is the content of kvferry.json, in this order, indented by one tab,
// with a newline at the end.
type version struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Origin  string `json:"origin"`
}

func (v version) encode() []byte {
	b, _ := json.MarshalIndent(v, "", "\t") // of strings and a number: cannot fail
	return append(b, '\n')
}

// parseVersion reads kvferry.json. A newer version is ErrUnsupported, and
// anything that we would not have written ErrCorrupt.
func parseVersion(b []byte) (version, error) {
	var v version
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("dir: %s: %w: %w", versionFile, kvferry.ErrCorrupt, err)
	}
	if v.Format == formatName && v.Version > formatVersion {
		return v, fmt.Errorf("dir: %s: format version %d is newer than %d: %w", versionFile, v.Version, formatVersion, kvferry.ErrUnsupported)
	}
	known := v.Format == formatName && v.Version == formatVersion && (v.Origin == originOurs || v.Origin == originForeign)
	if !known || !bytes.Equal(b, v.encode()) {
		return v, fmt.Errorf("dir: %s is not of this store: %w", versionFile, kvferry.ErrCorrupt)
	}
	return v, nil
}

// readVersion returns the content of kvferry.json. Without one, the origin is
// ProcessFork if there are shards of its blobs, and ErrNotFound is returned if
// there is no directory of blobs at all.
func (s *Store) readVersion() (v version, marked bool, err error) {
	b, err := s.fs.readSmall(versionFile, versionMax)
	if err == nil {
		v, err = parseVersion(b)
		return v, true, err
	}
	if !errors.Is(err, kvferry.ErrNotFound) {
		return v, false, err
	}
	v = version{formatName, formatVersion, originOurs}
	entries, err := s.fs.list(algDir(digest.SHA256))
	switch {
	case missing(err):
		return v, false, fmt.Errorf("dir: %s is no store: %w", s.fs.root, kvferry.ErrNotFound)
	case misplaced(err):
		return v, false, fmt.Errorf("dir: %s is no directory: %w", algDir(digest.SHA256), kvferry.ErrCorrupt)
	case err != nil:
		return v, false, failed("read", algDir(digest.SHA256), err)
	}
	for _, e := range entries {
		if len(e.Name()) == 2 {
			v.Origin = originForeign
		}
	}
	return v, false, nil
}

// prepare makes the directories and kvferry.json, all of which may be there.
func (s *Store) prepare(v version, marked bool) error {
	dirs := []string{blobsDir, snapshotsDir, namesDir, sessionsDir, quarantineDir, droppedDir, locksDir}
	for a := digest.BLAKE3; a.Valid(); a++ {
		dirs = append(dirs, algDir(a))
	}
	made := false
	for _, d := range dirs {
		err := s.fs.mkdir(d)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return s.asReadOnly(unwritten("create", d, err))
		}
		made = made || err == nil
	}
	if made {
		for _, d := range []string{blobsDir, "."} {
			if err := s.fs.syncPath(d); err != nil {
				return unwritten("sync", d, err)
			}
		}
	}
	if marked {
		return nil
	}
	return s.publish(versionFile, v.encode())
}

// asReadOnly tells the operator of a store that cannot be written how to open
// it.
func (s *Store) asReadOnly(err error) error {
	if errors.Is(err, kvferry.ErrReadOnly) {
		return fmt.Errorf("dir: %s can only be opened read-only: %w", s.fs.root, err)
	}
	return err
}

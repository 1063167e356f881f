package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
	"github.com/kvferry/kvferry/pipelinecache"
)

// Entry is what has a name in the directory.
type Entry struct {
	Name string
	// Kind is what the name says, Foreign if it names no regular file.
	Kind Kind
	// Fingerprint is what the name says; it is zero if Kind is Foreign.
	Fingerprint pipelinecache.Fingerprint
	// Bytes is the length of the file.
	Bytes int64
	// Modified is when it was written, Used when it was last written or read.
	// How precise the second is depends on the file system.
	Modified, Used time.Time

	info vfs.Info
}

// List returns what is in the directory, by name.
func (s *Store) List(ctx context.Context) ([]Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("disk: list: %w", err)
	}
	all, err := s.fs.List(".")
	if err != nil {
		return nil, typed("list", err)
	}
	entries := make([]Entry, 0, len(all))
	for _, i := range all {
		e := Entry{Name: i.Name, Bytes: i.Size, Modified: i.Modified, Used: s.lastUsed(i), info: i}
		if i.Regular {
			e.Kind, e.Fingerprint = parseName(i.Name)
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}

// State is what a file turned out to be.
type State uint8

const (
	// Unread is what needs no look: temporary files, those set aside, foreign
	// ones.
	Unread State = iota
	// Sound is a frame that can be used.
	Sound
	// Unversioned is a sound file of vyre-runtime 0.6.
	Unversioned
	// OtherSchema is a frame of a schema that this build does not know. If it
	// is a newer one, its hash was not held against it.
	OtherSchema
	// Corrupt is a file whose length, magic or hash is wrong.
	Corrupt
	// Unreadable is a file that could not be read; it may be sound.
	Unreadable
	// Gone is a file that was removed after it was listed.
	Gone
)

// String returns a word or two.
func (s State) String() string {
	return [...]string{"unread", "sound", "unversioned", "other schema", "corrupt", "unreadable", "gone"}[min(s, Gone)]
}

// Finding is what Verify says of an entry.
type Finding struct {
	Entry
	State State
	// Err is what is wrong; nil for what is sound, unversioned or unread.
	Err error
}

// Verify reads every artifact in the directory, whatever the options, and
// changes nothing, nor the order in which they were used. It visits all entries
// by name, until visit fails.
func (s *Store) Verify(ctx context.Context, visit func(Finding) error) error {
	entries, err := s.List(ctx)
	if err != nil {
		return err
	}
	var buf []byte // used again for each file
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("disk: verify: %w", err)
		}
		f := Finding{Entry: e}
		if e.Kind == Artifact {
			f.State, f.Err = s.examine(&f.Entry, &buf)
			if s.times.used(e.Name).After(e.Used) {
				s.times.setUsed(e.Name, e.Used) // looking at it is no use of it
			}
		}
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

// examine reads a file, into buf if that is long enough, and notes which it was.
func (s *Store) examine(e *Entry, buf *[]byte) (State, error) {
	file, err := s.fetch(e, *buf)
	if err != nil {
		return stateOf(err, nil), typed("verify "+e.Name, err)
	}
	*buf = file
	if !pipelinecache.HasMagic(file) {
		if _, err = pipelinecache.ParseLegacy(file); err == nil {
			return Unversioned, nil
		}
	} else if _, err = pipelinecache.ParseFrame(file); err == nil {
		return Sound, nil
	}
	return stateOf(err, file), typed("verify "+e.Name, err)
}

func (s *Store) fetch(e *Entry, buf []byte) ([]byte, error) {
	in, err := s.openName(e.Name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // nothing was written through it
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	e.info, e.Bytes = info, info.Size
	return contents(in, info.Size, buf)
}

func stateOf(err error, file []byte) State {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Gone
	case errors.Is(err, kvferry.ErrUnsupported) || newer(file):
		return OtherSchema
	case errors.Is(err, kvferry.ErrCorrupt):
		return Corrupt
	}
	return Unreadable
}

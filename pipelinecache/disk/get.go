package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
	"github.com/kvferry/kvferry/pipelinecache"
)

// minFileBytes is the length of the shortest file: an unversioned one without
// an artifact is shorter than a frame.
const minFileBytes = digest.Size

// Get reads and checks the file of an artifact.
func (s *Store) Get(ctx context.Context, f pipelinecache.Fingerprint) ([]byte, error) {
	_, artifact, err := s.load(ctx, f)
	return artifact, err
}

// GetShared is Get: no bytes stay in memory.
func (s *Store) GetShared(ctx context.Context, f pipelinecache.Fingerprint) ([]byte, error) {
	return s.Get(ctx, f)
}

// Frame returns the frame of an artifact, checked as Get checks it and counted
// like one. That of an unversioned file is made.
func (s *Store) Frame(ctx context.Context, f pipelinecache.Fingerprint) ([]byte, error) {
	file, artifact, err := s.load(ctx, f)
	if err != nil || pipelinecache.HasMagic(file) {
		return file, err
	}
	return pipelinecache.AppendFrame(make([]byte, 0, len(artifact)+pipelinecache.MinFrameBytes), artifact)
}

// load returns the file of an artifact and the artifact, which lies in it.
func (s *Store) load(ctx context.Context, f pipelinecache.Fingerprint) (file, artifact []byte, err error) {
	if err := ctx.Err(); err != nil {
		s.count.misses.Add(1)
		return nil, nil, fmt.Errorf("disk: get %v: %w", f, err)
	}
	file, artifact, err = s.read(f)
	if err != nil {
		s.count.misses.Add(1)
		if errors.Is(err, fs.ErrNotExist) {
			s.noteMiss(f)
		}
		return nil, nil, typed("get "+f.String(), err)
	}
	s.count.hits.Add(1)
	s.noteHit(f)
	return file, artifact, nil
}

// read treats a damaged file as the options say. It is open until then: so
// another file cannot have its number meanwhile.
func (s *Store) read(f pipelinecache.Fingerprint) (file, artifact []byte, err error) {
	in, err := s.openName(artifactName(f))
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = in.Close() }() // nothing was written through it
	info, err := in.Stat()
	if err != nil {
		return nil, nil, err
	}
	file, err = contents(in, info.Size, nil)
	if err != nil && !errors.Is(err, kvferry.ErrCorrupt) {
		return nil, nil, err
	}
	if err == nil {
		artifact, err = s.parse(file)
	}
	if errors.Is(err, kvferry.ErrCorrupt) && !newer(file) {
		err = errors.Join(err, s.treat(f, info))
	}
	return file, artifact, err
}

// openName opens the file of an artifact.
func (s *Store) openName(name string) (vfs.File, error) {
	in, err := s.fs.Open(name, vfs.ReadOnly)
	if err != nil && unopenable(err) {
		return nil, fmt.Errorf("%s is no regular file, a put of the artifact replaces a link, remove anything else: %w: %w", name, kvferry.ErrCorrupt, err)
	}
	return in, err
}

// contents reads a file that says how long it is, into buf if that is long
// enough. A length that no file of an artifact has is ErrCorrupt, before a byte
// is read.
func contents(in io.ReaderAt, length int64, buf []byte) ([]byte, error) {
	if length < minFileBytes || length > int64(pipelinecache.MaxFrameBytes) {
		return nil, fmt.Errorf("a file of %d bytes, want %d to %d: %w", length, minFileBytes, pipelinecache.MaxFrameBytes, kvferry.ErrCorrupt)
	}
	if int64(cap(buf)) < length {
		buf = make([]byte, length)
	}
	n, err := in.ReadAt(buf[:length], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return buf[:n], nil // if somebody cut it meanwhile the hash tells
}

// parse returns the artifact in a file: what has the magic is a frame, and
// nothing else is, since a frame is an unversioned file, too.
func (s *Store) parse(file []byte) ([]byte, error) {
	if pipelinecache.HasMagic(file) {
		return pipelinecache.ParseFrame(file)
	}
	artifact, err := pipelinecache.ParseLegacy(file)
	if err == nil && !s.opt.Unversioned {
		return nil, fmt.Errorf("an unversioned file of %d bytes, which the options do not allow: %w", len(file), kvferry.ErrUnsupported)
	}
	return artifact, err
}

// newer tells whether a file says that it has a schema that is not known here,
// whose footer may be another: it is never called damaged.
func newer(file []byte) bool {
	return pipelinecache.HasMagic(file) && len(file) >= 6 && binary.LittleEndian.Uint16(file[4:]) > pipelinecache.SchemaVersion
}

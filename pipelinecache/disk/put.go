package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
	"github.com/kvferry/kvferry/pipelinecache"
)

// tries is how many names of a temporary file may be taken.
const tries = 8

// Put writes the file of an artifact. One that is longer than a frame holds, or
// than the budget (ErrQuota), is rejected before anything is written, and what
// was cached for the fingerprint is removed: it is not what it should be any
// more. After any other failure what was there before is still there.
func (s *Store) Put(ctx context.Context, f pipelinecache.Fingerprint, artifact []byte) error {
	if err := s.put(ctx, f, artifact); err != nil {
		s.count.rejected.Add(1)
		return typed("put "+f.String(), err)
	}
	s.count.puts.Add(1)
	return nil
}

// PutShared is Put: no bytes stay in memory.
func (s *Store) PutShared(ctx context.Context, f pipelinecache.Fingerprint, artifact []byte) error {
	return s.Put(ctx, f, artifact)
}

func (s *Store) put(ctx context.Context, f pipelinecache.Fingerprint, artifact []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.opt.ReadOnly {
		return fmt.Errorf("the cache was opened for reading: %w", kvferry.ErrReadOnly)
	}
	if err := s.check(artifact); err != nil {
		if gone := s.reject(f); gone != nil {
			return fmt.Errorf("%w; what was cached before is still there: %w", err, gone)
		}
		return err
	}
	frame, err := pipelinecache.AppendFrame(make([]byte, 0, len(artifact)+pipelinecache.MinFrameBytes), artifact)
	if err != nil {
		return err
	}
	name, err := s.write(f, frame)
	if err != nil {
		return err
	}
	if err := s.publish(f, name, int64(len(frame))); err != nil {
		return errors.Join(err, unlessGone(s.fs.Remove(name)))
	}
	return nil
}

func (s *Store) check(artifact []byte) error {
	if err := pipelinecache.CheckArtifact(artifact); err != nil {
		return err
	}
	if bytes := int64(len(artifact) + pipelinecache.MinFrameBytes); s.index != nil && bytes > s.opt.BudgetBytes {
		return fmt.Errorf("a file of %d bytes, the budget is %d: %w", bytes, s.opt.BudgetBytes, kvferry.ErrQuota)
	}
	return nil
}

// reject removes what was cached for a fingerprint.
func (s *Store) reject(f pipelinecache.Fingerprint) error {
	s.names.Lock()
	defer s.names.Unlock()
	name := artifactName(f)
	info, err := s.fs.Stat(name)
	if err == nil {
		err = s.fs.Remove(name)
	}
	if err != nil {
		return unlessGone(err)
	}
	s.forget(f)
	if s.index != nil {
		s.count.evictions.Add(1)
		s.count.evictedBytes.Add(uint64(info.Size))
	}
	return nil
}

// write makes a temporary file. Its lock tells others that somebody is still at
// it; where there are no locks its age has to.
func (s *Store) write(f pipelinecache.Fingerprint, frame []byte) (name string, err error) {
	var out vfs.File
	for range tries {
		name = temporaryName(f)
		out, err = s.fs.Open(name, vfs.Create|vfs.Exclusive)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	_, _ = out.TryLock()
	_, err = out.WriteAt(frame, 0)
	if err := errors.Join(err, out.Close()); err != nil {
		return "", errors.Join(err, unlessGone(s.fs.Remove(name)))
	}
	return name, nil
}

// publish gives a temporary file its name.
func (s *Store) publish(f pipelinecache.Fingerprint, name string, bytes int64) error {
	s.names.Lock()
	defer s.names.Unlock()
	if err := s.fs.Rename(name, artifactName(f)); err != nil {
		return err
	}
	s.notePut(f, bytes)
	s.mu.Lock()
	s.pending[f] = struct{}{}
	s.mu.Unlock()
	if s.index != nil {
		s.makeRoomLocked(f)
	}
	return nil
}

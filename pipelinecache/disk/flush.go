package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"sync"

	"github.com/kvferry/kvferry/internal/vfs"
	"github.com/kvferry/kvferry/pipelinecache"
)

// maxSyncs is how many files are synchronised at a time, on a machine with so
// many processors.
const maxSyncs = 16

// DurabilityReport says what a power failure could still take.
type DurabilityReport struct {
	// PendingFlushes is the number of fingerprints that were put and are not
	// durable yet.
	PendingFlushes int
	// Durable is that there is none.
	Durable bool
}

// DurabilityReport returns what is not durable now.
func (s *Store) DurabilityReport() DurabilityReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.pending)
	for f := range s.taken {
		if _, again := s.pending[f]; !again {
			n++
		}
	}
	return DurabilityReport{PendingFlushes: n, Durable: n == 0}
}

// Flush makes durable what was put before it was called. What was removed
// meanwhile needs nothing. It returns all errors; what they concern stays
// pending. If ctx ends, so does what was not begun.
func (s *Store) Flush(ctx context.Context) error {
	s.count.flushes.Add(1)
	if err := s.flush(ctx); err != nil {
		s.count.flushErrors.Add(1)
		return typed("flush", err)
	}
	return nil
}

func (s *Store) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.flushing <- struct{}{}:
		defer func() { <-s.flushing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	taken := s.pending
	s.taken, s.pending = taken, set{}
	s.mu.Unlock()

	failed, err := s.syncAll(ctx, taken)
	if len(failed) < len(taken) { // there are names to make durable
		if dirErr := s.fs.SyncDir("."); dirErr != nil {
			failed, err = taken, errors.Join(err, dirErr)
		}
	}
	s.mu.Lock()
	maps.Copy(s.pending, failed)
	s.taken = nil
	s.mu.Unlock()
	return err
}

// syncAll synchronises the files of artifacts and returns those that failed.
func (s *Store) syncAll(ctx context.Context, all set) (failed set, err error) {
	var (
		mu     sync.Mutex // guards failed and errs
		errs   []error
		work   sync.WaitGroup
		places = make(chan struct{}, min(max(runtime.GOMAXPROCS(0), 1), maxSyncs))
	)
	failed = set{}
	for f := range all {
		places <- struct{}{}
		work.Go(func() {
			defer func() { <-places }()
			if err := s.syncOne(ctx, f); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed[f] = struct{}{}
				errs = append(errs, fmt.Errorf("%v: %w", f, err))
			}
		})
	}
	work.Wait()
	return failed, errors.Join(errs...)
}

// syncOne synchronises the file of an artifact. What is not there any more, or
// is no file now, is nothing that a put made.
func (s *Store) syncOne(ctx context.Context, f pipelinecache.Fingerprint) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	file, err := s.fs.Open(artifactName(f), vfs.ReadOnly)
	if errors.Is(err, fs.ErrNotExist) || err != nil && unopenable(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

//go:build unix

package dir

import (
	"context"
	"fmt"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

// quota counts the bytes of blobs, pending ones included.
type quota struct {
	mu     sync.Mutex
	used   int64 // in files
	flying int64 // reserved for files that are being written
}

// landed ends the writing of n bytes, which are in a file now if ok.
func (q *quota) landed(n int64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.flying -= n
	if ok {
		q.used += n
	}
}

// reserve makes room for n bytes. Before it refuses, it counts anew: other
// processes may have deleted something.
func (s *Store) reserve(ctx context.Context, n int64) error {
	q := &s.quota
	q.mu.Lock()
	defer q.mu.Unlock()
	if s.o.QuotaBytes == 0 {
		q.flying += n
		return nil
	}
	if q.used+q.flying+n > s.o.QuotaBytes {
		if err := s.countBlobsLocked(ctx); err != nil {
			return err
		}
	}
	if q.used+q.flying+n > s.o.QuotaBytes {
		return fmt.Errorf("dir: %d bytes beside %d of %d: %w", n, q.used+q.flying, s.o.QuotaBytes, kvferry.ErrQuota)
	}
	q.flying += n
	return nil
}

// countBlobs counts if there is a quota.
func (s *Store) countBlobs(ctx context.Context) error {
	if s.o.QuotaBytes == 0 {
		return nil
	}
	s.quota.mu.Lock()
	defer s.quota.mu.Unlock()
	return s.countBlobsLocked(ctx)
}

func (s *Store) countBlobsLocked(ctx context.Context) error {
	var used int64
	err := s.eachPresent(func(a digest.Algorithm, shard byte) error {
		return s.scanShard(ctx, a, shard, func(f blobFile) error {
			used += f.size
			return nil
		})
	})
	if err == nil {
		s.quota.used = used
	}
	return err
}

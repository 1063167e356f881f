package layered

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
)

// Store is a cache over caches. It needs no closing; the layers remain their
// owner's.
type Store struct {
	layers     []pipelinecache.Store
	shards     [shardCount]shard
	promotions promotions
}

var _ pipelinecache.Store = (*Store)(nil)

// New returns a store over the layers, the fastest first. Without layers it
// has nothing and refuses to keep anything.
func New(layers ...pipelinecache.Store) *Store {
	s := &Store{layers: slices.Clone(layers)}
	for i := range s.shards {
		// A capacity of 8 fills a cache line, which no neighbour shares.
		s.shards[i].hits = make([]uint64, len(layers), max(len(layers), 8))
	}
	return s
}

// Put implements pipelinecache.Store: it puts into the first layer, and fails as
// that does. Without layers it is ErrReadOnly.
func (s *Store) Put(ctx context.Context, f pipelinecache.Fingerprint, artifact []byte) error {
	return s.put(ctx, f, func(top pipelinecache.Store) error { return top.Put(ctx, f, artifact) })
}

// PutShared implements pipelinecache.Store as Put does.
func (s *Store) PutShared(ctx context.Context, f pipelinecache.Fingerprint, artifact []byte) error {
	return s.put(ctx, f, func(top pipelinecache.Store) error { return top.PutShared(ctx, f, artifact) })
}

// put keeps promotions of what was there before from overtaking the put: those
// that have not begun leave the first layer alone, and one that has is waited for.
func (s *Store) put(ctx context.Context, f pipelinecache.Fingerprint, into func(top pipelinecache.Store) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("pipelinecache/layered: put: %w", err)
	}
	if len(s.layers) == 0 {
		return fmt.Errorf("pipelinecache/layered: put: there is no layer to keep it: %w", kvferry.ErrReadOnly)
	}
	sh := s.shard(&f)
	k, promoting := sh.beginPut(&f)
	defer sh.endPut(&f, k)
	if promoting != nil {
		select {
		case <-promoting:
		case <-ctx.Done():
			return fmt.Errorf("pipelinecache/layered: put: %w", ctx.Err())
		}
	}
	return into(s.layers[0])
}

// Flush implements pipelinecache.Store. It flushes all layers, also after one
// has failed, and returns the errors of all.
func (s *Store) Flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("pipelinecache/layered: flush: %w", err)
	}
	var errs []error
	for i, l := range s.layers {
		if err := l.Flush(ctx); err != nil {
			errs = append(errs, fmt.Errorf("pipelinecache/layered: flush of layer %d: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

// Metrics implements pipelinecache.Store: the sum of all layers' metrics.
func (s *Store) Metrics() pipelinecache.Metrics {
	var sum pipelinecache.Metrics
	for _, l := range s.layers {
		sum = sum.Add(l.Metrics())
	}
	return sum
}

package memory

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
)

const (
	// DefaultShardEntries is how many artifacts a shard keeps by default.
	DefaultShardEntries = 256
	// DefaultShardBytes is how many bytes a shard keeps by default.
	DefaultShardBytes = 16 << 20

	shardCount = 256
	// maxShardEntries keeps the numbers of entries, and twice as many, in 32 bits.
	maxShardEntries = math.MaxInt32 / 2
)

// Options are a store's limits.
type Options struct {
	// ShardEntries is how many artifacts a shard keeps. 0 means
	// DefaultShardEntries; below 0 nothing is kept and every put refused.
	ShardEntries int
	// ShardBytes is how many bytes a shard keeps. 0 means DefaultShardBytes;
	// below 0 nothing is kept and every put refused.
	ShardBytes int64
}

// EnsureDefaults fills in what is zero.
func (o *Options) EnsureDefaults() {
	if o.ShardEntries == 0 {
		o.ShardEntries = DefaultShardEntries
	}
	if o.ShardBytes == 0 {
		o.ShardBytes = DefaultShardBytes
	}
}

// Validate returns ErrInvalid if a limit is beyond what a shard can number.
func (o *Options) Validate() error {
	if o.ShardEntries > maxShardEntries {
		return fmt.Errorf("pipelinecache/memory: %d entries in a shard, at most %d can be: %w", o.ShardEntries, maxShardEntries, kvferry.ErrInvalid)
	}
	return nil
}

// Store is a cache in memory. It needs no closing.
type Store struct {
	limits limits
	// seeds keep whoever chooses fingerprints from choosing those that lie in
	// one place of the index.
	seeds  [4]uint64
	shards [shardCount]shard
}

var _ pipelinecache.Store = (*Store)(nil)

// errMiss is made once, so that a miss allocates nothing.
var errMiss = fmt.Errorf("pipelinecache/memory: get: %w", kvferry.ErrNotFound)

// New returns an empty store.
func New(o Options) (*Store, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s := &Store{limits: limits{entries: uint64(max(o.ShardEntries, 0)), bytes: uint64(max(o.ShardBytes, 0))}}
	for i := range s.seeds {
		s.seeds[i] = rand.Uint64()
	}
	return s, nil
}

// Get implements pipelinecache.Store.
func (s *Store) Get(ctx context.Context, f pipelinecache.Fingerprint) ([]byte, error) {
	shared, err := s.GetShared(ctx, f)
	if err != nil {
		return nil, err
	}
	return append(make([]byte, 0, len(shared)), shared...), nil
}

// GetShared implements pipelinecache.Store. It neither copies nor allocates.
func (s *Store) GetShared(ctx context.Context, f pipelinecache.Fingerprint) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, stopped("get", err)
	}
	sh, hash := &s.shards[f[0]], s.hash(&f)
	sh.mu.Lock()
	artifact, hit := sh.getLocked(&f, hash)
	sh.mu.Unlock()
	if !hit {
		return nil, errMiss
	}
	return artifact, nil
}

// Put implements pipelinecache.Store. If it fails with ErrQuota or ErrInvalid,
// nothing is cached for the fingerprint.
func (s *Store) Put(ctx context.Context, f pipelinecache.Fingerprint, artifact []byte) error {
	if err := s.admit(ctx, f, artifact); err != nil {
		return err
	}
	s.put(f, bytes.Clone(artifact))
	return nil
}

// PutShared implements pipelinecache.Store: it fails as Put does.
func (s *Store) PutShared(ctx context.Context, f pipelinecache.Fingerprint, artifact []byte) error {
	if err := s.admit(ctx, f, artifact); err != nil {
		return err
	}
	s.put(f, artifact)
	return nil
}

// admit refuses what cannot be kept, and removes what it would have replaced.
func (s *Store) admit(ctx context.Context, f pipelinecache.Fingerprint, artifact []byte) error {
	if err := ctx.Err(); err != nil {
		return stopped("put", err)
	}
	err := pipelinecache.CheckArtifact(artifact)
	if err == nil && !s.limits.admit(artifact) {
		err = fmt.Errorf("pipelinecache/memory: put of %d bytes: a shard keeps at most %d bytes and %d artifacts: %w",
			len(artifact), s.limits.bytes, s.limits.entries, kvferry.ErrQuota)
	}
	if err != nil {
		sh := &s.shards[f[0]]
		sh.mu.Lock()
		defer sh.mu.Unlock()
		sh.rejectLocked(&f, s.hash(&f))
	}
	return err
}

func (s *Store) put(f pipelinecache.Fingerprint, artifact []byte) {
	hash := s.hash(&f)
	sh := &s.shards[f[0]]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.putLocked(s, &f, hash, artifact[:len(artifact):len(artifact)])
}

// Flush implements pipelinecache.Store: there is nothing to do.
func (s *Store) Flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return stopped("flush", err)
	}
	return nil
}

func stopped(operation string, err error) error {
	return fmt.Errorf("pipelinecache/memory: %s: %w", operation, err)
}

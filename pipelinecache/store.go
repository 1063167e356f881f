package pipelinecache

import "context"

// Store is a cache of artifacts. It is safe for concurrent use. A call whose
// ctx is done when it begins returns the ctx's error and does nothing.
//
// The zero bytes are an artifact like any other. A nil artifact is one of no
// bytes.
type Store interface {
	// Get returns a copy of an artifact, which is the caller's. Every error is
	// a miss: ErrNotFound if the cache has none, ErrCorrupt or ErrUnsupported
	// if what it has cannot be used, and what the file system or network or
	// ctx says if it cannot be looked at. None of them changes what else is
	// cached.
	Get(ctx context.Context, f Fingerprint) ([]byte, error)
	// GetShared is Get without the copy where the store has the bytes in
	// memory: nobody may change them, and they stay valid as long as somebody
	// refers to them. Their capacity is their length, so that an append copies.
	GetShared(ctx context.Context, f Fingerprint) ([]byte, error)
	// Put keeps a copy of an artifact instead of what was cached for the
	// fingerprint. It may evict others. If it fails, nothing is cached for
	// the fingerprint, or what was there before: the implementation says which.
	// An artifact that is too long (see CheckArtifact) is ErrInvalid; one that
	// exceeds the store's own limits is ErrQuota.
	Put(ctx context.Context, f Fingerprint, artifact []byte) error
	// PutShared is Put without the copy where the store keeps the bytes in
	// memory: from then on nobody may change them.
	PutShared(ctx context.Context, f Fingerprint, artifact []byte) error
	// Flush makes durable what was put before, where that means anything.
	Flush(ctx context.Context) error
	// Metrics returns counts since the store was made, and what it holds now.
	Metrics() Metrics
}

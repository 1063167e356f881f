// Package mem is a content-addressed store in memory.
//
// Blobs lie as they are, without header or compression, in slabs outside the
// Go heap, so that the garbage collector neither scans nor counts them, and
// are shown to readers without a copy. A blob takes as many bytes in Stats and
// against the quota as it is long; the slabs round that up by at most a
// sixteenth (at least to 64 bytes). Room of deleted blobs is used again for
// blobs of about the same length, and goes back to the system on Close.
package mem

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// Options describe a store. The zero value works.
type Options struct {
	// QuotaBytes is the greatest sum of blob lengths; 0 means no quota.
	QuotaBytes int64
	// ReserveBytes of slabs are had from the system and touched by Open, so
	// that no Put within them waits for the kernel to find and clear memory.
	ReserveBytes int64
	// ReserveBlobs is for how many blobs tables are prepared by Open.
	ReserveBlobs int
	// Now is the clock of leases and collections; nil means time.Now.
	Now func() time.Time
}

// EnsureDefaults fills in what was left out.
func (o *Options) EnsureDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Validate returns ErrInvalid if a number is negative.
func (o *Options) Validate() error {
	if o.QuotaBytes < 0 || o.ReserveBytes < 0 || o.ReserveBlobs < 0 {
		return fmt.Errorf("mem: options with %d bytes of quota, %d bytes and %d blobs of reserve: %w",
			o.QuotaBytes, o.ReserveBytes, o.ReserveBlobs, kvferry.ErrInvalid)
	}
	return nil
}

// Store keeps blobs in memory. It is safe for concurrent use.
type Store struct {
	opts    Options
	opened  time.Time
	arena   *arena
	shards  [shardCount]shard
	catalog catalog
	views   viewPool

	closed atomic.Bool
	// refs counts the open store and every view; at zero the arena goes.
	refs atomic.Int64

	blobs, bytes                  atomic.Int64
	quarantined, quarantinedBytes atomic.Int64

	// epoch is the number of the latest collection. What a session released
	// during a collection is spared by it; see Collect.
	epoch     atomic.Uint64
	collectMu sync.Mutex // one collection at a time

	sessionsMu  sync.Mutex
	sessions    map[uint64]*session
	lastSession uint64
}

var (
	_ cas.Store       = (*Store)(nil)
	_ cas.Enumerator  = (*Store)(nil)
	_ cas.Viewer      = (*Store)(nil)
	_ cas.Collector   = (*Store)(nil)
	_ cas.Quarantiner = (*Store)(nil)
	_ cas.Stater      = (*Store)(nil)
)

// Open returns an empty store. ErrInvalid reports bad options, ErrOutOfMemory
// that the reserve cannot be had.
func Open(o Options) (*Store, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s := &Store{opts: o, opened: o.Now(), arena: &arena{}, sessions: map[uint64]*session{}}
	s.refs.Store(1)
	s.catalog.init(s)
	for i := range s.shards {
		s.shards[i].init(o.ReserveBlobs / shardCount)
	}
	if err := s.arena.reserve(o.ReserveBytes); err != nil {
		s.arena.release()
		return nil, fmt.Errorf("mem: reserve %d bytes: %w", o.ReserveBytes, err)
	}
	return s, nil
}

// elapsed is the store's clock as time since it was opened, which does not
// jump when the system's clock is set.
func (s *Store) elapsed() time.Duration { return s.opts.Now().Sub(s.opened) }

// check returns why nothing can be done with ctx, the store and d.
func (s *Store) check(ctx context.Context, op string, d digest.Digest) error {
	if err := s.checkOpen(ctx, op); err != nil {
		return err
	}
	if !d.Valid() {
		return fmt.Errorf("mem: %s: the digest is invalid: %w", op, kvferry.ErrInvalid)
	}
	return nil
}

func (s *Store) checkOpen(ctx context.Context, op string) error {
	if s.closed.Load() {
		return closedErr(op)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("mem: %s: %w", op, err)
	}
	return nil
}

func closedErr(op string) error {
	return fmt.Errorf("mem: %s: %w", op, kvferry.ErrClosed)
}

func notFound(op string, d digest.Digest) error {
	return fmt.Errorf("mem: %s %v: %w", op, d, kvferry.ErrNotFound)
}

// Get implements cas.Store.
func (s *Store) Get(ctx context.Context, d digest.Digest, dst []byte) (int, error) {
	if err := s.check(ctx, "get", d); err != nil {
		return 0, err
	}
	sh := s.shard(d)
	sh.mu.RLock() // held during the copy, so that the blob's room stays its own
	defer sh.mu.RUnlock()
	if sh.closed { // Close sets it under this lock before the memory goes
		return 0, closedErr("get")
	}
	i, ok := sh.index[d]
	if !ok {
		return 0, notFound("get", d)
	}
	b := s.arena.bytes(sh.recs[i].room)
	if len(b) > len(dst) {
		return len(b), fmt.Errorf("mem: get %v: %d bytes into a buffer of %d: %w", d, len(b), len(dst), kvferry.ErrShortBuffer)
	}
	return copy(dst, b), nil
}

// Has implements cas.Store.
func (s *Store) Has(ctx context.Context, d digest.Digest) (bool, error) {
	if err := s.check(ctx, "has", d); err != nil {
		return false, err
	}
	sh := s.shard(d)
	sh.mu.RLock()
	_, ok := sh.index[d]
	sh.mu.RUnlock()
	return ok, nil
}

// Catalog implements cas.Store.
func (s *Store) Catalog() cas.Catalog { return &s.catalog }

// Close implements cas.Store. Bytes in views stay until they are released.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return closedErr("close")
	}
	for _, sess := range s.liveSessions() {
		sess.end(stateClosed)
	}
	for i := range s.shards {
		s.shards[i].close()
	}
	s.unref()
	return nil
}

func (s *Store) unref() {
	if s.refs.Add(-1) == 0 {
		s.arena.release()
	}
}

// Quarantine implements cas.Quarantiner. The blob's bytes are not kept.
func (s *Store) Quarantine(ctx context.Context, d digest.Digest) error {
	if err := s.check(ctx, "quarantine", d); err != nil {
		return err
	}
	sh := s.shard(d)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.closed { // see Get
		return closedErr("quarantine")
	}
	i, ok := sh.index[d]
	if !ok {
		return notFound("quarantine", d)
	}
	s.quarantined.Add(1)
	s.quarantinedBytes.Add(sh.recs[i].room.bytes)
	if sh.aside == nil {
		sh.aside = map[uint32]digest.Digest{}
	}
	sh.aside[i] = d
	s.removeLocked(sh, d, i)
	return nil
}

// Stats implements cas.Stater. Quarantined blobs and bytes are those set aside
// since the store was opened.
func (s *Store) Stats(ctx context.Context) (cas.Stats, error) {
	if err := s.checkOpen(ctx, "stats"); err != nil {
		return cas.Stats{}, err
	}
	st := cas.Stats{
		Blobs:            s.blobs.Load(),
		StoredBytes:      s.bytes.Load(),
		Quarantined:      s.quarantined.Load(),
		QuarantinedBytes: s.quarantinedBytes.Load(),
		QuotaBytes:       s.opts.QuotaBytes,
	}
	for _, sess := range s.liveSessions() {
		if !sess.expired() {
			st.Sessions++
		}
	}
	return st, nil
}

package mem

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// The states of a session.
const (
	stateLive = iota
	stateFailed
	stateClosed
	stateExpired
)

// session holds the blobs that it put or found. Calls hold its lock for
// reading and its end for writing, so that nothing is pinned after the end.
type session struct {
	store *Store
	id    uint64
	lease time.Duration
	used  atomic.Int64 // elapsed time of the store at the latest call

	mu    sync.RWMutex
	state int
	// held lists the records pinned, by shard; each list is guarded by its
	// shard's lock.
	held [shardCount][]uint32
}

var _ cas.Session = (*session)(nil)

// Begin implements cas.Store. Cache sessions are treated as Snapshot sessions.
func (s *Store) Begin(ctx context.Context, o cas.SessionOptions) (cas.Session, error) {
	if err := s.checkOpen(ctx, "begin"); err != nil {
		return nil, err
	}
	if o.Lease < 0 {
		return nil, fmt.Errorf("mem: begin with a lease of %v: %w", o.Lease, kvferry.ErrInvalid)
	}
	if o.Lease == 0 {
		o.Lease = cas.DefaultLease
	}
	sess := &session{store: s, lease: o.Lease}
	sess.used.Store(int64(s.elapsed()))
	s.sessionsMu.Lock()
	defer s.sessionsMu.Unlock()
	if s.closed.Load() { // Close takes the list under this lock
		return nil, closedErr("begin")
	}
	s.lastSession++
	sess.id = s.lastSession
	s.sessions[sess.id] = sess
	return sess, nil
}

// liveSessions returns the sessions that have not ended, expired ones that
// nobody noticed yet included.
func (s *Store) liveSessions() []*session {
	s.sessionsMu.Lock()
	defer s.sessionsMu.Unlock()
	out := make([]*session, 0, len(s.sessions))
	for _, sess := range s.sessions {
		out = append(out, sess)
	}
	return out
}

// expired reports whether the lease ran out.
func (x *session) expired() bool {
	return x.store.elapsed()-time.Duration(x.used.Load()) > x.lease
}

// enter renews the lease and returns with the lock held for reading, or
// returns why the call cannot go on.
func (x *session) enter(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("mem: session %s: %w", op, err)
	}
	for {
		x.mu.RLock()
		if err := x.stateErr(op); err != nil {
			x.mu.RUnlock()
			return err
		}
		if now := x.store.elapsed(); now-time.Duration(x.used.Load()) <= x.lease {
			x.used.Store(int64(now))
			return nil
		}
		x.mu.RUnlock()
		x.expire()
	}
}

func (x *session) stateErr(op string) error {
	switch x.state {
	case stateLive:
		return nil
	case stateExpired:
		return fmt.Errorf("mem: session %s: %w", op, kvferry.ErrExpired)
	case stateFailed:
		return fmt.Errorf("mem: session %s after a failed commit: %w", op, kvferry.ErrClosed)
	}
	return fmt.Errorf("mem: session %s: %w", op, kvferry.ErrClosed)
}

// pinLocked holds the record i of the shard until the session ends.
func (x *session) pinLocked(sh *shard, shard int, i uint32) {
	r := &sh.recs[i]
	if r.pins > 0 && r.pinnedBy == x.id {
		return
	}
	r.pins++
	r.pinnedBy = x.id
	x.held[shard] = append(x.held[shard], i)
}

// find pins the blob d if it exists.
func (x *session) find(d digest.Digest) bool {
	k := shardOf(d)
	sh := &x.store.shards[k]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i, ok := sh.index[d]
	if ok {
		x.pinLocked(sh, k, i)
	}
	return ok
}

// Has implements cas.Session.
func (x *session) Has(ctx context.Context, d digest.Digest) (bool, error) {
	if err := x.enter(ctx, "has"); err != nil {
		return false, err
	}
	defer x.mu.RUnlock()
	if !d.Valid() {
		return false, fmt.Errorf("mem: session has: the digest is invalid: %w", kvferry.ErrInvalid)
	}
	return x.find(d), nil
}

// Put implements cas.Session.
func (x *session) Put(ctx context.Context, d digest.Digest, plain []byte) (cas.PutResult, error) {
	if err := x.enter(ctx, "put"); err != nil {
		return cas.PutResult{}, err
	}
	defer x.mu.RUnlock()
	if !d.Valid() {
		return cas.PutResult{}, fmt.Errorf("mem: session put: the digest is invalid: %w", kvferry.ErrInvalid)
	}
	if x.find(d) {
		return cas.PutResult{}, nil
	}
	s, n := x.store, int64(len(plain))
	if s.bytes.Add(n) > s.opts.QuotaBytes && s.opts.QuotaBytes > 0 {
		s.bytes.Add(-n)
		return cas.PutResult{}, fmt.Errorf("mem: put %v of %d bytes: %w", d, n, kvferry.ErrQuota)
	}
	r, err := s.arena.alloc(n)
	if err != nil {
		s.bytes.Add(-n)
		return cas.PutResult{}, fmt.Errorf("mem: put %v: %w", d, err)
	}
	copy(s.arena.bytes(r), plain) // outside any lock: nobody knows the room yet
	if !x.insert(d, r) {
		s.bytes.Add(-n)
		s.arena.free(r)
		return cas.PutResult{}, nil
	}
	return cas.PutResult{New: true, StoredBytes: n}, nil
}

// insert makes room r the blob d and pins it, unless somebody was faster.
func (x *session) insert(d digest.Digest, r room) bool {
	k := shardOf(d)
	sh := &x.store.shards[k]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i, found := sh.index[d]
	if !found {
		i = sh.addLocked(d, r)
		x.store.blobs.Add(1)
	}
	x.pinLocked(sh, k, i)
	return !found
}

// Flush implements cas.Session. Memory has nothing to flush.
func (x *session) Flush(ctx context.Context) error {
	if err := x.enter(ctx, "flush"); err != nil {
		return err
	}
	x.mu.RUnlock()
	return nil
}

// Commit implements cas.Session.
func (x *session) Commit(ctx context.Context, e cas.Entry) error {
	if err := x.enter(ctx, "commit"); err != nil {
		return err
	}
	x.mu.RUnlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.stateErr("commit"); err != nil {
		return err
	}
	err := checkEntry(e)
	for _, d := range []digest.Digest{e.Root, e.Image} {
		if err == nil && d.Valid() && !x.holds(d) {
			err = fmt.Errorf("mem: commit %v: %v was neither put nor found in the session: %w", e.Root, d, kvferry.ErrInvalid)
		}
	}
	if err == nil {
		err = x.regain(e.Root)
	}
	if err != nil {
		x.state = stateFailed
		return err
	}
	x.store.catalog.publish(e) // before the pins go; see Collect
	x.endLocked(stateClosed)
	return nil
}

// regain pins what was stored anew of the blobs that the session holds and that
// were quarantined meanwhile. One that was not is ErrCorrupt.
func (x *session) regain(root digest.Digest) error {
	if x.store.quarantined.Load() == 0 {
		return nil
	}
	for k := range x.held {
		if err := x.regainShard(root, k); err != nil {
			return err
		}
	}
	return nil
}

func (x *session) regainShard(root digest.Digest, k int) error {
	sh := &x.store.shards[k]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, i := range slices.Clone(x.held[k]) {
		if !sh.recs[i].gone {
			continue
		}
		d := sh.aside[i]
		now, ok := sh.index[d]
		if !ok {
			return fmt.Errorf("mem: commit %v: %v was quarantined and not put again: %w", root, d, kvferry.ErrCorrupt)
		}
		x.pinLocked(sh, k, now)
	}
	return nil
}

// holds reports whether the session pinned the blob d.
func (x *session) holds(d digest.Digest) bool {
	k := shardOf(d)
	sh := &x.store.shards[k]
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	i, ok := sh.index[d]
	return ok && slices.Contains(x.held[k], i)
}

// Abort implements cas.Session.
func (x *session) Abort(context.Context) error {
	x.end(stateClosed)
	return nil
}

// expire ends the session if its lease ran out.
func (x *session) expire() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.expired() {
		x.endLocked(stateExpired)
	}
}

func (x *session) end(state int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.endLocked(state)
}

// endLocked releases what the session holds. A session ends once; one that
// was live takes the state.
func (x *session) endLocked(state int) {
	if x.state != stateLive && x.state != stateFailed {
		return
	}
	x.state = state
	s := x.store
	for k := range x.held {
		if len(x.held[k]) > 0 {
			s.unpin(&s.shards[k], x.held[k])
			x.held[k] = nil
		}
	}
	s.sessionsMu.Lock()
	delete(s.sessions, x.id)
	s.sessionsMu.Unlock()
}

// unpin releases records of one shard.
func (s *Store) unpin(sh *shard, held []uint32) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	epoch := s.epoch.Load()
	for _, i := range held {
		r := &sh.recs[i]
		r.pins--
		if r.pins == 0 {
			r.released = epoch
			s.reclaimLocked(sh, i)
		}
	}
}

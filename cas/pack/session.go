package pack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/codec"
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
// reading and its end for writing, so that nothing is held after the end.
type session struct {
	s      *Store
	number uint64
	class  cas.Class
	hint   codec.Hint
	lease  time.Duration
	used   atomic.Int64 // elapsed time of the store at the latest call
	pins   *pinFile

	mu    sync.RWMutex
	state int

	holdMu sync.Mutex
	holds  holdSet
	lost   []digest.Digest // held blobs that were removed or quarantined
	hurt   error           // why blobs that it put are lost
}

var _ cas.Session = (*session)(nil)

// Begin implements cas.Store.
func (s *Store) Begin(ctx context.Context, o cas.SessionOptions) (cas.Session, error) {
	if err := s.startWrite(ctx, "begin"); err != nil {
		return nil, err
	}
	defer s.stop()
	if err := s.journal.Err(); err != nil {
		return nil, fmt.Errorf("pack: begin in %s: nothing can be committed: %w", s.root, err)
	}
	if o.Lease < 0 || o.Class > cas.Cache {
		return nil, fmt.Errorf("pack: begin a session of class %d with a lease of %v: %w", o.Class, o.Lease, kvferry.ErrInvalid)
	}
	if o.Lease == 0 {
		o.Lease = cas.DefaultLease
	}
	x := &session{s: s, class: o.Class, hint: o.Hint, lease: o.Lease}
	x.used.Store(int64(s.elapsed()))
	s.sessionsMu.Lock()
	defer s.sessionsMu.Unlock()
	s.lastSession++
	x.number = s.lastSession
	pins, err := s.streams.createPins(x, o.Owner)
	if err != nil {
		return nil, err
	}
	x.pins = pins
	s.sessions[x.number] = x
	return x, nil
}

// openSessions returns the sessions that have not ended, expired ones that
// nobody noticed yet included.
func (s *Store) openSessions() []*session {
	s.sessionsMu.Lock()
	defer s.sessionsMu.Unlock()
	out := make([]*session, 0, len(s.sessions))
	for _, x := range s.sessions {
		out = append(out, x)
	}
	return out
}

// expired reports whether the lease ran out.
func (x *session) expired() bool {
	return x.s.elapsed()-time.Duration(x.used.Load()) > x.lease
}

// enter begins a call: it renews the lease and returns with the lock held for
// reading and the store kept open, or returns why the call cannot go on.
func (x *session) enter(ctx context.Context, op string) error {
	if err := x.s.start(ctx); err != nil {
		return err
	}
	for {
		x.mu.RLock()
		err := x.stateErr(op)
		if err == nil && x.expired() {
			x.mu.RUnlock()
			x.expire()
			continue
		}
		if err == nil {
			now := x.s.elapsed()
			x.used.Store(int64(now))
			err = x.pins.renew(x.lease)
		}
		if err != nil {
			x.mu.RUnlock()
			x.s.stop()
		}
		return err
	}
}

// leave ends a call.
func (x *session) leave() {
	x.mu.RUnlock()
	x.s.stop()
}

func (x *session) stateErr(op string) error {
	switch x.state {
	case stateLive:
		return x.hurtErr(op)
	case stateExpired:
		return fmt.Errorf("pack: session %s: %w", op, kvferry.ErrExpired)
	case stateFailed:
		return fmt.Errorf("pack: session %s after a failed commit: %w", op, kvferry.ErrClosed)
	}
	return fmt.Errorf("pack: session %s: %w", op, kvferry.ErrClosed)
}

// hurtErr returns why the session cannot go on, if blobs that it put are lost.
func (x *session) hurtErr(op string) error {
	x.holdMu.Lock()
	defer x.holdMu.Unlock()
	if x.hurt == nil {
		return nil
	}
	return fmt.Errorf("pack: session %s: what it holds is not safe: %w", op, x.hurt)
}

// injure ends the use of a session whose blobs could not be written.
func (x *session) injure(cause error) {
	x.holdMu.Lock()
	defer x.holdMu.Unlock()
	if x.hurt == nil {
		x.hurt = cause
	}
}

// hold remembers that the session put d, whose pin the committer writes.
func (x *session) hold(d digest.Digest) {
	x.holdMu.Lock()
	defer x.holdMu.Unlock()
	x.holds.add(prefixOf(d))
}

func (x *session) holding(prefix uint64) bool {
	x.holdMu.Lock()
	defer x.holdMu.Unlock()
	return x.holds.has(prefix)
}

// pin holds d where collectors of every process see it.
func (x *session) pin(d digest.Digest) error {
	x.holdMu.Lock()
	defer x.holdMu.Unlock()
	if x.hurt != nil || !x.holds.add(prefixOf(d)) {
		return x.hurt
	}
	if err := x.pins.add(prefixOf(d)); err != nil {
		// Nobody else sees that it holds the blob, also when it is asked again.
		x.hurt = err
		return err
	}
	return nil
}

// missed notes that d was removed, if the session holds it.
func (x *session) missed(d digest.Digest) {
	x.holdMu.Lock()
	defer x.holdMu.Unlock()
	if x.holds.has(prefixOf(d)) {
		x.lost = append(x.lost, d)
	}
}

// whole returns ErrCorrupt if a blob that the session held is gone and was not
// stored again.
func (x *session) whole(root digest.Digest) error {
	x.holdMu.Lock()
	lost := slices.Clone(x.lost)
	x.holdMu.Unlock()
	for _, d := range lost {
		if _, p, ok := x.s.st().find(d); !ok || p.class != cas.Snapshot {
			return fmt.Errorf("pack: commit %v: %v was quarantined or collected and not put again: %w", root, d, kvferry.ErrCorrupt)
		}
	}
	return nil
}

// sees reports whether the session may rest on blobs of a class.
func (x *session) sees(class cas.Class) bool { return class == cas.Snapshot || x.class == cas.Cache }

// Has implements cas.Session.
func (x *session) Has(ctx context.Context, d digest.Digest) (bool, error) {
	if err := x.enter(ctx, "has"); err != nil {
		return false, err
	}
	defer x.leave()
	if !d.Valid() {
		return false, fmt.Errorf("pack: session has: the digest is invalid: %w", kvferry.ErrInvalid)
	}
	_, _, ok, err := x.find(ctx, d)
	return ok, err
}

// Flush implements cas.Session.
func (x *session) Flush(ctx context.Context) error {
	if err := x.enter(ctx, "flush"); err != nil {
		return err
	}
	defer x.leave()
	err := x.s.commits.submit(ctx, &request{flush: true})
	return errors.Join(x.hurtErr("flush"), err)
}

// Commit implements cas.Session.
func (x *session) Commit(ctx context.Context, e cas.Entry) error {
	if err := x.enter(ctx, "commit"); err != nil {
		return err
	}
	defer x.s.stop()
	x.mu.RUnlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.stateErr("commit"); err != nil {
		return err
	}
	if err := x.commitLocked(ctx, e); err != nil {
		x.state = stateFailed
		return err
	}
	_ = x.endLocked(stateClosed) // the snapshot is committed; a file that stays holds its blobs a bit longer
	return nil
}

func (x *session) commitLocked(ctx context.Context, e cas.Entry) error {
	if err := checkEntry(e); err != nil {
		return err
	}
	if x.class == cas.Cache {
		return fmt.Errorf("pack: commit %v: a snapshot cannot rest on a session of class Cache: %w", e.Root, kvferry.ErrInvalid)
	}
	for _, d := range []digest.Digest{e.Root, e.Image} {
		if d.Valid() && !x.holding(prefixOf(d)) {
			return fmt.Errorf("pack: commit %v: %v was neither put nor found in the session: %w", e.Root, d, kvferry.ErrInvalid)
		}
	}
	err := x.s.commits.submit(ctx, &request{flush: true, build: func(_ *view, o *ops) error {
		if err := errors.Join(x.hurtErr("commit"), x.whole(e.Root)); err != nil {
			return err
		}
		o.snapshot(e)
		for _, name := range e.Names {
			o.name(name, e.Root)
		}
		return nil
	}})
	if err != nil {
		return fmt.Errorf("pack: commit %v: %w", e.Root, err)
	}
	return nil
}

// checkEntry returns ErrInvalid unless e can stand in the catalog.
func checkEntry(e cas.Entry) error {
	switch {
	case !e.Root.Valid():
		return fmt.Errorf("pack: commit: the root is invalid: %w", kvferry.ErrInvalid)
	case !e.Format.Valid():
		return fmt.Errorf("pack: commit %v: format %.40q: %w", e.Root, e.Format, kvferry.ErrInvalid)
	case e.Image.Valid() && e.Image.Algorithm() != digest.SHA256:
		return fmt.Errorf("pack: commit %v: image %v is no SHA-256: %w", e.Root, e.Image, kvferry.ErrInvalid)
	case e.Pages < 0 || e.Sequences < 0 || e.Bytes < 0:
		return fmt.Errorf("pack: commit %v: negative counts: %w", e.Root, kvferry.ErrInvalid)
	}
	for _, name := range e.Names {
		if err := cas.CheckName(name); err != nil {
			return err
		}
	}
	return nil
}

// Abort implements cas.Session.
func (x *session) Abort(context.Context) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.endLocked(stateClosed)
}

// expire ends the session if its lease ran out.
func (x *session) expire() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.state == stateLive && x.expired() {
		_ = x.endLocked(stateExpired) // a file that stays is taken for a dead session's
	}
}

// endLocked releases what the session holds. A session ends once; one that was
// live takes the state.
func (x *session) endLocked(state int) error {
	if x.state != stateLive && x.state != stateFailed {
		return nil
	}
	x.state = state
	for c := range x.s.pending {
		x.s.pending[c].forget(x)
	}
	err := x.pins.remove() // the store stays open until it is no longer listed
	x.s.sessionsMu.Lock()
	delete(x.s.sessions, x.number)
	x.s.sessionsMu.Unlock()
	return err
}

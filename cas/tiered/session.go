package tiered

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// session is a session of the store that a commit waits for: far in
// write-through, near in write-back. In write-through what is put goes to near
// as well, in a session that may fail without harm.
type session struct {
	s     *Store
	main  cas.Session
	class cas.Class
	lease time.Duration
	used  atomic.Int64 // elapsed time of the store at the latest call
	life  sync.RWMutex // Put, Has and Flush share it; Commit and Abort own it
	over  bool
	// failed says that a commit failed, after which there is only Abort.
	failed bool

	mu   sync.Mutex
	side cas.Session // near's in write-through; nil if there is none

	// In write-back: what it holds, for collections of far, and how many bytes
	// it stored in near.
	held  map[digest.Digest]struct{}
	bytes int64
}

var _ cas.Session = (*session)(nil)

// Begin implements cas.Store.
func (s *Store) Begin(ctx context.Context, o cas.SessionOptions) (cas.Session, error) {
	if err := s.start(ctx, "begin"); err != nil {
		return nil, err
	}
	defer s.stop()
	x := &session{s: s, class: o.Class, lease: o.Lease}
	if x.lease == 0 {
		x.lease = cas.DefaultLease
	}
	x.used.Store(int64(s.elapsed()))
	s.hint.Store(&o.Hint)
	var err error
	if s.queue != nil {
		x.held = map[digest.Digest]struct{}{}
		x.main, err = s.near.Begin(ctx, o)
	} else if x.main, err = s.far.Begin(ctx, o); err == nil {
		o.Class = cas.Cache
		if x.side, err = s.near.Begin(ctx, o); err != nil {
			s.counts.nearErrors.Add(1)
			x.side, err = nil, nil
		}
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.sessions[x] = struct{}{}
	s.mu.Unlock()
	return x, nil
}

// expired reports whether the lease ran out.
func (x *session) expired() bool {
	return x.s.elapsed()-time.Duration(x.used.Load()) > x.lease
}

// enter begins a call, with the session's life shared. The lease is the
// stores' to enforce.
func (x *session) enter(ctx context.Context, op string) error {
	if err := x.s.start(ctx, op); err != nil {
		return err
	}
	x.life.RLock()
	if err := x.stateErr(op); err != nil {
		x.leave()
		return err
	}
	return nil
}

func (x *session) leave() {
	x.life.RUnlock()
	x.s.stop()
}

func (x *session) stateErr(op string) error {
	switch {
	case x.over:
		return closedErr(op)
	case x.failed:
		return fmt.Errorf("tiered: %s after a failed commit: %w", op, kvferry.ErrClosed)
	}
	return nil
}

// touch notes a call that the main session answered, and so renewed its lease.
func (x *session) touch(err error) {
	if !errors.Is(err, kvferry.ErrExpired) {
		x.used.Store(int64(x.s.elapsed()))
	}
}

// Put implements cas.Session. The result is that of the store that a commit
// waits for.
func (x *session) Put(ctx context.Context, d digest.Digest, plain []byte) (cas.PutResult, error) {
	if err := x.enter(ctx, "session put"); err != nil {
		return cas.PutResult{}, err
	}
	defer x.leave()
	r, err := x.main.Put(ctx, d, plain)
	if x.s.queue != nil && errors.Is(err, kvferry.ErrQuota) && x.s.sweepForRoom(ctx) {
		r, err = x.main.Put(ctx, d, plain)
	}
	x.touch(err)
	if err != nil {
		return r, err
	}
	x.hold(d, r.StoredBytes)
	if side := x.sideSession(); side != nil {
		if _, err := side.Put(ctx, d, plain); err != nil {
			x.sideFailed(ctx, err)
		}
	}
	x.s.hidden.show(d)
	return r, nil
}

// hold notes that the session needs d. Write-through leaves that to far.
func (x *session) hold(d digest.Digest, bytes int64) {
	if x.held == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.held[d] = struct{}{}
	x.bytes += bytes
}

func (x *session) sideSession() cas.Session {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.side
}

// sideFailed counts a failure of near, and gives up on a session of it that is
// over.
func (x *session) sideFailed(ctx context.Context, err error) {
	x.s.counts.nearErrors.Add(1)
	if !errors.Is(err, kvferry.ErrExpired) && !errors.Is(err, kvferry.ErrClosed) && !errors.Is(err, kvferry.ErrPoisoned) {
		return
	}
	x.mu.Lock()
	side := x.side
	x.side = nil
	x.mu.Unlock()
	if side != nil {
		_ = side.Abort(ctx) // it is over
	}
}

// Has implements cas.Session. In write-back it is near's answer: what far
// alone has is not found, see the package comment.
func (x *session) Has(ctx context.Context, d digest.Digest) (bool, error) {
	if err := x.enter(ctx, "session has"); err != nil {
		return false, err
	}
	defer x.leave()
	has, err := x.main.Has(ctx, d)
	x.touch(err)
	if has {
		x.hold(d, 0)
		x.s.hidden.show(d)
	}
	return has, err
}

// Flush implements cas.Session.
func (x *session) Flush(ctx context.Context) error {
	if err := x.enter(ctx, "session flush"); err != nil {
		return err
	}
	defer x.leave()
	err := x.main.Flush(ctx)
	x.touch(err)
	return err
}

// Commit implements cas.Session. In write-back it waits while the queue is
// full.
func (x *session) Commit(ctx context.Context, e cas.Entry) error {
	if err := x.s.start(ctx, "session commit"); err != nil {
		return err
	}
	defer x.s.stop()
	x.life.Lock()
	defer x.life.Unlock()
	if err := x.stateErr("session commit"); err != nil {
		return err
	}
	var err error
	if x.s.queue != nil {
		err = x.s.commitBack(ctx, x, e)
	} else {
		err = x.main.Commit(ctx, e)
	}
	if err != nil {
		x.failed = true
		return err
	}
	return x.endLocked(true)
}

// Abort implements cas.Session.
func (x *session) Abort(context.Context) error {
	if x.s.start(context.Background(), "session abort") != nil {
		return nil // closing the store aborted the session
	}
	defer x.s.stop()
	return x.end()
}

func (x *session) end() error {
	x.life.Lock()
	defer x.life.Unlock()
	return x.endLocked(false)
}

// endLocked ends the session; the caller has its life. After a commit near
// keeps what it was given.
func (x *session) endLocked(committed bool) error {
	if x.over {
		return nil
	}
	x.over = true
	x.s.mu.Lock()
	delete(x.s.sessions, x)
	x.s.mu.Unlock()
	var errs []error
	if !committed {
		errs = append(errs, x.main.Abort(context.Background()))
	}
	if side := x.sideSession(); side != nil {
		if committed {
			_ = keep(x.s.ctx, side) // near's failure is not the session's
		} else {
			_ = side.Abort(context.Background())
		}
	}
	return errors.Join(errs...)
}

// holds returns what a live session of write-back needs.
func (x *session) holds(visit func(digest.Digest)) {
	if x.expired() {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for d := range x.held {
		visit(d)
	}
}

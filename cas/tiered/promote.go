package tiered

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
)

// A session keeps what it put, which near could not evict or collect, so that
// promotions go on in a new one after this much.
const (
	promoteSessionBytes = 64 << 20
	promoteSessionBlobs = 4096
)

// promoter puts blobs into near, in sessions of class Cache.
type promoter struct {
	s      *Store
	onWay  atomic.Int64 // bytes
	mu     sync.RWMutex // held for reading during puts
	sess   cas.Session  // nil if there is none
	blobs  atomic.Int64
	bytes  atomic.Int64
	closed bool
}

// promote puts what f read into near, if it is d's and there is room. That it
// cannot is no failure of the read.
func (s *Store) promote(f *flight) {
	if s.o.Promote == PromoteNone && !f.heal.Load() {
		return
	}
	n := int64(f.n)
	if s.promoter.onWay.Add(n) > s.o.PromoteBytes {
		s.promoter.onWay.Add(-n)
		s.counts.notPromoted.Add(1)
		return
	}
	defer s.promoter.onWay.Add(-n)
	t := s.borrow()
	defer s.giveBack(t)
	if t.judge(f.d, f.buf[:f.n]) != sound || s.promoter.put(f) != nil {
		s.counts.notPromoted.Add(1)
		return
	}
	s.hidden.show(f.d)
	s.counts.promoted.Add(1)
	s.counts.promotedBytes.Add(n)
	if f.heal.Load() {
		s.counts.healed.Add(1)
	}
}

// put puts the blob of f into near, in a new session if the last one is over.
func (p *promoter) put(f *flight) error {
	for try := 0; ; try++ {
		err := p.putOnce(f)
		over := errors.Is(err, kvferry.ErrExpired) || errors.Is(err, kvferry.ErrClosed)
		if !over || try > 0 {
			return err
		}
		_ = p.end(p.s.ctx, false) // it is over
	}
}

func (p *promoter) putOnce(f *flight) error {
	if err := p.begin(); err != nil {
		return err
	}
	p.mu.RLock()
	if p.sess == nil { // another call ended it
		p.mu.RUnlock()
		return closedErr("promote")
	}
	_, err := p.sess.Put(p.s.ctx, f.d, f.buf[:f.n])
	p.mu.RUnlock()
	if err != nil {
		return err
	}
	if p.blobs.Add(1) >= promoteSessionBlobs || p.bytes.Add(int64(f.n)) >= promoteSessionBytes {
		return p.end(p.s.ctx, false)
	}
	return nil
}

// begin makes sure that there is a session.
func (p *promoter) begin() error {
	p.mu.RLock()
	there := p.sess != nil
	p.mu.RUnlock()
	if there {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return closedErr("promote")
	}
	if p.sess != nil {
		return nil
	}
	sess, err := p.s.near.Begin(p.s.ctx, cas.SessionOptions{Class: cas.Cache, Owner: "promotion", Hint: p.s.lastHint()})
	if err != nil {
		return err
	}
	p.sess = sess
	p.blobs.Store(0)
	p.bytes.Store(0)
	return nil
}

// end ends the session, whose blobs stay in near because they are flushed.
func (p *promoter) end(ctx context.Context, forever bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = p.closed || forever
	if p.sess == nil {
		return nil
	}
	sess := p.sess
	p.sess = nil
	return keep(ctx, sess)
}

// keep ends a session of near so that what it put stays as far as near likes.
// What it could not flush may be lost, which is no harm in a cache.
func keep(ctx context.Context, sess cas.Session) error {
	_ = sess.Flush(ctx)
	return sess.Abort(ctx)
}

package pagecache

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/kvferry/kvferry"
)

// Reservation is memory for a page that nobody finds yet, and the sole right
// to provide that page. It ends with one Publish, Abandon or AbandonAfter.
type Reservation[K comparable] struct {
	pool  *Pool[K]
	shard *shard[K]
	key   K
	hash  uint64
	page  *page[K] // nil while a page is evicted, and until there is memory
	over  atomic.Bool

	// The shard's mutex guards these.
	landed  bool
	waiting int64
	done    chan struct{} // made by the first who waits
	frame   *Frame        // what they get, with a reference each
}

// Reserve takes memory of n bytes with any content for a page, to be copied
// into by the caller. A page that is there is ErrExists. While somebody else
// provides it, or it is being evicted, Reserve waits for the outcome; with
// Refuse that is ErrExists, too. A page that is longer than the pool's limit
// is ErrQuota.
func (p *Pool[K]) Reserve(ctx context.Context, key K, n int, how Room) (*Reservation[K], error) {
	r, f, err := p.reserve(ctx, key, n, how, how == Wait)
	if f != nil {
		f.Release()
		return nil, exists()
	}
	return r, err
}

func exists() error {
	return fmt.Errorf("pagecache: reserve a page that is there or on its way: %w", kvferry.ErrExists)
}

// reserve returns a reservation, or the frame if there is one already.
func (p *Pool[K]) reserve(ctx context.Context, key K, n int, how Room, join bool) (*Reservation[K], *Frame, error) {
	if n < 0 || int64(n) > maxBytes {
		return nil, nil, fmt.Errorf("pagecache: reserve %d bytes: %w", n, kvferry.ErrInvalid)
	}
	r, f, err := p.takeOff(ctx, key, join)
	if r == nil {
		return nil, f, err
	}
	defer func() {
		if r.page == nil { // an error, or a panic of OnEvict
			r.land(nil)
		}
	}()
	buf, size, err := p.obtain(ctx, r.shard, n, how)
	if err != nil {
		return nil, nil, err
	}
	g := &page[K]{pool: p, buf: buf, size: size, first: node[K]{key: key, hash: r.hash}}
	g.mem, g.owner, g.first.page = buf.Bytes(), g, g
	g.state.Store(1)
	r.page = g
	p.reserved.Add(1)
	return r, nil, nil
}

// takeOff begins the only flight for a key, unless there is a page. If there is
// another flight it waits for its end, or not.
func (p *Pool[K]) takeOff(ctx context.Context, key K, join bool) (*Reservation[K], *Frame, error) {
	s, h := p.locate(key)
	for {
		s.mu.Lock()
		if p.ended.Load() {
			s.mu.Unlock()
			return nil, nil, fmt.Errorf("pagecache: reserve: %w", kvferry.ErrClosed)
		}
		if g := s.find(h, key); g != nil && g.borrow() {
			s.mu.Unlock()
			return nil, &g.Frame, nil
		}
		other := s.flights[key]
		if other == nil {
			r := &Reservation[K]{pool: p, shard: s, key: key, hash: h}
			s.flights[key] = r
			s.mu.Unlock()
			return r, nil, nil
		}
		if join {
			other.joinLocked()
		}
		s.mu.Unlock()
		if !join {
			return nil, nil, exists()
		}
		if f, err := other.wait(ctx); f != nil || err != nil {
			return nil, f, err
		}
	}
}

func (r *Reservation[K]) joinLocked() {
	r.pool.joined.Add(1)
	r.waiting++
	if r.done == nil {
		r.done = make(chan struct{})
	}
}

// wait returns the frame that the flight ended with, or nil if there is none.
func (r *Reservation[K]) wait(ctx context.Context) (*Frame, error) {
	var err error
	select {
	case <-r.done:
		return r.frame, nil
	case <-ctx.Done():
		err = fmt.Errorf("pagecache: wait for a page: %w", context.Cause(ctx))
	case <-r.pool.closed:
		err = fmt.Errorf("pagecache: wait for a page: %w", kvferry.ErrClosed)
	}
	r.shard.mu.Lock()
	landed := r.landed
	if !landed {
		r.waiting--
	}
	r.shard.mu.Unlock()
	if landed && r.frame != nil { // the reference is ours by now
		r.frame.Release()
	}
	return nil, err
}

// land ends the flight, with a published frame or none.
func (r *Reservation[K]) land(f *Frame) {
	r.shard.mu.Lock()
	r.landLocked(f)
	r.shard.mu.Unlock()
}

func (r *Reservation[K]) landLocked(f *Frame) {
	delete(r.shard.flights, r.key)
	r.landed = true
	if f != nil {
		f.state.Add(uint64(r.waiting))
		r.frame = f
	}
	if r.done != nil {
		close(r.done)
	}
}

// Bytes returns the memory to be filled, until the reservation ends.
func (r *Reservation[K]) Bytes() []byte {
	if r.over.Load() {
		return nil
	}
	return r.page.mem
}

// end tells whether the caller is the one to end the reservation.
func (r *Reservation[K]) end() bool {
	if r.over.Swap(true) {
		return false
	}
	r.pool.reserved.Add(-1)
	return true
}

// Publish lets everybody find the page and returns its frame, with a reference
// that the caller must release. Nothing may write to it any more. In a pool
// that was closed meanwhile the page is given up: ErrClosed.
func (r *Reservation[K]) Publish() (*Frame, error) {
	if !r.end() {
		return nil, fmt.Errorf("pagecache: publish what was published or abandoned before: %w", kvferry.ErrInvalid)
	}
	g, s := r.page, r.shard
	s.mu.Lock()
	if r.pool.ended.Load() {
		s.mu.Unlock()
		r.drop().Release()
		return nil, fmt.Errorf("pagecache: publish: %w", kvferry.ErrClosed)
	}
	s.publish(g, &g.first)
	r.landLocked(&g.Frame)
	s.mu.Unlock()
	r.pool.room.signal() // a frame whose release may be waited for
	r.pool.enforce()
	return &g.Frame, nil
}

// Abandon gives the memory back; the page stays unknown and the next one may
// try. Nobody may write to the memory any more. After the end of the
// reservation it does nothing, so that it can be deferred.
func (r *Reservation[K]) Abandon() {
	if r.end() {
		r.drop().Release()
	}
}

// AbandonAfter gives up the reservation like Abandon, and its memory once e is
// done, because until then a copy may write to it.
func (r *Reservation[K]) AbandonAfter(e Event) {
	if r.end() {
		r.drop().ReleaseAfter(e)
	}
}

// drop ends the flight with nothing, and returns the frame, now dead.
func (r *Reservation[K]) drop() *Frame {
	r.page.state.Or(dead)
	r.land(nil)
	return &r.page.Frame
}

package tiered

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// flight is one read of a blob from far, which any number of calls wait for.
// It reads into a buffer of its own, because a call that gives up takes its
// buffer along. It can be joined until its blob is in near, so that whoever
// missed it there finds it here.
type flight struct {
	d    digest.Digest
	heal atomic.Bool // near's is damaged
	size int         // of the buffer
	buf  []byte
	n    int
	err  error
	done chan struct{} // closed when n and err are set
	g    *group
	refs int // calls that wait, and the group; guarded by flights.mu
}

// group is flights that one goroutine reads.
type group struct {
	ctx     context.Context // ends when nobody waits any more
	cancel  context.CancelFunc
	flights []*flight
	waiting int // calls; guarded by flights.mu
}

type flights struct {
	mu      sync.Mutex
	of      map[digest.Digest]*flight
	buffers sync.Pool // of *[]byte
}

// fanout is how many reads of one batch are under way where far takes one at
// a time.
const fanout = 8

// readFar answers the requests from far.
func (s *Store) readFar(ctx context.Context, reqs []want) {
	if len(reqs) == 0 {
		return
	}
	for again := reqs; len(again) > 0; {
		again = s.fly(ctx, again)
	}
}

// fly joins or starts a flight for each request and returns those that need
// another one, because the one that they joined had too small a buffer.
func (s *Store) fly(ctx context.Context, reqs []want) (again []want) {
	joined := make([]*flight, len(reqs))
	var groups []*group
	fs := &s.flights
	fs.mu.Lock()
	for i, r := range reqs {
		f := fs.of[r.Digest]
		if f == nil {
			f = &flight{d: r.Digest, size: len(r.Dst), done: make(chan struct{}), refs: 1}
			groups = s.assign(groups, f)
			fs.of[f.d] = f
		} else {
			s.counts.shared.Add(1)
		}
		if r.heal {
			f.heal.Store(true)
		}
		f.refs++
		f.g.waiting++
		joined[i] = f
	}
	fs.mu.Unlock()
	for _, g := range groups {
		s.workers.Go(func() { s.runGroup(g) })
	}
	for i, f := range joined {
		if s.await(ctx, reqs[i], f) {
			again = append(again, reqs[i])
		}
		s.leave(f)
	}
	return again
}

// assign puts a new flight into one of the groups that one call starts.
func (s *Store) assign(groups []*group, f *flight) []*group {
	most := fanout
	if _, ok := s.far.(cas.BatchGetter); ok {
		most = 1
	}
	if len(groups) < most {
		g := &group{}
		g.ctx, g.cancel = context.WithCancel(s.ctx)
		groups = append(groups, g)
	} else { // the first becomes the last, so that all get their share
		groups = append(groups[1:], groups[0])
	}
	g := groups[len(groups)-1]
	g.flights = append(g.flights, f)
	f.g = g
	return groups
}

// await answers the request when its flight is done, and reports whether it
// needs another one.
func (s *Store) await(ctx context.Context, r want, f *flight) (again bool) {
	select {
	case <-f.done:
	case <-ctx.Done():
		r.N, r.Err = 0, fmt.Errorf("tiered: get %v: %w", r.Digest, ctx.Err())
		return false
	}
	switch {
	case errors.Is(f.err, kvferry.ErrShortBuffer) && len(r.Dst) > f.size:
		return true
	case f.err != nil && s.ctx.Err() != nil:
		r.N, r.Err = 0, closedErr("get")
	case f.err != nil:
		r.finish(f.n, f.err)
	case f.n > len(r.Dst):
		r.N, r.Err = f.n, fmt.Errorf("tiered: get %v: %d bytes into a buffer of %d: %w", r.Digest, f.n, len(r.Dst), kvferry.ErrShortBuffer)
	default:
		r.N, r.Err = copy(r.Dst, f.buf[:f.n]), nil
	}
	return false
}

// leave ends a call's wait. A group that nobody waits for is given up, and not
// joined any more.
func (s *Store) leave(f *flight) {
	fs := &s.flights
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.g.waiting--
	if f.g.waiting == 0 {
		f.g.cancel()
		for _, x := range f.g.flights {
			if !x.landed() {
				fs.forgetLocked(x)
			}
		}
	}
	fs.unrefLocked(f)
}

func (f *flight) landed() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

func (fs *flights) forgetLocked(f *flight) {
	if fs.of[f.d] == f {
		delete(fs.of, f.d)
	}
}

func (fs *flights) unrefLocked(f *flight) {
	if f.refs--; f.refs == 0 && f.buf != nil {
		buf := f.buf
		f.buf = nil
		fs.buffers.Put(&buf)
	}
}

func (fs *flights) buffer(n int) []byte {
	if p, ok := fs.buffers.Get().(*[]byte); ok && cap(*p) >= n {
		return (*p)[:n]
	}
	return make([]byte, n)
}

// runGroup reads the group's flights, lets their calls go, and then puts what
// was read into near.
func (s *Store) runGroup(g *group) {
	defer g.cancel()
	reqs := make([]cas.Request, 0, len(g.flights))
	var open []*flight
	for _, f := range g.flights {
		f.buf = s.flights.buffer(f.size)
		if s.cameNear(g.ctx, f) {
			continue
		}
		reqs = append(reqs, cas.Request{Digest: f.d, Dst: f.buf})
		open = append(open, f)
	}
	if b, ok := s.far.(cas.BatchGetter); ok && len(reqs) > 1 {
		s.counts.farReads.Add(int64(len(reqs)))
		err := b.GetBatch(g.ctx, reqs)
		for i, f := range open {
			if err != nil {
				reqs[i].N, reqs[i].Err = 0, err
			}
			s.land(f, reqs[i].N, reqs[i].Err)
		}
	} else {
		for i, f := range open {
			s.counts.farReads.Add(1)
			n, err := s.far.Get(g.ctx, f.d, reqs[i].Dst)
			s.land(f, n, err)
		}
	}
	for _, f := range open {
		if f.err == nil {
			s.promote(f)
		}
		s.dismiss(f)
	}
}

// cameNear looks in near again: between a call's look and its flight another
// flight may have put the blob there.
func (s *Store) cameNear(ctx context.Context, f *flight) bool {
	if f.heal.Load() || s.hidden.has(f.d) {
		return false
	}
	n, err := s.near.Get(ctx, f.d, f.buf)
	if err != nil && !errors.Is(err, kvferry.ErrShortBuffer) {
		return false
	}
	s.land(f, n, err)
	s.dismiss(f)
	return true
}

// land lets the calls of f go.
func (s *Store) land(f *flight, n int, err error) {
	f.n, f.err = n, err
	close(f.done)
}

// dismiss ends the group's use of f; no call joins it from now on.
func (s *Store) dismiss(f *flight) {
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	s.flights.forgetLocked(f)
	s.flights.unrefLocked(f)
}

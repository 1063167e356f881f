//go:build unix

package dir

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// session implements cas.Session.
type session struct {
	s     *Store
	id    string
	o     cas.SessionOptions
	fd    int // the root, opened anew, so that it tells the write errors since then
	temps atomic.Int64

	life     sync.RWMutex // Put, Has, Flush share it; Commit and Abort own it
	flushing sync.Mutex

	mu      sync.Mutex
	over    bool      // committed or aborted
	broken  error     // why it can only be aborted
	used    time.Time // last call
	lease   *leaseFile
	held    map[digest.Digest]hold
	lost    int // how many of held are gone
	pending map[*pendingBlob]struct{}
	touched [digest.SHA256 + 1][shards / 64]uint64 // directories to make durable
}

var _ cas.Session = (*session)(nil)

// hold says what a session knows of a blob whose digest its lease records.
type hold uint8

const (
	unseen   hold = iota // asked for, not found
	there                // found
	compared             // put, or found and compared with the bytes of a put
	gone                 // was there, and then set aside as damaged
)

// Begin implements cas.Store.
func (s *Store) Begin(ctx context.Context, o cas.SessionOptions) (cas.Session, error) {
	if err := s.startWrite(ctx, "begin"); err != nil {
		return nil, err
	}
	defer s.stop()
	if o.Lease < 0 || o.Class > cas.Cache {
		return nil, fmt.Errorf("dir: begin with lease %v, class %d: %w", o.Lease, o.Class, kvferry.ErrInvalid)
	}
	if o.Lease == 0 {
		o.Lease = cas.DefaultLease
	}
	if err := s.countBlobs(ctx); err != nil {
		return nil, err
	}
	x := &session{s: s, id: newID(), o: o, fd: -1, used: s.clock(),
		held: map[digest.Digest]hold{}, pending: map[*pendingBlob]struct{}{}}
	if err := x.open(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.sessions[x] = struct{}{}
	s.mu.Unlock()
	return x, nil
}

func (x *session) open(ctx context.Context) error {
	fd, err := openBeneath(x.s.fs.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return failed("open", ".", err)
	}
	if err = x.s.gate.enter(ctx); err == nil {
		x.lease, err = createLease(ctx, &x.s.fs, x.id, x.o.Owner)
		if err == nil {
			if err = x.renewLocked(); err != nil {
				err = errors.Join(err, x.lease.remove())
			}
		}
		x.s.gate.leave()
	}
	if err != nil {
		_ = unix.Close(fd) // nothing was written through it
		return err
	}
	x.fd = fd
	return nil
}

// begin starts a call on the session, which done ends, and renews the lease.
func (x *session) begin(ctx context.Context) error {
	x.life.RLock()
	err := x.s.start(ctx)
	if err == nil {
		if err = x.touch(); err != nil {
			x.s.stop()
		}
	}
	if err != nil {
		x.life.RUnlock()
	}
	return err
}

func (x *session) done() {
	x.s.stop()
	x.life.RUnlock()
}

// touch renews the lease, or tells why the session cannot be used.
func (x *session) touch() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return fmt.Errorf("dir: session %s: %w", x.id, kvferry.ErrClosed)
	}
	if x.broken != nil {
		return x.broken
	}
	now := x.s.clock()
	if now.Sub(x.used) > x.o.Lease {
		return x.breakLocked(fmt.Errorf("dir: session %s: %w", x.id, kvferry.ErrExpired))
	}
	x.used = now
	if x.lease.until.Before(now.Add(x.o.Lease)) {
		if err := x.renewLocked(); err != nil {
			return x.breakLocked(err)
		}
	}
	return nil
}

// renewLocked records a little more than the lease, so that not every call
// writes a record: what other processes read is never earlier than the end.
func (x *session) renewLocked() error {
	return x.lease.renew(x.used.Add(x.o.Lease + min(x.o.Lease/64, time.Second)))
}

// breakLocked makes err the answer of every later call but Abort.
func (x *session) breakLocked(err error) error {
	if x.broken == nil {
		x.broken = err
	}
	return err
}

func (x *session) fail(err error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.breakLocked(err)
}

// Abort implements cas.Session.
func (x *session) Abort(context.Context) error {
	if x.s.start(context.Background()) != nil {
		return nil // closing the store aborted the session
	}
	defer x.s.stop()
	return x.end()
}

// end ends the session, waiting for its running calls. Blobs that are in their
// place are left to the next collection.
func (x *session) end() error {
	x.life.Lock()
	defer x.life.Unlock()
	return x.endLocked()
}

// endLocked ends the session; the caller has x.life.
func (x *session) endLocked() error {
	x.mu.Lock()
	if x.over {
		x.mu.Unlock()
		return nil
	}
	x.over = true
	left := x.pending
	x.pending, x.held = nil, nil
	x.mu.Unlock()
	x.s.mu.Lock()
	delete(x.s.sessions, x)
	x.s.mu.Unlock()
	for e := range left {
		x.s.abandon(e)
	}
	return errors.Join(x.lease.remove(), failed("close", ".", unix.Close(x.fd)))
}

// abandon deletes the temporary file of e unless another session of the store
// holds it. What cannot be deleted is left to the next collection.
func (s *Store) abandon(e *pendingBlob) {
	blobs, unlock := s.pending.lock(e.d)
	defer unlock() // until then nobody comes to hold it
	if e.state != written {
		return
	}
	for _, y := range s.openSessions() {
		if y.waits(e) {
			return
		}
	}
	s.discard(e.temp)
	e.state = lost
	if blobs[e.d] == e {
		delete(blobs, e.d)
	}
}

// waits tells whether the session holds e.
func (x *session) waits(e *pendingBlob) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, ok := x.pending[e]
	return ok
}

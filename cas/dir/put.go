//go:build unix

package dir

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
)

// publishAfter is how many blobs a session keeps pending before it publishes
// them, which bounds memory and the work that is left for the commit.
const publishAfter = 16384

// writebackFrom is the length from which writing to the device is started at
// once; for less, the call costs more than it saves.
const writebackFrom = 32 << 10

// Put implements cas.Session.
func (x *session) Put(ctx context.Context, d digest.Digest, plain []byte) (cas.PutResult, error) {
	if err := x.begin(ctx); err != nil {
		return cas.PutResult{}, err
	}
	defer x.done()
	for {
		e, mine, err := x.find(ctx, d, plain, true)
		switch {
		case errors.Is(err, errDamaged):
			if err := x.s.replaceable(ctx, d, plain); err != nil {
				return cas.PutResult{}, err
			}
			continue // it is gone, or somebody was faster
		case err != nil:
			return cas.PutResult{}, err
		case e == nil:
			return cas.PutResult{}, nil
		case mine:
			return x.write(ctx, e, plain)
		}
		select { // another call writes it
		case <-e.ready:
		case <-ctx.Done():
			return cas.PutResult{}, ctx.Err()
		}
	}
}

// errDamaged says that what lies at a blob's place is not the blob.
var errDamaged = errors.New("dir: damaged blob")

// replaceable sets aside what lies in the place of the blob d, unless it is
// the blob with exactly these bytes by now. A caller whose bytes are not those
// of the digest does not get to replace anything.
func (s *Store) replaceable(ctx context.Context, d digest.Digest, plain []byte) error {
	if d.Algorithm() != digest.KeyedBLAKE3 {
		h, err := digest.NewHasher(d.Algorithm(), nil)
		if err != nil {
			return err
		}
		if h.Check(d, plain) != nil {
			return fmt.Errorf("dir: put %v: the bytes have another digest: %w", d, kvferry.ErrInvalid)
		}
	}
	err := s.quarantine(ctx, d, func(rel string) (finding, error) { return s.compare(rel, d, plain) })
	if errors.Is(err, kvferry.ErrNotFound) {
		return nil // somebody else did it
	}
	return err
}

// Has implements cas.Session.
func (x *session) Has(ctx context.Context, d digest.Digest) (bool, error) {
	if err := x.begin(ctx); err != nil {
		return false, err
	}
	defer x.done()
	_, _, err := x.find(ctx, d, nil, false)
	if errors.Is(err, kvferry.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// find looks for the blob d and holds it if it is there: then e is nil. Else,
// if the caller claims it, e is the blob to be written: by the caller if mine,
// by another call else. Without a claim it is ErrNotFound. What is there is
// compared with plain if the caller claims it, once in each session, and
// errDamaged if it differs.
//
// The digest is recorded in the lease before it is looked for, and both happen
// inside the gate, so that a collector either sees the record or has deleted
// the blob before.
func (x *session) find(ctx context.Context, d digest.Digest, plain []byte, claim bool) (e *pendingBlob, mine bool, err error) {
	if !d.Valid() {
		return nil, false, fmt.Errorf("dir: invalid digest: %w", kvferry.ErrInvalid)
	}
	if x.holds(d, claim) {
		return nil, false, nil
	}
	if err := x.s.gate.enter(ctx); err != nil {
		return nil, false, failed("lock", gateLock, err)
	}
	defer x.s.gate.leave()
	if err := x.protect(d); err != nil {
		return nil, false, err
	}
	blobs, unlock := x.s.pending.lock(d)
	defer unlock()
	if e = blobs[d]; e != nil {
		if e.state == writing && claim {
			return e, false, nil
		}
		switch _, err := x.s.fs.lstat(e.temp); {
		case e.state == writing || missing(err): // a collector of another process took it
		case err != nil:
			return nil, false, failed("stat", e.temp, err)
		default: // written by this process a moment ago
			x.hold(d, e, compared)
			return nil, false, nil
		}
	}
	var found finding
	how := there
	if claim {
		found, err = x.s.compare(blobPath(d), d, plain)
		how = compared
	} else {
		found, err = x.s.inspect(d)
	}
	switch {
	case err != nil:
		return nil, false, err
	case found == whole:
		x.hold(d, nil, how)
		return nil, false, nil
	case !claim:
		return nil, false, fmt.Errorf("dir: %v: %w", d, kvferry.ErrNotFound)
	case found == damaged:
		return nil, false, errDamaged
	}
	e = &pendingBlob{d: d, owner: x, temp: tempBlobPath(d, x.id, x.temps.Add(1)), ready: make(chan struct{})}
	blobs[d] = e
	return e, true, nil
}

// holds tells whether the session holds d, and knows its bytes if asked.
func (x *session) holds(d digest.Digest, bytes bool) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	h := x.held[d]
	return h == compared || h == there && !bytes
}

// protect records d in the lease and makes sure that the lease counts.
func (x *session) protect(d digest.Digest) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, recorded := x.held[d]; !recorded {
		if err := x.lease.protect(d); err != nil {
			return x.breakLocked(err)
		}
		x.held[d] = unseen
	}
	if err := x.lease.alive(); err != nil {
		return x.breakLocked(err)
	}
	return nil
}

// hold notes that d is there, pending if e is not nil.
func (x *session) hold(d digest.Digest, e *pendingBlob, how hold) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.held[d] == gone {
		x.lost--
	}
	x.held[d] = how
	if e != nil {
		x.pending[e] = struct{}{}
	}
	shard := shardOf(d)
	x.touched[d.Algorithm()][shard/64] |= 1 << (shard % 64)
}

// write writes the blob e to its temporary file and holds it.
func (x *session) write(ctx context.Context, e *pendingBlob, plain []byte) (cas.PutResult, error) {
	id, err := x.writeFile(ctx, e, plain)
	if err != nil {
		x.s.pending.settle(e, lost)
		return cas.PutResult{}, fmt.Errorf("dir: put %v: %w", e.d, err)
	}
	x.s.pending.settle(e, written)
	x.hold(e.d, e, compared)
	x.mu.Lock()
	many := len(x.pending) >= publishAfter
	x.mu.Unlock()
	r := cas.PutResult{New: true, StoredBytes: e.size, Codec: id}
	if many {
		return r, x.flush(ctx, false)
	}
	return r, nil
}

// writeFile writes the blob e and returns how it is coded.
func (x *session) writeFile(ctx context.Context, e *pendingBlob, plain []byte) (codec.ID, error) {
	s := x.s
	id := codec.Zstd
	t := s.borrow()
	defer s.giveBack(t)
	var bufs [2][]byte
	if e.d.Algorithm() == digest.SHA256 {
		z, err := t.enc.EncodeZstd(x.o.Hint, plain)
		if err != nil {
			return 0, err
		}
		bufs[0] = z
	} else {
		f, err := t.enc.Encode(x.o.Hint, plain)
		if err != nil {
			return 0, err
		}
		t.head = f.Header
		bufs[0], bufs[1], id = t.head[:], f.Payload, f.Codec()
	}
	size := int64(len(bufs[0]) + len(bufs[1]))
	if err := s.reserve(ctx, size); err != nil {
		return 0, err
	}
	e.size = size
	err := s.writeNew(e, bufs[:])
	if err != nil {
		s.discard(e.temp)
	}
	s.quota.landed(size, err == nil)
	return id, err
}

func (s *Store) writeNew(e *pendingBlob, bufs [][]byte) error {
	fd, err := s.createBlob(e)
	if err != nil {
		return err
	}
	err = s.fs.write(fd, e.temp, bufs...)
	if err == nil && e.size >= writebackFrom {
		startWriteback(fd)
	}
	return unwritten("write", e.temp, errors.Join(err, s.fs.close(fd, e.temp)))
}

// createBlob creates the temporary file of e, and its directory before the
// first one, or if it went away.
func (s *Store) createBlob(e *pendingBlob) (int, error) {
	known := &s.shards[e.d.Algorithm()][shardOf(e.d)]
	for {
		had := known.Load()
		if !had {
			rel := shardDir(e.d.Algorithm(), shardOf(e.d))
			if err := s.fs.mkdir(rel); err != nil && !errors.Is(err, unix.EEXIST) {
				return -1, unwritten("create", rel, err)
			}
			known.Store(true)
		}
		fd, err := s.fs.open(e.temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
		if missing(err) && had {
			known.Store(false)
			continue
		}
		if misplaced(err) {
			err = fmt.Errorf("%w: %w", kvferry.ErrCorrupt, err)
		}
		return fd, unwritten("create", e.temp, err)
	}
}

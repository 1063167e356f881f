package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/cas/pack/internal/table"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
)

// What is put and not in the log yet is written there when it is this much,
// also if nobody asks for it: it bounds what the store remembers of each blob.
const (
	nudgeBytes = 128 << 20
	nudgeBlobs = 64 << 10
)

// tools are what one call needs to encode, decode and hash.
type tools struct {
	enc    codec.Encoder
	dec    codec.Decoder
	hasher *digest.Hasher
	buf    []byte
}

func (s *Store) borrow() *tools {
	if t, ok := s.tools.Get().(*tools); ok {
		return t
	}
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	if err != nil {
		panic(err) // without a key it cannot fail
	}
	return &tools{hasher: h}
}

// find holds the blob d for the session if it is there. The place is 0 if it is
// pending.
//
// A collector publishes what it condemns before it looks at the pins, and the
// session pins before it looks whether the blob is condemned: one of them sees
// the other.
func (x *session) find(ctx context.Context, d digest.Digest) (table.Place, *packInfo, bool, error) {
	if _, written, ok := x.s.pending[x.class].spot(d); ok && x.s.expired(x.class, int64(written)) {
		if err := x.s.commits.submit(ctx, &request{settle: true, lazy: true}); err != nil {
			return 0, nil, false, err
		}
	}
	// A blob goes from pending to the table, so this order finds it.
	for _, class := range []cas.Class{cas.Snapshot, cas.Cache} {
		if !x.sees(class) {
			continue
		}
		if held, err := x.s.pending[class].find(ctx, d, x); held || err != nil {
			if err == nil && class == cas.Cache {
				x.s.touch(d)
			} else if err == nil {
				if held, err = x.anchor(ctx, d); err == nil && !held {
					continue // it came to the log, and went
				}
			}
			return 0, nil, held, err
		}
	}
	for {
		at, p, ok, err := x.s.lookup(ctx, d)
		if err != nil || !ok || at.Has(table.Condemned) || !x.sees(p.class) {
			return 0, nil, false, err
		}
		if p.class == cas.Cache {
			x.s.touch(d)
			return at, p, true, nil
		}
		if err := x.pin(d); err != nil {
			return 0, nil, false, err
		}
		again, q, ok, err := x.s.lookup(ctx, d)
		if err != nil || ok && q == p && again.Offset() == at.Offset() && !again.Has(table.Condemned) {
			return at, p, err == nil, err
		}
	}
}

// anchor pins a blob that was pending and looks again: while it was not pinned
// its sessions may have ended and a collector may have removed it.
func (x *session) anchor(ctx context.Context, d digest.Digest) (bool, error) {
	if err := x.pin(d); err != nil {
		return false, err
	}
	if held, err := x.s.pending[cas.Snapshot].find(ctx, d, x); held || err != nil {
		return held, err
	}
	at, p, ok, err := x.s.lookup(ctx, d)
	return ok && p.class == cas.Snapshot && !at.Has(table.Condemned), err
}

// Put implements cas.Session.
func (x *session) Put(ctx context.Context, d digest.Digest, plain []byte) (cas.PutResult, error) {
	if err := x.enter(ctx, "put"); err != nil {
		return cas.PutResult{}, err
	}
	defer x.leave()
	if !d.Valid() {
		return cas.PutResult{}, fmt.Errorf("pack: session put: the digest is invalid: %w", kvferry.ErrInvalid)
	}
	for {
		r, again, err := x.put(ctx, d, plain)
		if !again || err != nil {
			return r, err
		}
	}
}

// put is a try to put a blob. It is tried again if the blob was another
// session's and went before this one held it.
func (x *session) put(ctx context.Context, d digest.Digest, plain []byte) (r cas.PutResult, again bool, err error) {
	at, p, found, err := x.find(ctx, d)
	class, replace := x.class, false
	if err == nil && found && p != nil {
		replace, err = x.s.rotten(ctx, d, at, p, plain)
		class = p.class // a snapshot may need what is replaced
	}
	if err != nil {
		return cas.PutResult{}, false, fmt.Errorf("pack: put %v: %w", d, err)
	}
	if found && !replace {
		return cas.PutResult{}, false, nil
	}
	if err := x.s.journal.Err(); err != nil {
		return cas.PutResult{}, false, fmt.Errorf("pack: put %v: nothing can be committed: %w", d, err)
	}
	mine, err := x.s.pending[class].claim(ctx, pendingBlob{d: d, first: x, written: x.s.seconds(), age: x.s.age(), replace: replace})
	if err != nil {
		return cas.PutResult{}, false, fmt.Errorf("pack: put %v: %w", d, err)
	}
	if !mine {
		if class == cas.Cache {
			return cas.PutResult{}, false, nil
		}
		held, err := x.anchor(ctx, d)
		return cas.PutResult{}, !held, err
	}
	n, id, err := x.write(ctx, class, d, plain)
	if err != nil {
		return cas.PutResult{}, false, fmt.Errorf("pack: put %v: %w", d, err)
	}
	return cas.PutResult{New: true, StoredBytes: n, Codec: id}, false, nil
}

// write appends a claimed blob to the lane of a class and returns the bytes that
// it takes and how it is coded.
func (x *session) write(ctx context.Context, class cas.Class, d digest.Digest, plain []byte) (n int64, id codec.ID, err error) {
	s, p := x.s, &x.s.pending[class]
	var at packfile.Spot
	done := false
	defer func() { p.finish(d, at, done) }()

	t := s.borrow()
	defer s.tools.Put(t)
	frame, err := t.enc.Encode(x.hint, plain)
	if err != nil {
		return 0, 0, err
	}
	n = packfile.RecordBytes(frame.Size())
	if err := s.reserve(ctx, class, n); err != nil {
		return 0, 0, err
	}
	lane, err := s.lane(class)
	if err == nil && class == cas.Cache {
		err = s.rotate(ctx)
	}
	if err == nil {
		now := s.seconds()
		at, err = lane.Append(ctx, n, func(dst []byte) { packfile.PutRecord(dst, d, now, &frame) })
	}
	if err != nil {
		p.bytes.Add(-n)
		return 0, 0, err
	}
	x.hold(d)
	done = true
	if p.bytes.Load() > nudgeBytes || p.count.Load() > nudgeBlobs {
		s.commits.nudge(class)
	}
	return n, frame.Codec(), nil
}

// rotten reports whether the stored record of d is damaged, for a caller who
// has the bytes. What this process wrote or found sound within the last day is
// not read again. ErrInvalid means that plain is not what d names.
func (s *Store) rotten(ctx context.Context, d digest.Digest, at table.Place, p *packInfo, plain []byte) (bool, error) {
	epoch := s.soundEpoch()
	if age, ok := s.st().table.Age(d); ok && p.class == cas.Snapshot && age != 0 && (age == epoch || age == epoch-1) {
		return false, nil
	}
	t := s.borrow()
	defer s.tools.Put(t)
	same, old, damaged := false, false, false
	err := s.read(ctx, p.id, at, func(rec []byte) error {
		if cap(t.buf) < len(plain) {
			t.buf = make([]byte, len(plain))
		}
		n, err := packfile.Decode(t.buf[:len(plain)], rec, d, &t.dec)
		same = err == nil && n == len(plain) && bytes.Equal(t.buf[:n], plain)
		if r, err := packfile.ParseRecord(rec); err == nil {
			old = s.expired(p.class, int64(r.Written))
		}
		return err
	})
	switch {
	case same && old: // a read would not find it
		return true, nil
	case same:
		if p.class == cas.Snapshot {
			s.st().table.Touch(d, epoch)
		}
		return false, nil
	case err == nil, errors.Is(err, kvferry.ErrShortBuffer):
		// One of both is not d's; where that can be told, the caller hears it.
		switch herr := t.hasher.Check(d, plain); {
		case herr == nil:
			damaged = true
		case !errors.Is(herr, kvferry.ErrUnsupported):
			return false, fmt.Errorf("the bytes are not what the digest says: %w", kvferry.ErrInvalid)
		}
	case errors.Is(err, kvferry.ErrCorrupt), missing(err):
		damaged = true
	default:
		return false, err
	}
	return damaged, nil
}

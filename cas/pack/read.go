package pack

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/cas/pack/internal/table"
	"github.com/kvferry/kvferry/digest"
)

// lookup returns where the blob d is now. What is too old for the cache is not
// there.
func (s *Store) lookup(ctx context.Context, d digest.Digest) (table.Place, *packInfo, bool, error) {
	if err := s.refresh(ctx); err != nil {
		return 0, nil, false, err
	}
	at, p, ok := s.st().find(d)
	if ok && s.expired(p.class, p.newest.Load()) {
		return 0, nil, false, nil
	}
	return at, p, ok, nil
}

// expired reports whether a blob that was stored then has lived too long for
// the cache.
func (s *Store) expired(class cas.Class, unix int64) bool {
	return class == cas.Cache && s.o.CacheTTL > 0 && s.o.Clock().Unix()-unix >= int64(s.o.CacheTTL.Seconds())
}

// Has implements cas.Store.
func (s *Store) Has(ctx context.Context, d digest.Digest) (bool, error) {
	if err := s.start(ctx); err != nil {
		return false, err
	}
	defer s.stop()
	if !d.Valid() {
		return false, fmt.Errorf("pack: has: the digest is invalid: %w", kvferry.ErrInvalid)
	}
	for c := range s.pending {
		if _, written, ok := s.pending[c].spot(d); ok && !s.expired(cas.Class(c), int64(written)) {
			return true, nil
		}
	}
	_, _, ok, err := s.lookup(ctx, d)
	return ok, err
}

// Get implements cas.Store.
func (s *Store) Get(ctx context.Context, d digest.Digest, dst []byte) (int, error) {
	if err := s.start(ctx); err != nil {
		return 0, err
	}
	defer s.stop()
	n, err := s.get(ctx, d, dst)
	if err != nil {
		return n, fmt.Errorf("pack: get %v: %w", d, err)
	}
	return n, nil
}

func (s *Store) get(ctx context.Context, d digest.Digest, dst []byte) (n int, err error) {
	if !d.Valid() {
		return 0, fmt.Errorf("the digest is invalid: %w", kvferry.ErrInvalid)
	}
	t := s.borrow()
	defer s.tools.Put(t)
	for class := range s.pending {
		if n, ok, err := s.getPending(ctx, t, cas.Class(class), d, dst); ok {
			return n, err
		}
	}
	var before table.Place
	opened := false
	for {
		at, p, ok, err := s.lookup(ctx, d)
		if err != nil {
			return 0, err
		}
		if !ok {
			return 0, kvferry.ErrNotFound
		}
		err = s.read(ctx, p.id, at, func(rec []byte) (err error) {
			n, err = s.decode(t, p, d, dst, rec)
			return err
		})
		if err == nil || !stale(err) {
			return n, err
		}
		// A collection may have moved the blob, or the cache may have dropped
		// it, since it was looked up; the log tells.
		if ferr := s.follow(ctx); ferr != nil {
			return 0, ferr
		}
		again, q, ok := s.st().find(d)
		same := ok && q == p && again.Offset() == at.Offset()
		if same && !opened {
			s.reader.Forget(p.id) // what is open may be a removed pack of the same number
			opened = true
			continue
		}
		if same || at == before {
			return 0, s.damaged(ctx, d, p, at, err)
		}
		before = at
	}
}

// stale reports whether a read failed in a way that a look at an old place
// could explain.
func stale(err error) bool { return missing(err) || errors.Is(err, kvferry.ErrCorrupt) }

// decode checks a record and decodes it into dst.
func (s *Store) decode(t *tools, p *packInfo, d digest.Digest, dst, rec []byte) (int, error) {
	n, err := packfile.Decode(dst, rec, d, &t.dec)
	if err != nil || p.class == cas.Snapshot {
		return n, err
	}
	if r, err := packfile.ParseRecord(rec); err == nil && s.expired(p.class, int64(r.Written)) {
		return 0, kvferry.ErrNotFound
	}
	s.touch(d)
	return n, nil
}

// getPending reads a blob that is not in the log yet.
func (s *Store) getPending(ctx context.Context, t *tools, class cas.Class, d digest.Digest, dst []byte) (int, bool, error) {
	at, written, ok := s.pending[class].spot(d)
	if !ok || s.expired(class, int64(written)) {
		return 0, false, nil
	}
	if class == cas.Cache {
		s.touch(d)
	}
	lane, err := s.lane(class)
	if err != nil {
		return 0, true, err
	}
	if int64(cap(t.buf)) < at.Bytes {
		t.buf = make([]byte, at.Bytes)
	}
	rec := t.buf[:at.Bytes]
	var n int
	if lane.ReadBuffered(at, rec) {
		n, err = packfile.Decode(dst, rec, d, &t.dec)
	} else {
		err = s.reader.Read(ctx, at, func(rec []byte) (err error) {
			n, err = packfile.Decode(dst, rec, d, &t.dec)
			return err
		})
	}
	return n, true, err
}

// read shows the record of a blob.
func (s *Store) read(ctx context.Context, pack uint64, at table.Place, use func(rec []byte) error) error {
	return s.reader.Read(ctx, packfile.Spot{Pack: pack, Off: at.Offset(), Bytes: at.Size()}, use)
}

// damaged says what to make of a record that is not what the log says. Blobs of
// the cache may be lost in a power failure: nobody misses them.
func (s *Store) damaged(ctx context.Context, d digest.Digest, p *packInfo, at table.Place, cause error) error {
	if p.class == cas.Cache {
		if s.commits != nil {
			s.forgetCached(ctx, d, p, at)
		}
		return kvferry.ErrNotFound
	}
	if errors.Is(cause, kvferry.ErrCorrupt) {
		return cause
	}
	return fmt.Errorf("%w: %w", cause, kvferry.ErrCorrupt)
}

// GetBatch implements cas.BatchGetter. The reads are sorted by place and
// neighbours are read together.
func (s *Store) GetBatch(ctx context.Context, reqs []cas.Request) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	defer s.stop()
	spots := make([]packfile.Spot, 0, len(reqs))
	which := make([]int, 0, len(reqs))
	packs := make([]*packInfo, 0, len(reqs))
	for i := range reqs {
		r := &reqs[i]
		at, p, ok, err := s.lookup(ctx, r.Digest)
		if err != nil || !ok || !r.Digest.Valid() {
			r.N, r.Err = 0, errSingly
			continue
		}
		spots = append(spots, packfile.Spot{Pack: p.id, Off: at.Offset(), Bytes: at.Size()})
		which, packs = append(which, i), append(packs, p)
	}
	s.reader.ReadBatch(ctx, spots, runtime.GOMAXPROCS(0), func(i int, rec []byte, err error) {
		r := &reqs[which[i]]
		if err == nil {
			t := s.borrow()
			r.N, err = s.decode(t, packs[i], r.Digest, r.Dst, rec)
			s.tools.Put(t)
		}
		if err != nil && !errors.Is(err, kvferry.ErrShortBuffer) {
			err = errSingly
		}
		r.Err = err
	})
	for i := range reqs {
		switch r := &reqs[i]; {
		case r.Err == nil:
		case errors.Is(r.Err, errSingly): // pending, moved, damaged or not there
			r.N, r.Err = s.get(ctx, r.Digest, r.Dst)
			fallthrough
		default:
			if r.Err != nil {
				r.Err = fmt.Errorf("pack: get %v: %w", r.Digest, r.Err)
			}
		}
	}
	return nil
}

// errSingly marks requests of a batch that are read on their own.
var errSingly = errors.New("pack: not in this batch")

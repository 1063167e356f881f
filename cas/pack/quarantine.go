package pack

import (
	"context"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/digest"
)

// Quarantine implements cas.Quarantiner. The record stays where it is, counted,
// until a collection copies the rest of its pack.
func (s *Store) Quarantine(ctx context.Context, d digest.Digest) error {
	if err := s.startWrite(ctx, "quarantine"); err != nil {
		return err
	}
	defer s.stop()
	if !d.Valid() {
		return fmt.Errorf("pack: quarantine: the digest is invalid: %w", kvferry.ErrInvalid)
	}
	for class := range s.pending {
		if _, _, ok := s.pending[class].spot(d); ok {
			if err := s.commits.submit(ctx, &request{flush: true}); err != nil {
				return err
			}
		}
	}
	at, p, ok, err := s.lookup(ctx, d)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("pack: quarantine %v: %w", d, kvferry.ErrNotFound)
	}
	sound, err := s.sound(ctx, d)
	if err != nil || sound {
		return err
	}
	err = s.commits.submit(ctx, &request{build: func(_ *view, o *ops) error {
		if _, there := s.st().is(d, p, at.Offset()); there { // else it was stored anew meanwhile
			o.quarantine(p.id, stored{d, at.Offset(), at.Size()})
		}
		return nil
	}})
	if err != nil {
		return fmt.Errorf("pack: quarantine %v: %w", d, err)
	}
	return nil
}

// sound reports whether the blob d hashes to d, as far as that can be told
// without a tenant's key.
func (s *Store) sound(ctx context.Context, d digest.Digest) (bool, error) {
	t := s.borrow()
	defer s.tools.Put(t)
	at, p, ok := s.st().find(d)
	if !ok {
		return false, nil
	}
	sound := false
	s.reader.Forget(p.id) // it looks at what the file's name leads to now
	err := s.read(ctx, p.id, at, func(rec []byte) error {
		r, err := packfile.ParseRecord(rec)
		if err != nil {
			return err
		}
		if n := r.Frame.PlainBytes; n > maxPlainBytes {
			return errDamaged
		} else if int64(cap(t.buf)) < n {
			t.buf = make([]byte, n)
		}
		n, err := packfile.Decode(t.buf[:cap(t.buf)], rec, d, &t.dec)
		if err == nil {
			err = t.hasher.Check(d, t.buf[:n])
		}
		sound = err == nil
		return err
	})
	if stale(err) || errors.Is(err, kvferry.ErrUnsupported) {
		return false, nil
	}
	return sound, err
}

// maxPlainBytes bounds what is decoded to look at a blob that may be damaged.
const maxPlainBytes = 1 << 32

// IndexBytes returns the memory that the index of digests takes, mappings
// included.
func (s *Store) IndexBytes() int64 {
	if s.start(context.Background()) != nil {
		return 0 // closed
	}
	defer s.stop()
	return s.st().table.MemoryBytes()
}

// Stats implements cas.Stater.
func (s *Store) Stats(ctx context.Context) (cas.Stats, error) {
	if err := s.start(ctx); err != nil {
		return cas.Stats{}, err
	}
	defer s.stop()
	if err := s.refresh(ctx); err != nil {
		return cas.Stats{}, err
	}
	s.review()
	st := cas.Stats{QuotaBytes: s.o.QuotaBytes, CacheQuotaBytes: s.o.CacheBytes, EvictedBytes: s.evicted.Load()}
	for _, p := range s.st().packs.all() {
		st.Blobs += p.blobs.Load()
		st.StoredBytes += p.live.Load()
		st.DeadBytes += p.dead()
		st.QuarantinedBytes += p.quarantined.Load()
		if p.class == cas.Cache {
			st.CacheBlobs += p.blobs.Load()
			st.CacheBytes += p.live.Load()
		}
	}
	st.DeadBytes += s.tails.bytes.Load()
	s.st().mu.RLock()
	st.Quarantined = int64(len(s.st().quarantined))
	s.st().mu.RUnlock()
	for class := range s.pending {
		s.pending[class].each(func(d digest.Digest, bytes int64) {
			if s.known(d, cas.Class(class)) {
				return
			}
			st.Blobs++
			st.StoredBytes += bytes
			if cas.Class(class) == cas.Cache {
				st.CacheBlobs++
				st.CacheBytes += bytes
			}
		})
	}
	var err error
	if st.Sessions, err = s.countSessions(); err != nil {
		return cas.Stats{}, err
	}
	st.DiskBytes, err = s.diskBytes()
	return st, err
}

// countSessions counts the live sessions of all processes.
func (s *Store) countSessions() (int64, error) {
	n := int64(0)
	for _, x := range s.openSessions() {
		if !x.expired() {
			n++
		}
	}
	others, err := s.streams.others()
	if err != nil {
		return 0, err
	}
	for _, o := range others {
		for _, name := range o.pins {
			var held holdSet
			if live, err := s.readPins(name, s.o.Clock(), &held); err == nil && live && !o.dead {
				n++
			}
		}
	}
	return n, nil
}

// diskBytes is what the files of the store take, reserved room included.
func (s *Store) diskBytes() (int64, error) {
	n := int64(0)
	for _, dir := range []string{packsDir, logDir, indexDir, streamsDir} {
		list, err := s.fs.List(dir)
		if missing(err) {
			continue
		}
		if err != nil {
			return 0, failed("list", dir, err)
		}
		for _, e := range list {
			n += e.AllocatedBytes
		}
	}
	return n, nil
}

package pack

import (
	"context"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/cas/pack/internal/table"
	"github.com/kvferry/kvferry/digest"
)

// The cache is evicted by whole packs; what was used lately is copied to the
// newest pack first. Use is remembered per blob as an age, which
// passes whenever 1/agesPerCache of the cache was written.
const (
	agesPerCache = 64
	agesHot      = agesPerCache / 2
	rescuedShare = 8 // one in so many bytes goes, however much they are used
)

// cacheLimit returns the most bytes that the cache may take, 0 for no limit.
func (s *Store) cacheLimit() int64 {
	limit := s.o.CacheBytes
	if q := s.o.QuotaBytes; q > 0 {
		q -= s.taken(cas.Snapshot)
		if limit == 0 || q < limit {
			limit = max(q, 1)
		}
	}
	return limit
}

// cachePackBytes is the size of a pack of the cache: small enough that evicting
// one takes little of the cache.
func (s *Store) cachePackBytes() int64 {
	n := s.o.PackBytes
	for _, limit := range []int64{s.o.CacheBytes, s.o.QuotaBytes} {
		if limit > 0 {
			n = min(n, max(minPackBytes, limit/32/minPackBytes*minPackBytes))
		}
	}
	return n
}

// age is the present age of the cache; it wraps.
func (s *Store) age() uint8 {
	size := s.o.CacheBytes
	if size == 0 {
		size = s.o.QuotaBytes / 2
	}
	return uint8(s.written.Load() / max(size/agesPerCache, 1))
}

// touch notes that a blob of the cache was used.
func (s *Store) touch(d digest.Digest) {
	age := s.age()
	if s.pending[cas.Cache].count.Load() > 0 {
		s.pending[cas.Cache].touch(d, age)
	}
	s.st().table.Touch(d, age)
}

// reserve makes room for n bytes of a class, or tells that there is none. The
// bytes count as pending from then on.
func (s *Store) reserve(ctx context.Context, class cas.Class, n int64) error {
	p := &s.pending[class]
	p.bytes.Add(n)
	err := s.makeRoom(ctx, class, n)
	if err != nil {
		p.bytes.Add(-n)
	} else if class == cas.Cache {
		s.written.Add(n)
	}
	return err
}

func (s *Store) makeRoom(ctx context.Context, class cas.Class, n int64) error {
	if class == cas.Cache {
		limit := s.cacheLimit()
		if limit == 0 || s.taken(cas.Cache) <= limit {
			return nil
		}
		if n > limit {
			return fmt.Errorf("a cache of %d bytes cannot hold %d: %w", limit, n, kvferry.ErrQuota)
		}
		return s.evict(ctx, limit)
	}
	quota := s.o.QuotaBytes
	if quota == 0 || s.taken(cas.Snapshot)+s.taken(cas.Cache) <= quota {
		return nil
	}
	if s.review() {
		return s.makeRoom(ctx, class, n)
	}
	if s.taken(cas.Snapshot) > quota && s.pending[cas.Snapshot].count.Load() > 0 {
		// What a step of the log is at just now counts twice.
		if err := s.commits.submit(ctx, &request{lazy: true}); err != nil {
			return err
		}
	}
	if s.taken(cas.Snapshot)+s.taken(cas.Cache) <= quota {
		return nil
	}
	if s.taken(cas.Snapshot) <= quota && s.taken(cas.Cache) > 0 {
		return s.evict(ctx, quota-s.taken(cas.Snapshot))
	}
	dead := s.tails.bytes.Load()
	for _, p := range s.st().packs.all() {
		dead += p.dead()
	}
	return fmt.Errorf("%d bytes more than the quota of %d (a collection would free up to %d): %w",
		s.taken(cas.Snapshot)-quota, quota, dead, kvferry.ErrQuota)
}

// taken is what a class takes, what is pending or never came to the log included.
func (s *Store) taken(class cas.Class) int64 {
	n := s.st().used[class].Load() + s.pending[class].bytes.Load()
	if class == cas.Snapshot {
		n += s.tails.bytes.Load()
	}
	return n
}

// evict drops packs of the cache until it takes no more than the limit, and a
// bit less, so that not every put has to.
func (s *Store) evict(ctx context.Context, limit int64) error {
	s.evictMu.Lock()
	defer s.evictMu.Unlock()
	for tries := 0; s.taken(cas.Cache) > limit; tries++ {
		if s.pending[cas.Cache].bytes.Load() > limit/4 || tries > 0 {
			// What is pending cannot be evicted before it is in the log.
			if err := s.commits.submit(ctx, &request{settle: true, lazy: true}); err != nil {
				return err
			}
		}
		victims, err := s.victims(ctx, s.taken(cas.Cache)-limit+limit/agesPerCache)
		if err != nil {
			return err
		}
		if len(victims) == 0 {
			if tries > 1 {
				return fmt.Errorf("nothing of the cache can be evicted now: %w", kvferry.ErrQuota)
			}
			if err := s.sealCache(ctx); err != nil {
				return err
			}
			continue
		}
		if err := s.rescue(ctx, victims); err != nil {
			return err
		}
		if err := s.dropPacks(ctx, victims, true); err != nil {
			return err
		}
	}
	return nil
}

// sealCache ends the pack that the cache writes to.
func (s *Store) sealCache(ctx context.Context) error {
	lane, err := s.lane(cas.Cache)
	if err != nil {
		return err
	}
	return lane.Seal(ctx)
}

// victims are the oldest packs of the cache that nobody writes to: as many as
// free n bytes after what was used lately was copied out of them. Those of which
// nearly all was used lately are spared if there are others.
func (s *Store) victims(ctx context.Context, n int64) ([]*packInfo, error) {
	if err := s.refresh(ctx); err != nil {
		return nil, err
	}
	hot := map[uint32]int64{}
	now := s.age()
	s.st().table.All(func(_ digest.Digest, at table.Place, age uint8) bool {
		if p := s.st().packs.at(at.Slot()); p != nil && p.class == cas.Cache && now-age < agesHot {
			hot[p.slot] += at.Size()
		}
		return true
	})
	all := slices.DeleteFunc(s.st().packs.all(), func(p *packInfo) bool { return p.class != cas.Cache })
	var out []*packInfo
	for _, spare := range []bool{true, false} {
		for _, p := range all {
			size := p.end.Load() - packHeaderBytes
			cold := size - hot[p.slot]
			if n <= 0 || slices.Contains(out, p) || spare && cold < size/rescuedShare {
				continue
			}
			free, err := s.abandoned(packfile.Path(p.id))
			if err != nil {
				return nil, err
			}
			if free {
				out = append(out, p)
				n -= max(cold, size/rescuedShare)
			}
		}
	}
	return out, nil
}

// candidate is a blob of the cache that was used lately.
type candidate struct {
	stored
	p   *packInfo
	age uint8
}

// rescue copies what was used lately out of packs that are about to be
// dropped, the latest first, and no more than a share of them.
func (s *Store) rescue(ctx context.Context, victims []*packInfo) error {
	in := map[uint32]*packInfo{}
	room := int64(0)
	for _, p := range victims {
		in[p.slot] = p
		size := p.end.Load() - packHeaderBytes
		room += size - size/rescuedShare
	}
	now := s.age()
	var list []candidate
	s.st().table.All(func(d digest.Digest, at table.Place, age uint8) bool {
		if p := in[at.Slot()]; p != nil && now-age < agesHot {
			list = append(list, candidate{stored{d, at.Offset(), at.Size()}, p, age})
		}
		return true
	})
	slices.SortStableFunc(list, func(a, b candidate) int { return int(now-a.age) - int(now-b.age) })
	lane, err := s.lane(cas.Cache)
	if err != nil {
		return err
	}
	for _, c := range list {
		if room -= c.bytes; room < 0 {
			return nil
		}
		if err := s.copyCached(ctx, lane, c.p, c); err != nil {
			return err
		}
	}
	return s.commits.submit(ctx, &request{settle: true, lazy: true})
}

// copyCached puts a record of the cache anew. One that cannot be read is not
// worth an error.
func (s *Store) copyCached(ctx context.Context, lane *packfile.Lane, p *packInfo, b candidate) error {
	pend := &s.pending[cas.Cache]
	if !pend.offer(pendingBlob{d: b.d, first: s.keeper, written: s.seconds(), age: b.age, replace: true}) {
		return nil
	}
	pend.bytes.Add(b.bytes)
	var at packfile.Spot
	err := s.reader.Read(ctx, packfile.Spot{Pack: p.id, Off: b.off, Bytes: b.bytes}, func(rec []byte) (err error) {
		if err = packfile.CheckBlob(rec, b.d); err == nil {
			at, err = lane.Append(ctx, b.bytes, func(dst []byte) { copy(dst, rec) })
		}
		return err
	})
	if err != nil {
		pend.bytes.Add(-b.bytes)
	}
	pend.finish(b.d, at, err == nil)
	if stale(err) {
		return nil
	}
	return err
}

// dropPacks takes packs out of the log and then removes them.
func (s *Store) dropPacks(ctx context.Context, packs []*packInfo, lazy bool) error {
	var gone []*packInfo
	err := s.commits.submit(ctx, &request{lazy: lazy, room: frees, build: func(_ *view, o *ops) error {
		if s.st().packs.manyEnded() {
			s.st().purge()
		}
		gone = gone[:0]
		for _, p := range packs {
			if s.st().packs.get(p.id) == p { // else others were faster
				o.drop(p.id)
				gone = append(gone, p)
			}
		}
		return nil
	}})
	if err != nil {
		return err
	}
	for _, p := range gone {
		if p.class == cas.Cache {
			s.evicted.Add(p.live.Load())
		}
		if err := s.removePack(p); err != nil {
			return err
		}
	}
	return nil
}

// removePack removes the file of a pack that the log has dropped.
func (s *Store) removePack(p *packInfo) error {
	if s.misnamed(p.id) {
		return nil
	}
	s.reader.Forget(p.id)
	path := packfile.Path(p.id)
	if err := s.fs.Remove(path); err != nil && !missing(err) {
		return unwritten("remove", path, err)
	}
	s.tails.cut(p.id, 0, 0)
	return nil
}

// forgetCached takes a blob of the cache out of the log that cannot be read.
func (s *Store) forgetCached(ctx context.Context, d digest.Digest, p *packInfo, at table.Place) {
	_ = s.commits.submit(ctx, &request{lazy: true, room: frees, build: func(_ *view, o *ops) error { // it is a miss either way
		o.remove(p.id, []stored{{d: d, off: at.Offset()}})
		return nil
	}})
}

// rotate ends the pack that the cache writes to when it holds enough of a
// blob's life, so that a pack outlives its oldest blob by little.
func (s *Store) rotate(ctx context.Context) error {
	if s.o.CacheTTL == 0 {
		return nil
	}
	now, since := int64(s.elapsed()), s.rotated.Load()
	if now-since < int64(s.o.CacheTTL/8) || !s.rotated.CompareAndSwap(since, now) {
		return nil
	}
	return s.sealCache(ctx)
}

package disk

import (
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/kvferry/kvferry/internal/vfs"
	"github.com/kvferry/kvferry/pipelinecache"
)

const (
	// touchEvery is how often hits renew the access time of a file.
	touchEvery = time.Hour
	// clockSlack is by how much the clocks of files and of the process may
	// differ before another process must have used a file.
	clockSlack = 2 * time.Second
	// scanPuts is after how many puts the directory is listed again, at least;
	// a quarter of the entries, if that is more, so that the cost for a put
	// does not grow with the directory.
	scanPuts = 16
)

// notePut puts an artifact in front whose file was just written.
func (s *Store) notePut(f pipelinecache.Fingerprint, bytes int64) {
	if s.index == nil {
		return
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.use(f, bytes, now).touched = now
}

// noteHit puts an artifact in front whose file was read. How long that is now is
// not what was read: it may have been replaced or removed since.
func (s *Store) noteHit(f pipelinecache.Fingerprint) {
	if s.index == nil {
		return
	}
	now := time.Now()
	s.mu.Lock()
	it := s.index.find(f)
	if it == nil {
		s.mu.Unlock()
		s.noteFound(f, now)
		return
	}
	s.index.use(f, it.bytes, now)
	touch := now.Sub(it.touched) >= touchEvery
	if touch {
		it.touched = now
	}
	s.mu.Unlock()
	if touch {
		s.times.setUsed(artifactName(f), now)
	}
}

// noteFound puts an artifact in front that another process wrote.
func (s *Store) noteFound(f pipelinecache.Fingerprint, now time.Time) {
	s.names.Lock()
	defer s.names.Unlock()
	info, err := s.fs.Stat(artifactName(f))
	if err != nil || !info.Regular {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.use(f, info.Size, now)
}

// noteMiss forgets an artifact that another process removed.
func (s *Store) noteMiss(f pipelinecache.Fingerprint) {
	if s.index == nil {
		return
	}
	s.mu.Lock()
	known := s.index.find(f) != nil
	s.mu.Unlock()
	if !known {
		return
	}
	s.names.Lock() // a put may have come meanwhile
	defer s.names.Unlock()
	if _, err := s.fs.Stat(artifactName(f)); errors.Is(err, fs.ErrNotExist) {
		s.forget(f)
	}
}

func (s *Store) forget(f pipelinecache.Fingerprint) int64 {
	if s.index == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index.drop(f)
}

// makeRoomLocked makes the directory fit after a put.
func (s *Store) makeRoomLocked(put pipelinecache.Fingerprint) {
	s.scanIn--
	if s.scanIn <= 0 {
		if all, err := s.fs.List("."); err == nil { // else the next put tries
			s.mergeLocked(all)
		}
	}
	s.shrinkLocked(&put)
}

// mergeLocked makes the index agree with a listing of the directory, made while
// names was held.
func (s *Store) mergeLocked(all []vfs.Info) {
	found := map[pipelinecache.Fingerprint]*item{}
	for _, i := range all {
		if kind, f := parseName(i.Name); kind == Artifact && i.Regular {
			used := s.lastUsed(i)
			found[f] = &item{f: f, bytes: i.Size, used: used, touched: used}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	items := make([]*item, 0, len(found))
	for f, it := range found {
		if old := s.index.find(f); old != nil && !it.used.After(old.used.Add(clockSlack)) {
			it.used, it.touched = old.used, old.touched
		}
		items = append(items, it)
	}
	slices.SortFunc(items, func(a, b *item) int { return a.used.Compare(b.used) })
	next := newIndex()
	for _, it := range items {
		next.use(it.f, it.bytes, it.used).touched = it.touched
	}
	*s.index = *next // whether there is an index is asked without mu
	s.scanIn = max(scanPuts, len(items)/4)
}

// lastUsed returns when a file was last read or written.
func (s *Store) lastUsed(i vfs.Info) time.Time {
	if used := s.times.used(i.Name); used.After(i.Modified) {
		return used
	}
	return i.Modified
}

// shrinkLocked removes what was used least recently until the rest fits, but
// never what was just put. What cannot be removed is passed over.
func (s *Store) shrinkLocked(put *pipelinecache.Fingerprint) {
	var passed *pipelinecache.Fingerprint // the last of those that stay
	for {
		s.mu.Lock()
		it, ok := s.index.oldest(passed)
		ok = ok && s.index.bytes > s.opt.BudgetBytes
		s.mu.Unlock()
		if !ok {
			return
		}
		if put != nil && it.f == *put || !s.evictLocked(it) {
			passed = &it.f
		}
	}
}

// evictLocked removes an artifact unless another process used it, which counts
// as a use. It tells whether the artifact has left its place.
func (s *Store) evictLocked(it item) bool {
	name := artifactName(it.f)
	info, err := s.fs.Stat(name)
	if err == nil {
		if used := s.lastUsed(info); used.After(it.used.Add(clockSlack)) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.index.use(it.f, info.Size, used)
			return true
		}
		err = s.fs.Remove(name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	bytes := s.forget(it.f)
	if err == nil {
		s.count.evictions.Add(1)
		s.count.evictedBytes.Add(uint64(bytes))
	}
	return true
}

package disk

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry/internal/vfs"
	"github.com/kvferry/kvferry/pipelinecache"
)

var _ pipelinecache.Store = (*Store)(nil)

// Store is a directory of artifacts. Several stores, of this and of other
// processes, may use a directory at the same time.
type Store struct {
	fs    vfs.FS
	times times
	opt   Options
	count counters

	// flushing is held by the flush that runs, so that another one does not
	// return before what was put before it is durable.
	flushing chan struct{}

	// names is held while a name of an artifact changes or all are listed, so
	// that the index agrees with the directory. It is taken before mu.
	names sync.Mutex
	// scanIn is after how many puts the directory is listed again; names
	// guards it.
	scanIn int

	mu      sync.Mutex
	pending set // put since the last flush began
	taken   set // what the flush that runs makes durable
	index   *index
}

// set is a set of fingerprints.
type set map[pipelinecache.Fingerprint]struct{}

// counters are those of the metrics.
type counters struct {
	hits, misses, puts, rejected, evictions, evictedBytes, flushes, flushErrors atomic.Uint64
}

// Open uses the directory root, and makes it unless the store is read-only. It
// removes temporary files that were left behind and, with a budget, artifacts
// beyond it.
func Open(root string, o Options) (*Store, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if !o.ReadOnly {
		if err := vfs.OSMake(root); err != nil {
			return nil, typed("open", err)
		}
	}
	f, err := vfs.OS(root)
	if err != nil {
		return nil, typed("open", err)
	}
	t, err := os.OpenRoot(root)
	if err != nil {
		return nil, errors.Join(typed("open", err), f.Close())
	}
	s, err := open(f, fileTimes{t}, o)
	if err != nil {
		return nil, errors.Join(err, f.Close(), t.Close())
	}
	return s, nil
}

// open uses a file system. The options are valid and have their defaults.
func open(f vfs.FS, t times, o Options) (*Store, error) {
	s := &Store{fs: f, times: t, opt: o, flushing: make(chan struct{}, 1), pending: set{}}
	if o.ReadOnly {
		return s, nil
	}
	all, err := f.List(".")
	if err != nil {
		return nil, typed("open", err)
	}
	s.sweep(all, time.Now())
	if o.BudgetBytes > 0 {
		s.index = newIndex()
		s.names.Lock()
		defer s.names.Unlock()
		s.mergeLocked(all)
		s.shrinkLocked(nil)
	}
	return s, nil
}

// sweep removes temporary files that were left behind. Nothing depends on it, so
// nobody learns of its failures.
func (s *Store) sweep(all []vfs.Info, now time.Time) {
	for _, i := range all {
		if kind, _ := parseName(i.Name); kind == Temporary && i.Regular && s.abandoned(i, now) {
			_ = s.fs.Remove(i.Name) // somebody else may have done it
		}
	}
}

// abandoned tells whether nobody writes a temporary file any more: it is old and
// its lock is free.
func (s *Store) abandoned(i vfs.Info, now time.Time) bool {
	if now.Sub(i.Modified) < s.opt.StaleAge {
		return false
	}
	f, err := s.fs.Open(i.Name, vfs.ReadOnly)
	if err != nil {
		return false
	}
	free, err := f.TryLock()
	return errors.Join(err, f.Close()) == nil && free
}

// Close gives the directory back. It does not flush. Afterwards every operation
// is ErrClosed.
func (s *Store) Close() error {
	if err := s.fs.Close(); err != nil {
		return typed("close", err)
	}
	if err := s.times.Close(); err != nil {
		return typed("close", err)
	}
	return nil
}

// Metrics returns the counts of this store. Without a budget it does not know
// how much the directory holds: evictions, bytes and entries are 0. Bytes are
// those of files.
func (s *Store) Metrics() pipelinecache.Metrics {
	hits, misses := s.count.hits.Load(), s.count.misses.Load()
	m := pipelinecache.Metrics{
		Lookups: hits + misses, Hits: hits, Misses: misses,
		Puts: s.count.puts.Load(), RejectedPuts: s.count.rejected.Load(),
		Evictions: s.count.evictions.Load(), EvictedBytes: s.count.evictedBytes.Load(),
		Flushes: s.count.flushes.Load(), FlushErrors: s.count.flushErrors.Load(),
	}
	if s.index != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		m.CachedBytes, m.Entries = uint64(s.index.bytes), uint64(s.index.len())
	}
	return m
}

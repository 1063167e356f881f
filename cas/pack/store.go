package pack

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/journal"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// The names in a store's directory.
const (
	packsDir   = "packs"
	streamsDir = "streams"
	indexDir   = "index"
	logDir     = "log"
	markerName = "kvferry.json"
)

// Store is a store of packs in a directory. It implements cas.Store and the
// optional abilities to read batches, enumerate, quarantine, describe, check,
// scrub and collect.
type Store struct {
	o       Options
	root    string // its path, for messages
	fs      vfs.FS
	id      [16]byte
	started time.Time

	journal  *journal.Journal
	applyMu  sync.Mutex
	target   *state // what the log is applied to
	current  atomic.Pointer[state]
	followMu sync.Mutex
	rebasing atomic.Bool
	retired  *state       // the one before
	rebaseMu sync.RWMutex // held for reading with the log's lock, for writing by a rebase
	changes  atomic.Uint64
	damage   damage

	reader *packfile.Reader
	tools  sync.Pool

	pending [2]pending
	commits *committer // nil if read-only
	streams streams
	lossy   atomic.Bool // a pack could not be written
	tails   tails

	lanesMu sync.Mutex
	lanes   [3]*packfile.Lane // by class, and that of collections

	sessionsMu  sync.Mutex
	sessions    map[uint64]*session
	lastSession uint64

	collectMu sync.Mutex
	evictMu   sync.Mutex
	written   atomic.Int64 // bytes put into the cache, for the ages of its blobs
	evicted   atomic.Int64
	rotated   atomic.Int64 // when the cache's pack was ended for its age
	keeper    *session     // holds what the cache copies

	collecting     atomic.Bool
	checkpointing  atomic.Bool
	nextCheckpoint atomic.Int64 // bytes of the log, after one that failed
	background     sync.WaitGroup

	running atomic.Int64 // calls, and closing while it is closed
	idle    chan struct{}
	idleOne sync.Once
}

var (
	_ cas.Store       = (*Store)(nil)
	_ cas.BatchGetter = (*Store)(nil)
	_ cas.Collector   = (*Store)(nil)
	_ cas.Checker     = (*Store)(nil)
	_ cas.Scrubber    = (*Store)(nil)
	_ cas.Enumerator  = (*Store)(nil)
	_ cas.Quarantiner = (*Store)(nil)
	_ cas.Repairer    = (*Store)(nil)
	_ cas.Stater      = (*Store)(nil)
)

// closing is added to the number of running calls when a store is closed.
const closing = 1 << 40

// start begins a call that stop ends. The store's files stay open until then.
func (s *Store) start(ctx context.Context) error {
	if s.running.Add(1) >= closing {
		s.stop()
		return fmt.Errorf("pack: store %s: %w", s.root, kvferry.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		s.stop()
		return err
	}
	return nil
}

// startWrite is start for calls that change the store.
func (s *Store) startWrite(ctx context.Context, op string) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	if s.o.ReadOnly {
		s.stop()
		return fmt.Errorf("pack: %s in %s: %w", op, s.root, kvferry.ErrReadOnly)
	}
	return nil
}

func (s *Store) stop() {
	if s.running.Add(-1) == closing {
		s.idleOne.Do(func() { close(s.idle) })
	}
}

// elapsed is the time since the store was opened.
func (s *Store) elapsed() time.Duration { return s.o.Clock().Sub(s.started) }

// seconds is the time as records keep it.
func (s *Store) seconds() uint32 {
	return uint32(max(0, min(s.o.Clock().Unix(), 1<<32-1)))
}

// soundEpoch numbers the days since the store was opened. A blob whose age is
// one of the latest two was written or found sound lately.
func (s *Store) soundEpoch() uint8 {
	return uint8(1 + s.elapsed()/(24*time.Hour)%255)
}

// removed tells the sessions that a blob is gone.
func (s *Store) removed(d digest.Digest) {
	for _, x := range s.openSessions() {
		x.missed(d)
	}
}

// lane returns the lane that writes blobs of a class, or those that a
// collection moves (moves), and makes it with the first use.
func (s *Store) lane(class cas.Class) (*packfile.Lane, error) {
	s.lanesMu.Lock()
	defer s.lanesMu.Unlock()
	if l := s.lanes[class]; l != nil {
		return l, nil
	}
	if err := s.streams.ensure(); err != nil {
		return nil, err
	}
	o := packfile.LaneOptions{
		FS: s.fs, Class: packfile.Snapshot, StoreID: s.id, Stream: s.streams.id,
		PackBytes: s.o.PackBytes, BufferBytes: s.o.BufferBytes, Direct: !s.o.Buffered,
		NextID: func() uint64 { return s.st().packs.newID(s.o.Clock()) }, Now: s.o.Clock,
		Lost: func(pack uint64, from int64, err error) { s.lose(class, pack, from, err) },
	}
	if class == cas.Cache {
		o.Class, o.PackBytes = packfile.Cache, s.cachePackBytes()
	}
	s.lanes[class] = packfile.NewLane(o)
	return s.lanes[class], nil
}

// moves is the lane of what collections copy.
const moves cas.Class = 2

// lose ends the sessions whose blobs lay in a pack that could not be written.
func (s *Store) lose(class cas.Class, pack uint64, from int64, err error) {
	s.lossy.Store(true)
	if class == moves {
		return // the collection hears it, and the blobs are where they were
	}
	for _, x := range s.pending[class].lose(pack, from) {
		x.injure(err)
	}
}

// Catalog implements cas.Store.
func (s *Store) Catalog() cas.Catalog { return catalog{s} }

// Close implements cas.Store. It waits for the calls that are running. A
// second Close is ErrClosed.
func (s *Store) Close() error {
	for {
		n := s.running.Load()
		if n >= closing {
			return fmt.Errorf("pack: close %s: %w", s.root, kvferry.ErrClosed)
		}
		if s.running.CompareAndSwap(n, n+closing) {
			break
		}
	}
	if s.running.Load() == closing {
		s.idleOne.Do(func() { close(s.idle) })
	}
	<-s.idle
	return s.shut()
}

// shut gives everything back. No call is running.
func (s *Store) shut() error {
	var errs []error
	for _, x := range s.openSessions() {
		x.mu.Lock()
		errs = append(errs, x.endLocked(stateClosed))
		x.mu.Unlock()
	}
	if s.commits != nil {
		if s.pending[cas.Cache].count.Load() > 0 { // so that a cache outlives its process
			s.commits.nudge(cas.Cache)
		}
		s.commits.stop()
		s.background.Wait()
		s.pending[cas.Snapshot].take() // nobody needs it: all sessions have ended
		s.settle(cas.Snapshot, s.pending[cas.Snapshot].dismiss(nil))
		errs = append(errs, s.lastCheckpoint())
	}
	for _, l := range s.lanes {
		if l != nil {
			errs = append(errs, l.Close(context.Background()))
		}
	}
	if s.journal != nil {
		s.leaveTails(context.Background())
	}
	errs = append(errs, s.streams.close())
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
	}
	if s.journal != nil {
		errs = append(errs, s.journal.Close())
	}
	for _, st := range []*state{s.retired, s.st()} {
		if st != nil {
			st.table.Close()
		}
	}
	return errors.Join(append(errs, s.fs.Close())...)
}
